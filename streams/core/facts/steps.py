"""Close steps of facts. In: changes and log lines as they come, and how far they have come when a
step closes. Out: the samples of each step.

The rule this file owns: a step is 5 s of event time. When it closes it folds every record that was
received by then and belongs to it, or to an earlier step: such a one is late, and counted. What was
received by then is a pair of offsets, so a replay that is given them folds the same records. What
may wait is bounded: further records are folded at once, and counted.

    records   |--a--b--|--c-----|          a, b and the late d are folded when step 1 and 2 close:
    received     a  b    c   d                step 1: a b     step 2: c d
    steps     |   1    |   2    |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.records import Change, LogBatch
from schemas.topics import TopicName
from streams.core.facts.leases import Lease, Leases, LeaseSeen, lease_seen
from streams.core.facts.logs import LineCount, LinesSeen, LogLines, lines_seen
from streams.core.samples import FactSample

STEP_MS: Final = 5_000
CLOSE_AFTER_MS: Final = 5_000
"""A step closes when event time has passed its end by this: records need time to come, too."""

PENDING_MAX: Final = 50_000
"""Records that wait for their step: a replay reads all facts of its time before its scrapes."""

PENDING_SAVED_MAX: Final = 3_000
"""The same in a snapshot, which has to fit into a value of the table. For a cluster that was never
scraped no time passes: no more than this wait for it."""


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """A record, or a part of one, that waits for its step."""

    step: int  # number of its step: time // STEP_MS
    offset: int
    lease: LeaseSeen | None = None
    lines: LinesSeen | None = None

    @property
    def topic(self) -> TopicName:
        """Whose offset it has."""
        return TopicName.CHANGES if self.lease else TopicName.LOGS


class StepOffsets(msgspec.Struct, frozen=True, array_like=True):
    """How far the topics of facts had come when a step closed: their last offsets."""

    end_ms: int
    changes: int
    logs: int

    def received(self, one: Pending) -> bool:
        """Tell whether a record had come."""
        return one.offset <= (self.changes if one.topic is TopicName.CHANGES else self.logs)


class FactsState(msgspec.Struct, frozen=True):
    """A snapshot."""

    end_ms: int | None
    leases: dict[str, Lease]
    lines: list[LineCount]
    pending: list[Pending]


@dataclass(frozen=True, slots=True)
class Step:
    """A closed step."""

    end_ms: int
    samples: tuple[FactSample, ...]
    late: dict[TopicName, int]
    limits: int  # records for which there was no series left


class Facts:
    """All facts of one cluster, and the step that is open."""

    def __init__(self) -> None:
        self.end_ms: int | None = None  # of the open step; None before the first scrape
        self._leases = Leases()
        self._lines = LogLines()
        self._pending: dict[int, list[Pending]] = {}  # by step
        self._waiting = 0

    def open(self, t_ms: int) -> None:
        """Open the step of `t_ms`; where one is open, the steps up to there never were."""
        self.end_ms = max(self.end_ms or 0, (t_ms // STEP_MS + 1) * STEP_MS)

    def on_change(self, offset: int, change: Change) -> bool:
        """Take a change; return False where it cannot wait for its step."""
        seen = lease_seen(change)
        if seen is None:
            return True
        return self._wait(Pending(change.received_ms // STEP_MS, offset, lease=seen))

    def on_logs(self, offset: int, batch: LogBatch) -> bool:
        """Take log lines; return False where they cannot wait for their step."""
        parts = [
            self._wait(Pending(step, offset, lines=seen))
            for step, seen in lines_seen(batch, STEP_MS)
        ]
        return all(parts)

    def due(self, frontier_ms: int) -> bool:
        """Tell whether the open step closes when event time has passed up to `frontier_ms`."""
        return self.end_ms is not None and self.end_ms + CLOSE_AFTER_MS <= frontier_ms

    def close(self, upto: StepOffsets) -> Step:
        """Close the open step with the records that had come by then, and open the next one."""
        if self.end_ms != upto.end_ms:
            raise AssertionError(f"step {upto.end_ms} closes while {self.end_ms} is open")
        late: dict[TopicName, int] = {}
        limits = 0
        this = upto.end_ms // STEP_MS - 1
        for one in self._take(this, upto):
            if one.step < this:
                late[one.topic] = late.get(one.topic, 0) + 1
            limits += not self._fold(one)
        samples = (*self._leases.samples(upto.end_ms), *self._lines.samples())
        self.end_ms += STEP_MS
        return Step(upto.end_ms, samples, late, limits)

    def settle(self) -> int:
        """Fold what is too much for a snapshot, the farthest ahead first; return how much it was.

        Records of time to come are few, unless somebody's clock is wrong.
        """
        surplus = self._waiting - PENDING_SAVED_MAX
        if surplus <= 0:
            return 0
        waiting = [one for step in sorted(self._pending) for one in self._pending[step]]
        self._keep(waiting[:-surplus])
        for one in sorted(waiting[-surplus:], key=lambda one: one.offset):
            self._fold(one)
        return surplus

    def snapshot(self) -> FactsState:
        """Return all of it as a value."""
        pending = [one for waiting in self._pending.values() for one in waiting]
        return FactsState(self.end_ms, self._leases.snapshot(), self._lines.snapshot(), pending)

    @classmethod
    def restore(cls, state: FactsState) -> "Facts":
        """Return the facts of a snapshot."""
        made = cls()
        made.end_ms = state.end_ms
        made._leases, made._lines = Leases(dict(state.leases)), LogLines(state.lines)
        made._keep(state.pending)
        return made

    def _keep(self, waiting: Iterable[Pending]) -> None:
        self._pending, self._waiting = {}, 0
        for one in waiting:
            self._pending.setdefault(one.step, []).append(one)
            self._waiting += 1

    def _wait(self, one: Pending) -> bool:
        room = self._waiting < (PENDING_SAVED_MAX if self.end_ms is None else PENDING_MAX)
        if room:
            self._pending.setdefault(one.step, []).append(one)
            self._waiting += 1
        else:
            self._fold(one)
        return room

    def _take(self, upto_step: int, upto: StepOffsets) -> Iterable[Pending]:
        """Take out what belongs to the step or an earlier one and had come, in offset order."""
        taken = []
        for step in sorted(step for step in self._pending if step <= upto_step):
            waiting = self._pending.pop(step)
            taken += [one for one in waiting if upto.received(one)]
            if left := [one for one in waiting if not upto.received(one)]:
                self._pending[step] = left
        self._waiting -= len(taken)
        return sorted(taken, key=lambda one: one.offset)

    def _fold(self, one: Pending) -> bool:
        if one.lease:
            return self._leases.fold(one.lease)
        return one.lines is None or self._lines.fold(one.lines)
