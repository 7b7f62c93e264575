"""Evaluate rules as promtool's tests do. In: groups and expressions, then scrapes and times. Out:
the alerts that fire, and the results of expressions.

The rules this file owns:
- All groups are evaluated at every interval of the test file, whatever their own interval, rule
  by rule in file order; alerts read recorded names as their last results, as in Prometheus.
- `ALERTS` and `ALERTS_FOR_STATE` are there for the rules that come after.
- An alert whose inputs vanished has ended: promtool knows no unknown. A story begins at its
  beginning, so no alert is held back for want of coverage.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np

from streams.core.evaluate import Evaluator, Inputs
from streams.core.promql.labels import NAME, Labels
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import EvaluationError, Vector, vector
from streams.core.recorded import Source
from streams.core.rules.alerts import AlertBook
from streams.core.rules.files import RuleSet
from streams.core.rules.model import AlertingRule, Group, RecordingRule
from streams.core.rules.unittests.idle import ALERTS, awake
from streams.core.rules.unittests.model import ExpectedAlert, Sample

GIVEN: Final = ("", 0)
"""The source of recorded results that the story itself gives."""

Failures = list[tuple[str, str]]
"""(rule, why)."""
Key = tuple[tuple[str, str], ...]
"""The labels of an alert."""


def in_order(groups: Sequence[Group], order: Sequence[str]) -> list[Group]:
    """Return the groups in the order of evaluation; `order` names those that come after others."""
    place = {name: i for i, name in enumerate(order)}
    return sorted(groups, key=lambda one: place.get(one.name.removesuffix(f"@{one.file}"), 0))


class StoryEvaluator(Evaluator):
    """The engine in the hands of a story: no cluster, no live clock, alerts in file order."""

    def __init__(
        self,
        rules: RuleSet,
        groups: Sequence[Group],
        given: Collection[str],
        external_labels: Mapping[str, str],
    ) -> None:
        """Make the evaluator of a story whose series have the names `given`."""
        super().__init__(rules, "", coverage_min=0.0, external_labels=external_labels)
        every = [(group, nth, rule) for group in groups for nth, rule in enumerate(group.rules)]
        rules_awake = awake([rule for _, _, rule in every], given)
        self._awake = [one for i, one in enumerate(every) if i in rules_awake]
        self._nodes = {
            id(rule): node for own in self._program.records.values() for rule, node in own
        }
        self._books = {plan.rule.id: AlertBook("", epoch=0) for plan in self._program.alerts}
        self._annotations: dict[str, dict[Key, Mapping[str, str]]] = {}
        self._told: set[str] = set()  # rules that are among ALERTS

    def give(self, name: str, t_ms: int, samples: Sequence[Sample]) -> None:
        """Let samples of the story stand beside the results of the rules that record `name`."""
        self._recorded.note(name, GIVEN, t_ms, self._vector(samples))

    def remember(self, name: str, t_ms: int, samples: Sequence[Sample]) -> None:
        """Keep samples of the story for windows over a recorded name, at their own time."""
        if name in self._rings:
            self._rings[name].put(t_ms, self._vector(samples))

    def _vector(self, samples: Sequence[Sample]) -> Vector:
        names = sorted({name for sample in samples for name in sample.labels})
        columns = {
            name: self._strings.codes([sample.labels.get(name, "") for sample in samples])
            for name in names
        }
        values = np.array([sample.value for sample in samples], np.float64)
        return vector(Labels(columns, len(samples)), values)

    def evaluate_all(self, t_ms: int) -> Failures:
        """Evaluate every rule once; return those that failed."""
        failures: Failures = []
        context = self._context(t_ms, live=False)
        for group, nth, rule in self._awake:
            try:
                if isinstance(rule, AlertingRule):
                    self._judge(rule, context)
                else:
                    self._keep(rule, (group.name, nth), group.limit, context)
            except EvaluationError as error:
                failures.append((rule.name, str(error)))
        return failures

    def _keep(self, rule: RecordingRule, source: Source, limit: int, context: Context) -> None:
        node = self._nodes.get(id(rule))
        if node is not None:  # else it could not be compiled, which was told
            limit = limit or self._limits.records_max
            self._note(context, rule.record, source, self._record(context, rule, node, limit))

    def _judge(self, rule: AlertingRule, context: Context) -> None:
        plan, t_ms = self._plans.get(rule.id), context.t_ms
        if plan is None:
            return
        active, book = self._alerts(context, plan), self._books[rule.id]
        book.update(active, t_ms, watermark_ms=t_ms, present=lambda *_: Inputs.PRESENT)
        now = {_key(one.labels): one.annotations for one in active}
        before = self._annotations.get(rule.id, {})
        self._annotations[rule.id] = {
            key: now.get(key, before.get(key, {})) for key, _, _ in self._states(rule.id)
        }
        self._publish(rule.id, context)

    def _states(self, rule_id: str) -> list[tuple[Key, str, int]]:
        """Return (labels, state, since when) of each alert of a rule that is not over."""
        return [
            (_key(one.labels), "firing" if one.open else "pending", one.active_at_ms)
            for one in self._books[rule_id].standing()
        ]

    def _publish(self, rule_id: str, context: Context) -> None:
        """Make ALERTS of what a rule says now, beside what other rules said."""
        states = self._states(rule_id)
        if not states and rule_id not in self._told:
            return
        self._told.add(rule_id)
        alerts = [
            Sample({**dict(labels), NAME: ALERTS[0], "alertstate": word}, 1.0)
            for labels, word, _ in states
        ]
        since = [
            Sample({**dict(labels), NAME: ALERTS[1]}, active_at_ms / 1000)
            for labels, _, active_at_ms in states
        ]
        for name, samples in zip(ALERTS, (alerts, since), strict=True):
            self._note(context, name, (rule_id, 0), self._vector(samples))

    def firing(self, name: str) -> list[ExpectedAlert]:
        """Return the alerts of all rules of this name that fire since the last evaluation."""
        found = []
        for plan in self._program.alerts:
            if plan.rule.alert != name:
                continue
            for labels, word, _ in self._states(plan.rule.id):
                if word == "firing":
                    annotations = self._annotations[plan.rule.id][labels]
                    found.append(ExpectedAlert(dict(labels), annotations))
        return found

    def query(self, node: Node, t_ms: int) -> list[Sample]:
        """Return the value of an expression at a time."""
        value = self._context(t_ms, live=False).value(node)
        if isinstance(value, float):
            return [Sample({}, value)]
        return [
            Sample(value.labels.row(int(i), self._strings), float(value.values[i]))
            for i in np.flatnonzero(value.present)
        ]


def _key(labels: Mapping[str, str]) -> Key:
    return tuple(sorted(labels.items()))
