"""Evaluate rules as promtool's tests do. In: groups and expressions, then scrapes and times. Out:
the alerts that fire, and the results of expressions.

The rules this file owns:
- All groups are evaluated at every interval of the test file, whatever their own interval, rule
  by rule in file order; alerts read recorded names as their last results, as in Prometheus.
- `ALERTS` and `ALERTS_FOR_STATE` are there for the rules that come after.
- An alert whose inputs vanished has ended: promtool knows no unknown. A story begins at its
  beginning, so no alert is held back for want of coverage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

import numpy as np

from streams.core.evaluate import ActiveAlert, Evaluator, Inputs
from streams.core.promql.labels import NAME, Labels
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import EvaluationError, Vector, vector
from streams.core.rules.alerts import AlertBook
from streams.core.rules.files import RuleSet
from streams.core.rules.model import AlertingRule, Group, RecordingRule
from streams.core.rules.program import AlertPlan
from streams.core.rules.unittests.model import ExpectedAlert, Sample

ALERTS: Final = ("ALERTS", "ALERTS_FOR_STATE")
GIVEN: Final = ("", 0)
"""The source of recorded results that the story itself gives."""

Failures = list[tuple[str, str]]
"""(rule, why)."""
Key = tuple[tuple[str, str], ...]
"""The labels of an alert."""


def runs_of(groups: Sequence[Group], order: Sequence[str]) -> list[Group]:
    """Return the groups in the order of evaluation, cut where records and alerts take turns."""
    place = {name: i for i, name in enumerate(order)}

    def placed(group: Group) -> int:
        return place.get(group.name.removesuffix(f"@{group.file}"), 0)

    found = []
    for group in sorted(groups, key=placed):
        runs = groupby(group.rules, key=lambda rule: isinstance(rule, AlertingRule))
        for nth, (_, rules) in enumerate(runs):
            found.append(replace(group, name=f"{group.name}#{nth}", rules=tuple(rules)))
    return found


class StoryEvaluator(Evaluator):
    """The engine in the hands of a story: no cluster, no live clock, alerts in file order."""

    def __init__(self, rules: RuleSet, runs: Sequence[Group], *, alerts_read: bool) -> None:
        super().__init__(rules, "", coverage_min=0.0)
        self._runs, self._alerts_read = runs, alerts_read
        self._books = {plan.rule.id: AlertBook("", epoch=0) for plan in self._program.alerts}
        self._annotations: dict[str, dict[Key, Mapping[str, str]]] = {}

    def give(self, name: str, t_ms: int, samples: Sequence[Sample]) -> None:
        """Let samples of the story stand beside the results of the rules that record `name`."""
        self._recorded.setdefault(name, {})[GIVEN] = (t_ms, self._vector(samples))

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
        for run in self._runs:
            if isinstance(run.rules[0], RecordingRule):
                failures += self.evaluate_records(run, t_ms).failures
                continue
            context = self._context(t_ms, live=False)
            for rule in run.rules:
                plan = self._plans.get(rule.id) if isinstance(rule, AlertingRule) else None
                if plan is None:
                    continue  # it could not be compiled, which was told
                try:
                    self._judge(plan, self._alerts(context, plan), context)
                except EvaluationError as error:
                    failures.append((rule.name, str(error)))
        return failures

    def _judge(self, plan: AlertPlan, active: Sequence[ActiveAlert], context: Context) -> None:
        book, t_ms = self._books[plan.rule.id], context.t_ms
        book.update(active, t_ms, watermark_ms=t_ms, present=lambda *_: Inputs.PRESENT)
        now = {_key(one.labels): one.annotations for one in active}
        before = self._annotations.get(plan.rule.id, {})
        self._annotations[plan.rule.id] = {
            key: now.get(key, before.get(key, {})) for key, _, _ in self._states(plan.rule.id)
        }
        if self._alerts_read:
            self._publish(context)

    def _states(self, rule_id: str) -> list[tuple[Key, str, int]]:
        """Return (labels, state, since when) of each alert of a rule that is not over."""
        return [
            (_key(one.labels), "firing" if one.open else "pending", one.active_at_ms)
            for one in self._books[rule_id].standing()
        ]

    def _publish(self, context: Context) -> None:
        """Make ALERTS of what all rules say now."""
        states: list[Sample] = []
        since: list[Sample] = []
        for rule_id in self._books:
            for labels, word, active_at_ms in self._states(rule_id):
                own = {**dict(labels), NAME: ALERTS[0], "alertstate": word}
                states.append(Sample(own, 1.0))
                since.append(Sample({**dict(labels), NAME: ALERTS[1]}, active_at_ms / 1000))
        for name, samples in zip(ALERTS, (states, since), strict=True):
            self._note(context, name, GIVEN, self._vector(samples))

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
