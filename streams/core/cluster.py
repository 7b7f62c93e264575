"""Run one cluster. In: its records in the order of their partition. Out: indicators, alerts, state.

The rule this file owns: outputs are a function of the records, and of nothing else. Each accepted
scrape lets time pass; what passing time makes due (steps of facts, aligned evaluations) is done in
the order of event time, then alerts are judged. Records up to the evaluated offset are taken in
silently: that is how a replay rebuilds what was in memory.
"""

from collections.abc import Mapping, Sequence, Set
from functools import partial
from typing import Final

from msgspec.structs import replace

from schemas.arrow import Frame
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.records import (
    Change,
    ClusterInfo,
    IndicatorEnvelope,
    LogBatch,
    Outcome,
    ScrapeEnvelope,
)
from schemas.topics import TopicName
from streams.core import state
from streams.core.assemble import Assembler, target_of
from streams.core.context import Context, silence_ms
from streams.core.evaluate import ActiveAlert, Evaluator, Failures, Inputs
from streams.core.facts.steps import CLOSE_AFTER_MS, STEP_MS, Facts, StepOffsets
from streams.core.failing import Failing
from streams.core.judging import Budget
from streams.core.memory import Memory
from streams.core.missing import EVERY_MS
from streams.core.outputs import Outputs, fact_rows
from streams.core.promql.vector import EvaluationError
from streams.core.rules.alerts import UNKNOWN_MS, AlertBook, Changes, Present
from streams.core.rules.files import Group
from streams.core.rules.overrides import RuleSets
from streams.core.samples import FACTS_JOB, FactSample, Scrape
from streams.core.schedule import Schedule
from streams.core.watermark import GAP_MS, Verdict, Watermark

FACTS_GROUP: Final = "facts"

NEWEST_MAX: Final = 50
"""Alerts that a position repeats: it is written for each record."""

Received = Mapping[TopicName, int]
"""The last offset of each topic that has come, whatever cluster it was about."""


class ClusterEngine:
    """One cluster: a deterministic machine."""

    def __init__(self, cluster: str, context: Context, *, epoch: int) -> None:
        self.cluster = cluster
        self.evaluated = -1  # offset in scrapes: nothing up to it is emitted again
        self.heard_ms: int | None = None  # on the worker's clock; None: it begins to listen
        self._context = context
        self.rules = context.rules.of(cluster)
        self._info = context.infos.get(cluster, ClusterInfo())
        self._epoch = epoch
        self._assembler = Assembler()
        self._watermark = Watermark(cluster)
        self._facts = Facts()
        self._evaluator = Evaluator(self.rules, cluster, context.limits)
        self._book = AlertBook(cluster, epoch)
        self._budget = Budget()
        self._failing = Failing()
        self._missing: list[FactSample] = []
        self._schedule = Schedule(self.rules)
        self._memory = Memory(self._evaluator)
        self._join_only_to = -1  # offset in scrapes up to which chunks are joined, and no more
        self._facts_known: Received = {}  # offsets of changes and logs that the snapshot holds
        self._steps_known: dict[int, StepOffsets] = {}  # of the replay, by end
        self._steps_new: list[StepOffsets] = []  # since the last rewind point
        self._points = 0
        self._reached_ms = 0  # tick; a cluster that is long gone is not read again to there
        self._noted_ms = 0
        self._asked: dict[Target, int] = {}  # ticks of `silent` records that were written

    @classmethod
    def restore(
        cls, cluster: str, context: Context, saved: state.Saved, *, stale: bool = False
    ) -> "ClusterEngine":
        """Return the engine as it was at the rewind point; records from there on complete it.

        stale: they are not read again; it goes on from what was saved.
        """
        position, point = saved.position, saved.point
        made = cls(cluster, context, epoch=position.epoch)
        made.evaluated = position.evaluated
        made._watermark = Watermark.restore(cluster, point.watermark)
        made._assembler = Assembler(
            known_to=point.received[TopicName.SCRAPES],
            waiting=point.waiting,
            newest_ms=point.newest_ms,
        )
        made._facts = Facts.restore(point.facts)
        made._book = AlertBook.restore(
            cluster,
            position.epoch,
            made.rules,
            states=saved.alerts,
            seq_floor=saved.seq_floor,
            unsaved=position.newest.states,
        )
        rules = {rule.name for group in made.rules.groups for rule in group.rules}
        made._failing = Failing(one for one in position.failures if one.rule in rules)
        made._budget = replace(position.budget)
        made._memory = Memory(made._evaluator, saved.pasts)
        remembered = made._evaluator.remembered_ms()
        made._schedule.restore(
            position.aligned, position.newest_ms, remembered, since_ms=point.newest_ms
        )
        made._join_only_to = position.evaluated if stale else point.received[TopicName.SCRAPES]
        made._facts_known = point.received
        made._steps_known = {step.end_ms: step for step in saved.steps}
        made._steps_new = list(position.steps)
        made._points, made._reached_ms = position.points, position.newest_ms
        made._noted_ms = position.newest_ms if point.logs == dict(context.logs) else 0
        return made

    def takes(self, rules: RuleSets) -> bool:
        """Tell whether other rules can be used without reading anything again."""
        return self._evaluator.takes(rules.of(self.cluster))

    def use(self, context: Context) -> None:
        """Go on by other rules, which it takes: what is kept and what is open stay."""
        self._context, self.rules = context, context.rules.of(self.cluster)
        self._evaluator.use(self.rules)
        self._book.use(self.rules)
        self._failing.keep(self.rules.names)
        before, self._schedule = self._schedule, Schedule(self.rules)
        self._schedule.follow(before, self._watermark.newest_ms)
        self._missing = self._evaluator.missing_inputs(self._watermark.now_ms)

    def on_change(self, offset: int, change: Change) -> Outputs:
        """Take one change."""
        known = offset <= self._facts_known.get(TopicName.CHANGES, -1)
        return self._waits(known or self._facts.on_change(offset, change))

    def on_logs(self, offset: int, batch: LogBatch) -> Outputs:
        """Take a batch of log lines."""
        known = offset <= self._facts_known.get(TopicName.LOGS, -1)
        return self._waits(known or self._facts.on_logs(offset, batch))

    def on_scrape(self, offset: int, frame: Frame[ScrapeEnvelope], received: Received) -> Outputs:
        """Take one chunk of a scrape; `received` includes it."""
        out = Outputs()
        if offset > self.evaluated:
            self._steps_known = {}  # the replay is over
        scrape, dropped = self._assembler.add(offset, frame)
        live = offset > self.evaluated
        self.evaluated = max(self.evaluated, offset)
        if scrape is not None and offset > self._join_only_to and self._accept(scrape, out):
            dropped += self._assembler.pass_time(self._watermark.newest_ms)
            self._advance(out, received, live=live)
            if live:
                self._judge_alerts(out)
                self._save(out, received)
        for why in dropped:
            out.count(Metric.RECORDS_DROPPED, reason=why.value)
        return out if live else Outputs()

    def silent(self, now_ms: int) -> list[ScrapeEnvelope]:
        """Return the records to write for targets of which nobody hears, at the worker's time."""
        if self.heard_ms is None:
            self.heard_ms = now_ms
        lasts_ms = silence_ms(self.rules.program)
        due = self._watermark.silent(now_ms, self.heard_ms, silence_ms=lasts_ms)
        due = [one for one in due if one.tick_ms > self._asked.get(target_of(one), 0)]
        self._asked |= {target_of(one): one.tick_ms for one in due}
        return due

    @property
    def newest_ms(self) -> int:
        """The newest tick; 0 where no scrape has come yet."""
        return max(self._watermark.newest_ms, self._reached_ms)

    def end(self, t_ms: int) -> Outputs:
        """Return what is left to say of a cluster that is gone: its alerts lost their inputs.

        They are held, then unknown, then over, as if time had passed without scrapes.
        """
        out = Outputs()
        for at_ms in (max(self._watermark.now_ms, self.newest_ms), t_ms - UNKNOWN_MS, t_ms):
            self._update_alerts(out, (), at_ms, lambda *_: Inputs.GONE)
        return out

    def initial(self, received: Received) -> Outputs:
        """Return what to save when the cluster is first seen, before its first record is taken."""
        out = Outputs()
        self._note(out, received)
        out.write(state.POSITION, self._position())
        return out

    def _waits(self, room: bool) -> Outputs:
        out = Outputs()
        if not room:
            out.count(Metric.LIMIT_HITS, limit="facts_pending")
        return out

    def _accept(self, scrape: Scrape, out: Outputs) -> bool:
        """Take a whole scrape; return whether time may have passed by it."""
        envelope = scrape.envelope
        verdict = self._watermark.judge(envelope)
        if verdict is not Verdict.ACCEPTED:
            if verdict is Verdict.LATE:
                out.count(Metric.LATE, topic=TopicName.SCRAPES)
            if verdict is Verdict.LEAP:
                out.count(Metric.RECORDS_DROPPED, reason="leap")
            return False
        try:
            self._evaluator.accept(scrape)
        except EvaluationError:
            out.count(Metric.LIMIT_HITS, limit="targets")
            return False
        newest_ms = self._watermark.newest_ms
        self._watermark.accept(envelope)
        if envelope.outcome is Outcome.OK and envelope.kubernetes_version:
            self._info = _with_version(self._info, envelope.kubernetes_version)
        if not newest_ms or envelope.tick_ms - newest_ms > GAP_MS:
            self._begin(envelope.tick_ms)
        return True

    def _begin(self, t_ms: int) -> None:
        """Let steps and evaluations start at `t_ms`."""
        self._facts.open(t_ms)
        self._schedule.begin(t_ms)

    def _advance(self, out: Outputs, received: Received, *, live: bool) -> None:
        """Do everything that is due now, in the order of event time."""
        frontier_ms = self._watermark.frontier()
        schedule, frontier = self._schedule, self._watermark.frontier
        for t_ms, _, group in schedule.due(frontier) if live else schedule.repetitions(frontier):
            self._close_steps(t_ms, out, received, live=live)
            if live:
                self._evaluate(group, t_ms, out)
            else:
                self._evaluator.evaluate_records(group, t_ms)
        self._close_steps(frontier_ms, out, received, live=live)

    def _evaluate(self, group: Group, t_ms: int, out: Outputs) -> None:
        self._schedule.last[group.name] = t_ms
        result = self._evaluator.evaluate_records(group, t_ms)
        self._note_failures(group.name, result.failures, out)
        out.count(Metric.EVALUATIONS, group=group.name)
        if len(result.rows):
            envelope = self._envelope(group.name, t_ms, group.interval_ms)
            out.indicators.append((envelope, result.rows))

    def _note_failures(
        self, scope: str, failures: Failures, out: Outputs, resting: Set[str] = frozenset()
    ) -> None:
        out.rules += self._failing.note(scope, failures, resting)
        for rule, _ in failures:
            out.count(Metric.RULE_FAILURES, rule=rule)

    def _close_steps(self, upto_ms: int, out: Outputs, received: Received, *, live: bool) -> None:
        while self._facts.due(upto_ms):
            end_ms = self._facts.end_ms
            assert end_ms is not None, "a step is due, so one is open"
            now = StepOffsets(end_ms, received[TopicName.CHANGES], received[TopicName.LOGS])
            step = self._facts.close(self._steps_known.get(end_ms, now))
            # Known is a fact only when its step has closed: that is the time of its samples.
            known_ms = end_ms + CLOSE_AFTER_MS
            pace_ms = max(STEP_MS, self._watermark.pace_ms())
            said = (*step.samples, *self._missing_inputs(end_ms))
            self._evaluator.accept_facts(known_ms, pace_ms, said)
            if not live:
                continue
            self._steps_new.append(now)
            for topic, late in step.late.items():
                out.count(Metric.LATE, late, topic=topic)
            out.count(Metric.LIMIT_HITS, step.limits, limit="facts_series")
            own = (*self._book.series(), *self._failing.samples())
            if samples := [*said, *own]:
                envelope = self._envelope(FACTS_GROUP, end_ms, STEP_MS)
                out.indicators.append((envelope, fact_rows(samples, FACTS_JOB)))

    def _missing_inputs(self, end_ms: int) -> list[FactSample]:
        """Return which inputs rules lacked at the newest whole minute."""
        if end_ms % EVERY_MS == 0:
            self._missing = self._evaluator.missing_inputs(end_ms)
        return self._missing

    def _judge_alerts(self, out: Outputs) -> None:
        t_ms, since_ms = self._watermark.now_ms, self._budget.taken_ms
        if not self._budget.take(t_ms):
            return
        active = self._evaluator.evaluate_alerts(t_ms, since_ms)
        self._note_failures("", self._evaluator.alert_failures, out, self._evaluator.resting)
        present = partial(self._evaluator.inputs_present, t_ms=t_ms)
        self._update_alerts(out, active, t_ms, present, self._evaluator.unjudged)

    def _update_alerts(
        self,
        out: Outputs,
        active: Sequence[ActiveAlert],
        t_ms: int,
        present: Present,
        unjudged: frozenset[str] = frozenset(),
    ) -> None:
        changed = self._book.update(
            active,
            t_ms,
            watermark_ms=self._watermark.frontier() or self._watermark.newest_ms,
            present=present,
            cluster_info=self._info,
            unjudged=unjudged,
        )
        for alert in changed:
            out.count(Metric.ALERTS_PUBLISHED, status=alert.status)
        out.alerts += changed
        out.tombstones += self._book.tombstones(t_ms)

    def _save(self, out: Outputs, received: Received) -> None:
        """Save everything that a record changed."""
        changes = self._book.changes()
        every_ms = state.note_ms(self._context.rewind_ms)
        if self._watermark.newest_ms - self._noted_ms >= every_ms:
            self._note(out, received)
        newest = state.Newest(dict(changes.states), changes.seq_floor)
        few = len(newest.states) <= NEWEST_MAX
        if few and out.write(state.POSITION, self._position(newest)):
            _save_alerts(changes, out)
        else:  # a crash in between only lets ALERTS be told anew, as they are after the record
            _save_alerts(changes, out)
            out.write(state.POSITION, self._position())

    def _note(self, out: Outputs, received: Received) -> None:
        """Note a rewind point after the newest record; one that is too large is left out."""
        self._noted_ms = self._watermark.newest_ms
        next_offset = received[TopicName.SCRAPES] + 1
        waiting = self._assembler.first_offset
        out.count(Metric.LIMIT_HITS, self._facts.settle(), limit="facts_pending")
        point = state.RewindPoint(
            number=self._points + 1,
            newest_ms=self._noted_ms,
            read_from=next_offset if waiting is None else waiting,
            logs=dict(self._context.logs),
            received=dict(received),
            watermark=self._watermark.snapshot(),
            facts=self._facts.snapshot(),
            steps=self._steps_new,
            waiting=self._assembler.waiting,
        )
        if out.write(state.point_kind(point.number, self._context.rewind_ms), point):
            self._points, self._steps_new = point.number, []
        self._memory.save(self._noted_ms, out)

    def _position(self, newest: state.Newest = state.NOTHING_NEW) -> state.Position:
        return state.Position(
            epoch=self._epoch,
            log=self._context.logs[TopicName.SCRAPES],
            evaluated=self.evaluated,
            newest_ms=self._watermark.newest_ms,
            aligned=self._schedule.last,
            steps=self._steps_new,
            budget=self._budget,
            points=self._points,
            failures=self._failing.counts(),
            newest=newest,
        )

    def _envelope(self, group: str, t_ms: int, interval_ms: int) -> IndicatorEnvelope:
        return IndicatorEnvelope(
            cluster=self.cluster,
            group=group,
            t_ms=t_ms,
            interval_ms=interval_ms,
            rules_hash=self.rules.hash,
            epoch=self._epoch,
        )


def _save_alerts(changes: Changes, out: Outputs) -> None:
    if changes.seq_floor is not None:
        out.write(state.NUMBERING, state.Numbering(seq_floor=changes.seq_floor))
    for fingerprint, one in changes.states.items():
        kind = state.alert_kind(fingerprint)
        if one is None:
            out.writes[kind] = None
        else:
            out.write(kind, one)


def _with_version(info: ClusterInfo, version: str) -> ClusterInfo:
    if info.kubernetes_version == version:
        return info
    return replace(info, kubernetes_version=version)
