"""What a file of rule tests says. In: nothing. Out: frozen types that reading, running and
comparing share.

The rule this file owns: times are milliseconds since the beginning of a story; labels include the
name of a metric as `__name__`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

Labels = Mapping[str, str]


class Mark(Enum):
    """A step at which a series has no number."""

    MISSING = "_"
    STALE = "stale"


Point = float | Mark


@dataclass(frozen=True, slots=True)
class InputSeries:
    """One series and its values, one a step."""

    labels: Labels
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    """An alert that must fire."""

    labels: Labels
    annotations: Labels


@dataclass(frozen=True, slots=True)
class AlertCheck:
    """Which alerts of one name must fire at one time."""

    t_ms: int
    alert: str
    expected: tuple[ExpectedAlert, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a result."""

    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class ExprCheck:
    """What an expression must give at one time."""

    t_ms: int
    expr: str
    expected: tuple[Sample, ...]
    wrong: tuple[str, ...]  # samples that cannot be read


@dataclass(frozen=True, slots=True)
class Story:
    """One entry of `tests`: series, and what must follow from them."""

    name: str
    line: int
    interval_ms: int
    start_ms: int  # of event time
    series: tuple[InputSeries, ...]
    alerts: tuple[AlertCheck, ...]
    exprs: tuple[ExprCheck, ...]
    external_labels: Labels
    external_url: str
    wrong: tuple[str, ...]  # series that cannot be read: the story cannot be told

    @property
    def end_ms(self) -> int:
        """The time of the last check."""
        times = [check.t_ms for check in self.alerts] + [check.t_ms for check in self.exprs]
        return max(times, default=0)


@dataclass(frozen=True, slots=True)
class TestFile:
    """One file of rule tests."""

    __test__ = False  # pytest would take it for a test by its name

    file: str
    rule_files: tuple[str, ...]  # patterns, relative to the file
    evaluation_ms: int
    order: tuple[str, ...]  # names of groups that are evaluated in this order
    stories: tuple[Story, ...]
