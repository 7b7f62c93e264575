"""The rules of a rule set. In: nothing. Out: frozen types that files, evaluation and alerts share.

The rule this file owns: a rule keeps its identity (`id`) when its expression changes, and says so
by its `version`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streams.core.rules.template import Template


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """An indicator: the result of `expr` under the name `record`."""

    record: str
    expr: str
    labels: Mapping[str, str]
    line: int  # of its `expr`

    @property
    def name(self) -> str:
        """What people call it."""
        return self.record


@dataclass(frozen=True, slots=True)
class Judged:
    """What an alert compares, where its expression is a comparison with a number."""

    indicator: str
    operator: str = ""
    threshold: float | None = None
    window_ms: int = 0


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """An alert: every result of `expr` is one that is active."""

    alert: str
    expr: str
    for_ms: int
    keep_firing_for_ms: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    line: int  # of its `expr`
    id: str  # group/alert, with #2, #3 for more of that name in the group
    version: str  # hash of everything that decides and shows it
    judged: Judged = field(default_factory=lambda: Judged(""))
    templates: Mapping[str, Template] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.alert


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, in order, at every multiple of the interval."""

    name: str  # unique in its rule set
    file: str
    interval_ms: int
    limit: int  # results of one rule; 0: the engine's own limit
    rules: tuple[RecordingRule | AlertingRule, ...]


def recording(groups: Iterable[Group]) -> list[object]:
    """Return all that decides what is recorded, and when."""
    return [
        (group.name, group.interval_ms, group.limit, own)
        for group in groups
        if (own := [_recorded(one) for one in group.rules if isinstance(one, RecordingRule)])
    ]


def _recorded(rule: RecordingRule) -> object:
    return rule.record, rule.expr, dict(rule.labels)
