"""Evaluate the rules of one cluster. In: its scrapes and facts in order, and times. Out: the
results of recording rules, and the alerts whose condition is true.

The rules this file owns:
- The evaluator is a function of the calls it got: no clock, no chance. Targets are looked at in the
  order of their names, so results do not depend on who was scraped first.
- `cluster` is on every result, also on that of `absent` and `vector`. Where the cluster has no
  name (the stories of rule tests), nothing is added and nothing is taken away.
- A rule that fails, or gives more results than its limit, fails alone and visibly. Nothing is
  known then about its alerts: they stay as they are.
- An alert that saw less than half of its window stays inactive.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.identity import JOB_ALIASES, METRICS_PATH
from schemas.records import ScrapeEnvelope
from streams.core.judging import rests
from streams.core.missing import missing_inputs
from streams.core.promql.labels import NAME, Labels, Strings
from streams.core.promql.nodes import Context, Kept, Node
from streams.core.promql.past import Past, past_name
from streams.core.promql.ring import Ring
from streams.core.promql.sums import Sums
from streams.core.promql.target import Target
from streams.core.promql.vector import EvaluationError, Vector, refuse_duplicates, vector
from streams.core.published import published
from streams.core.recorded import Recorded, Source
from streams.core.rules.files import AlertingRule, Group, RecordingRule, RuleSet
from streams.core.rules.model import recording
from streams.core.rules.program import AlertPlan
from streams.core.rules.queries import Found, QueryError
from streams.core.samples import FACTS_PATH, FactSample, Scrape, facts_scrape
from streams.core.watermark import forget_ms

TARGETS_MAX: Final = 1_000
COVERAGE_MIN: Final = 0.5
ALERT_CHARS_MAX: Final = 20_000
"""Labels and annotations of one alert: its record and its state are one Kafka record each."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Results of one rule whose group states no limit; a rule that passes it fails, alone."""

    records_max: int = 10_000
    alerts_max: int = 1_000


Failures = tuple[tuple[str, str], ...]
"""(rule, why)."""
TargetKey = tuple[str, str, str]
"""Job, instance, path."""


class Inputs(Enum):
    """Whether the series that an alert judges are still there. Only PRESENT is true."""

    PRESENT = "present"
    GONE = "gone"
    REMOVED = "removed"  # their target left the configuration

    def __bool__(self) -> bool:
        return self is Inputs.PRESENT


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What the recording rules of one group gave at one time."""

    rows: pa.RecordBatch  # INDICATOR_SCHEMA
    failures: Failures


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """One result of an alerting rule: its condition is true."""

    rule: AlertingRule
    labels: Mapping[str, str]  # final: alertname, severity, cluster, the rule's own
    annotations: Mapping[str, str]
    value: float
    coverage: float


class Evaluator:
    """All series and windows of one cluster: a deterministic function of the calls."""

    def __init__(
        self,
        rules: RuleSet,
        cluster: str,
        limits: Limits | None = None,
        *,
        coverage_min: float = COVERAGE_MIN,
        external_labels: Mapping[str, str] | None = None,
    ) -> None:
        self.rules, self.cluster = rules, cluster
        self._limits = limits or Limits()
        self._external = external_labels or {}  # for templates, in rule tests
        self._coverage_min = coverage_min  # of its window, below which no alert is believed
        self._own = {"cluster": cluster} if cluster else {}  # labels of all that is here
        self.alert_failures: Failures = ()  # of the last evaluate_alerts
        self.unjudged: frozenset[str] = frozenset()  # ids of the rules that failed or rested then
        self.resting: frozenset[str] = frozenset()  # names of those that rested
        self._program = rules.program
        self._plans = {plan.rule.id: plan for plan in self._program.alerts}
        self._strings = Strings()
        self._targets: dict[TargetKey, Target] = {}
        self._kept_to_ms: dict[TargetKey, int] = {}  # by target: until when it may be silent
        self._recorded = Recorded(self._program.wanted.late_ms)
        self._wanted = wanted = rules.program.wanted
        self._rings = {name: Ring(back_ms) for name, back_ms in wanted.recorded_ms.items()}
        self._sums = {name: Sums(back_ms) for name, back_ms in wanted.recorded_sums_ms.items()}
        self._pasts: dict[str, Past] = {}  # of targets that have not been seen since the restart
        self._kept = Kept()
        self._judged: dict[str, tuple[Vector, tuple[ActiveAlert, ...]]] = {}  # by rule id

    def takes(self, rules: RuleSet) -> bool:
        """Tell whether other rules can be used on what is kept: nothing new is recorded or read."""
        same = recording(self.rules.groups) == recording(rules.groups)
        return same and self._wanted.covers(rules.program.wanted)

    def use(self, rules: RuleSet) -> None:
        """Evaluate by other rules from now on; it takes them."""
        self.rules, self._program = rules, rules.program
        self._plans = {plan.rule.id: plan for plan in self._program.alerts}
        self._kept, self._judged = Kept(), {}
        self.alert_failures, self.unjudged, self.resting = (), frozenset(), frozenset()

    def accept(self, scrape: Scrape) -> None:
        """Take one scrape; they come in tick order per target, failed ones too."""
        envelope = scrape.envelope
        self._forget(envelope.start_ms)
        job = JOB_ALIASES.get(envelope.job, envelope.job)
        key = (job, envelope.instance, envelope.path)
        labels = self._labels(envelope, job)
        target = self._targets.get(key)
        if target is None or target.labels != labels:
            if target is None and len(self._targets) >= TARGETS_MAX:
                raise EvaluationError(f"more than {TARGETS_MAX} targets in {self.cluster}")
            main = envelope.path == METRICS_PATH
            target = Target(labels, self._wanted, self._strings, main=main)
            if past := self._pasts.pop(past_name(*key), None):
                target.restore(past)
            self._targets[key] = target
            self._targets = dict(sorted(self._targets.items()))
        target.accept(scrape)
        kept_ms = max(self._wanted.retention_ms, forget_ms(envelope.interval_ms))
        self._kept_to_ms[key] = target.newest_ms + kept_ms

    def _labels(self, envelope: ScrapeEnvelope, job: str) -> dict[str, str]:
        own = {"job": job, "instance": envelope.instance}
        every = {**envelope.target_labels, **own, **self._own}
        return {name: text for name, text in every.items() if text}

    def _forget(self, now_ms: int) -> None:
        """Drop targets that nobody has scraped for long, and removed ones that no window reaches.

        It comes before a scrape is taken: who returns begins anew, whoever of them is first.
        """
        before_ms = now_ms - self._wanted.retention_ms
        for key, target in list(self._targets.items()):
            reached = target.newest_ms >= before_ms or not target.removed
            if now_ms > self._kept_to_ms[key] or not reached:
                del self._targets[key], self._kept_to_ms[key]

    def past(self) -> dict[str, Past]:
        """Return the memory of targets that a replay cannot rebuild, by name of the target."""
        long = {past_name(*key): one.past() for key, one in self._targets.items() if one.long}
        return self._pasts | long

    def recorded_past(self) -> Past | None:
        """Return the memory of recorded names; None where no rule reads one over time."""
        rings = [ring.past(name, self._strings) for name, ring in self._rings.items()]
        sums = [one.past(name, self._strings) for name, one in self._sums.items()]
        return Past(0, [], rings, sums) if rings or sums else None

    def restore(self, pasts: Mapping[str, Past], recorded: Past | None) -> None:
        """Take the memory of before; that of a target waits for its first scrape."""
        self._pasts = dict(pasts)
        for one in recorded.rings if recorded else ():
            if one.what in self._rings:
                self._rings[one.what].restore(one, self._strings)
        for each in recorded.sums if recorded else ():
            if each.what in self._sums:
                self._sums[each.what].restore(each, self._strings)

    def forget_unseen(self) -> None:
        """Forget the memory of targets that never returned."""
        self._pasts.clear()

    def remembered_ms(self) -> dict[str, int]:
        """Return up to when results are remembered, of each group that rules read over time."""
        found: dict[str, int] = {}
        for group, own in self._program.records.items():
            names = {rule.record for rule, _ in own}
            kept = [one for every in (self._rings, self._sums) for one in _named(every, names)]
            if kept:
                found[group] = min(one.newest_ms for one in kept)
        return found

    def accept_facts(self, t_ms: int, step_ms: int, samples: Sequence[FactSample]) -> None:
        """Take all facts of one closed step, as a scrape of a target of job planewatch."""
        self.accept(facts_scrape(self.cluster, t_ms, step_ms, samples))

    def missing_inputs(self, t_ms: int) -> list[FactSample]:
        """Return how many selectors of each rule match nothing on targets that answer."""
        targets = [one for key, one in self._targets.items() if key[2] != FACTS_PATH]
        return missing_inputs(self.rules, targets, t_ms)

    @property
    def series_refused(self) -> int:
        """Series that were not kept because their target had too many, since the beginning."""
        return sum(target.refused for target in self._targets.values())

    def evaluate_records(self, group: Group, t_ms: int) -> GroupResult:
        """Evaluate the recording rules of a group as of `t_ms`, in file order.

        Rows without a number (an idle quantile) are visible to later rules but not published.
        """
        context = self._context(t_ms, live=False)
        fresh: list[Vector] = []
        failures: list[tuple[str, str]] = []
        for nth, (rule, node) in enumerate(self._program.records.get(group.name, ())):
            try:
                result = self._record(context, rule, node, group.limit or self._limits.records_max)
            except EvaluationError as error:
                failures.append((rule.name, str(error)))
                continue
            fresh.append(result)
            self._note(context, rule.record, (group.name, nth), result)
        return GroupResult(published(fresh, self._strings), tuple(failures))

    def _note(self, context: Context, name: str, source: Source, result: Vector) -> None:
        """Let later rules see a result, beside those that other rules recorded under its name."""
        kept = [one for every in (self._rings, self._sums) for one in _named(every, {name})]
        if name not in self._program.read and not kept:
            return
        self._recorded.note(name, source, context.t_ms, result)
        context.recorded[name] = self._recorded.at(name, context.t_ms)
        for each in kept:
            each.put(context.t_ms, context.recorded[name])

    def _context(self, t_ms: int, *, live: bool) -> Context:
        read = self._program.judged if live else self._program.read
        recorded = {name: self._recorded.at(name, t_ms) for name in read & self._recorded.names}
        targets = tuple(self._targets.values())
        if live:
            self._kept.begin(targets)
        return Context(
            t_ms,
            live,
            self._strings,
            targets,
            recorded,
            self._rings,
            self._sums,
            rule_ms=t_ms,
            shared=frozenset(self._own),
            kept=self._kept if live else None,
        )

    def _record(self, context: Context, rule: RecordingRule, node: Node, limit: int) -> Vector:
        result = _as_vector(context, node)
        code = self._strings.code
        own = {name: code(text) for name, text in rule.labels.items()}
        own |= {name: code(text) for name, text in self._own.items()} | {NAME: code(rule.record)}
        result = result.relabel(result.labels.replace(own))
        _check(result, limit)
        return result

    def evaluate_alerts(self, t_ms: int, since_ms: int = 0) -> tuple[ActiveAlert, ...]:
        """Evaluate the alerting rules that are due, each target's window ending at its newest
        sample.

        since_ms: of the evaluation before; a rule is due where its rest ended since.
        """
        context = self._context(t_ms, live=True)
        failures: dict[str, tuple[str, str]] = {}
        active: list[ActiveAlert] = []
        resting: dict[str, str] = {}
        for plan in self._program.alerts:
            if rests(plan.rule.for_ms, since_ms, t_ms):
                resting[plan.rule.id] = plan.rule.name
                continue
            try:
                active += self._alerts(context, plan)
            except EvaluationError as error:
                failures[plan.rule.id] = plan.rule.name, str(error)
        self.alert_failures = tuple(failures.values())
        self.unjudged, self.resting = frozenset(failures | resting), frozenset(resting.values())
        return tuple(active)

    def _alerts(self, context: Context, plan: AlertPlan) -> tuple[ActiveAlert, ...]:
        found = _as_vector(context, plan.node)
        before = self._judged.pop(plan.rule.id, None)
        if before is None or found is not before[0] or plan.queries:
            before = found, self._made(context, plan, found)
        self._judged[plan.rule.id] = before
        return before[1]

    def _made(self, context: Context, plan: AlertPlan, found: Vector) -> tuple[ActiveAlert, ...]:
        found = found.where(found.coverage >= self._coverage_min)
        _check(found, self._program.limits[plan.rule.id] or self._limits.alerts_max)
        find = cache(lambda expr: self._asked(context, plan.queries[expr]))
        alerts = tuple(
            self._alert(plan.rule, found, int(i), find)
            for i in np.flatnonzero(found.present).tolist()
        )
        if len({tuple(sorted(alert.labels.items())) for alert in alerts}) < len(alerts):
            raise EvaluationError("the rule's labels make two alerts the same")
        if (longest := max(map(_chars, alerts), default=0)) > ALERT_CHARS_MAX:
            raise EvaluationError(
                f"an alert has {longest} characters; at most {ALERT_CHARS_MAX} are allowed"
            )
        return alerts

    def _asked(self, context: Context, node: Node) -> Found:
        """Return what a query of an alert's text finds."""
        try:
            found = _as_vector(context, node)
            _check(found, self._limits.records_max)
        except EvaluationError as error:
            raise QueryError(f"query: {error}") from error
        return [
            (found.labels.row(i, self._strings), float(found.values[i]))
            for i in np.flatnonzero(found.present).tolist()
        ]

    def _alert(
        self, rule: AlertingRule, found: Vector, i: int, find: Callable[[str], Found]
    ) -> ActiveAlert:
        value = float(found.values[i])
        seen = {**found.labels.row(i, self._strings), **self._own}
        filled = {
            name: template.render(seen, value, find, self._external)
            for name, template in rule.templates.items()
        }
        seen.pop(NAME, None)
        own = {name: filled[f"labels.{name}"] for name in rule.labels}
        labels = {**seen, **own, "alertname": rule.alert, **self._own}
        return ActiveAlert(
            rule,
            {name: labels[name] for name in sorted(labels) if labels[name]},
            {name: filled[f"annotations.{name}"] for name in rule.annotations},
            value,
            float(found.coverage[i]),
        )

    def inputs_present(self, rule: AlertingRule, labels: Mapping[str, str], t_ms: int) -> Inputs:
        """Tell whether a fresh series of the rule still agrees with the labels of an alert.

        A rule that reads no series, or only under `absent`, always has its inputs.
        """
        plan = self._plans.get(rule.id)
        if plan is None or not plan.inputs:
            return Inputs.PRESENT
        own = {*rule.labels, "alertname", "cluster"}
        wanted = {name: text for name, text in labels.items() if name not in own}
        states = set()
        for target in self._targets.values():
            if not all(target.labels.get(name, text) == text for name, text in wanted.items()):
                continue
            if not any(one.accepts(target.labels) for one in plan.inputs):
                continue
            if any(target.matches(one, wanted, t_ms) for one in plan.inputs):
                return Inputs.PRESENT
            states.add(target.removed)
        return Inputs.REMOVED if states == {True} else Inputs.GONE


def _named(kept: Mapping[str, Ring] | Mapping[str, Sums], names: Set[str]) -> Iterator[Ring | Sums]:
    """Return what is kept of these names."""
    return (kept[name] for name in names if name in kept)


def _as_vector(context: Context, node: Node) -> Vector:
    value = context.value(node)
    return vector(Labels({}, 1), np.array([value])) if isinstance(value, float) else value


def _chars(alert: ActiveAlert) -> int:
    texts = (*alert.labels.items(), *alert.annotations.items())
    return sum(len(name) + len(text) for name, text in texts)


def _check(result: Vector, limit: int) -> None:
    count = int(result.present.sum())
    if count > limit:
        raise EvaluationError(f"{count} results; at most {limit} are allowed")
    refuse_duplicates(result, "the rule")
