"""Tell how far event time has passed in one cluster. In: the envelopes of accepted scrapes. Out:
the frontier of time, aligned moments, silent targets.

The rule this file owns: only scrapes pass time. A moment has passed when every live target has
scraped beyond it, or when the newest tick is beyond it by a grace; what is missing then is missing
from the result. A live target's newest tick is at most 3 of its own intervals behind the newest.
A leap of time is believed when a second record confirms it: one wrong clock would blind a cluster
until real time has come as far.
"""

from enum import Enum
from typing import Final

import msgspec

from schemas.identity import Target
from schemas.records import Outcome, ScrapeEnvelope
from streams.core.assemble import target_of

GRACE_MS: Final = 15_000
"""How long a moment waits for live targets at least."""

LIVE_INTERVALS: Final = 3
GAP_MS: Final = 900_000
"""A jump of event time beyond this was an outage: the steps and evaluations within it never were.
Shorter ones are filled by `silent` records."""

FORGET_MS: Final = 3_600_000


class Verdict(Enum):
    """What a scrape is to the clock of its cluster."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"  # the last accepted one, sent again
    LATE = "late"
    LEAP = "leap"  # far beyond all others, and alone so far


class TargetClock(msgspec.Struct, frozen=True, array_like=True):
    """The last accepted scrape of one target."""

    job: str
    instance: str
    path: str
    interval_ms: int
    tick_ms: int
    heard_ms: int  # tick of the last record that its producer wrote
    sequence: int
    scrape_id: str
    labels: dict[str, str]


class Leap(msgspec.Struct, frozen=True, array_like=True):
    """A record from beyond the gap, of which one more is waited for."""

    target: str
    tick_ms: int
    at_ms: int


class WatermarkState(msgspec.Struct, frozen=True):
    """A snapshot."""

    first_ms: int | None
    newest_ms: int
    now_ms: int
    targets: list[TargetClock]
    leap: Leap | None = None


class Watermark:
    """Event time of one cluster: a deterministic function of the accepted scrapes."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._targets: dict[Target, TargetClock] = {}
        self.first_ms: int | None = None  # tick of the first scrape ever
        self.newest_ms = 0  # newest tick
        self.now_ms = 0  # newest tick or request: the time of a live evaluation
        self._leap: Leap | None = None  # the last one

    def judge(self, envelope: ScrapeEnvelope) -> Verdict:
        """Tell whether a scrape is new for its target; a leap is remembered."""
        last = self._targets.get(target_of(envelope))
        if last is None or envelope.tick_ms > last.tick_ms:
            return Verdict.LEAP if self._leaps(envelope) else Verdict.ACCEPTED
        return Verdict.REPEATED if envelope.scrape_id == last.scrape_id else Verdict.LATE

    def _leaps(self, envelope: ScrapeEnvelope) -> bool:
        """Tell whether a scrape is far beyond all others, and nothing confirms it yet.

        Another target does, or a later tick of the same.
        """
        at_ms, far_ms = max(envelope.tick_ms, envelope.start_ms), _far_ms(envelope.interval_ms)
        if not self.newest_ms or at_ms - self.newest_ms <= far_ms:
            return False
        one = Leap(target_of(envelope).key, envelope.tick_ms, at_ms)
        before, self._leap = self._leap, one
        if before is None or abs(at_ms - before.at_ms) > far_ms:
            return True
        return before.target == one.target and before.tick_ms >= one.tick_ms

    def accept(self, envelope: ScrapeEnvelope) -> None:
        """Let time pass by a scrape that was judged ACCEPTED."""
        target = target_of(envelope)
        if self.first_ms is None:
            self.first_ms = envelope.tick_ms
        self.newest_ms = max(self.newest_ms, envelope.tick_ms)
        self.now_ms = max(self.now_ms, envelope.tick_ms, envelope.start_ms)
        if envelope.outcome is Outcome.REMOVED:
            self._targets.pop(target, None)
            return
        last = self._targets.get(target)
        unheard = last.heard_ms if last and envelope.outcome is Outcome.SILENT else None
        self._targets[target] = TargetClock(
            target.job,
            target.instance,
            target.path,
            envelope.interval_ms,
            envelope.tick_ms,
            envelope.tick_ms if unheard is None else unheard,
            envelope.sequence,
            envelope.scrape_id,
            envelope.target_labels,
        )
        if last is None:
            self._forget()

    def frontier(self, grace_ms: int = GRACE_MS) -> int:
        """Return up to when time has passed; `grace_ms` is how long it waits for a live target.

        Before the first grace is over nothing has passed: other targets may be about to appear.
        """
        if self.first_ms is None or self.newest_ms < self.first_ms + GRACE_MS:
            return 0
        waiting = min(
            (one.tick_ms for one in self._targets.values() if self._is_live(one)),
            default=self.newest_ms,
        )
        return max(waiting, self.newest_ms - max(grace_ms, GRACE_MS))

    def pace_ms(self) -> int:
        """Return the longest interval of the live targets: how often time passes at least."""
        live = (one.interval_ms for one in self._targets.values() if self._is_live(one))
        return max(live, default=GRACE_MS)

    def silent(self, now_ms: int, heard_ms: int, *, silence_ms: int) -> list[ScrapeEnvelope]:
        """Return the `silent` records that are due.

        `heard_ms` is when the worker last heard of the cluster, on the clock of `now_ms`. A record
        is due when that is as long ago as it says, in steps of 3 intervals, until one is
        `silence_ms` after the last word or later.
        """
        return [
            self._silence(target, one)
            for target, one in self._targets.items()
            if _next_silent(one) - one.heard_ms <= now_ms - heard_ms
            and one.tick_ms - one.heard_ms < silence_ms
        ]

    def snapshot(self) -> WatermarkState:
        """Return all of it as a value."""
        return WatermarkState(
            self.first_ms, self.newest_ms, self.now_ms, [*self._targets.values()], self._leap
        )

    @classmethod
    def restore(cls, cluster: str, state: WatermarkState) -> "Watermark":
        """Return the watermark of a snapshot."""
        made = cls(cluster)
        made.first_ms, made.newest_ms, made.now_ms = state.first_ms, state.newest_ms, state.now_ms
        made._leap = state.leap
        made._targets = {
            Target(cluster, one.job, one.instance, one.path): one for one in state.targets
        }
        return made

    def _is_live(self, one: TargetClock) -> bool:
        return self.newest_ms - one.tick_ms <= LIVE_INTERVALS * one.interval_ms

    def _silence(self, target: Target, one: TargetClock) -> ScrapeEnvelope:
        tick_ms = _next_silent(one)
        return ScrapeEnvelope(
            cluster=target.cluster,
            job=target.job,
            instance=target.instance,
            path=target.path,
            target_labels=one.labels,
            scrape_id=f"silent-{tick_ms}",
            tick_ms=tick_ms,
            start_ms=tick_ms,
            end_ms=tick_ms,
            interval_ms=one.interval_ms,
            sequence=one.sequence,  # nobody scraped: the target's own count does not move
            outcome=Outcome.SILENT,
            reason=f"no producer wrote for {(tick_ms - one.heard_ms) // 1000} s",
            generation="streams",
        )

    def _forget(self) -> None:
        """Let targets go that nobody has scraped for long; a new one has just come."""
        old = [
            target
            for target, one in self._targets.items()
            if self.newest_ms - one.tick_ms > forget_ms(one.interval_ms)
        ]
        for target in old:
            del self._targets[target]


def _next_silent(one: TargetClock) -> int:
    return one.tick_ms + LIVE_INTERVALS * one.interval_ms


def _far_ms(interval_ms: int) -> int:
    """Return how far beyond the newest tick that of a slow target may be."""
    return max(GAP_MS, (LIVE_INTERVALS + 1) * interval_ms)


def forget_ms(interval_ms: int) -> int:
    """Return after how much silence a target is forgotten."""
    return max(FORGET_MS, LIVE_INTERVALS * interval_ms)


def floor_ms(t_ms: int, interval_ms: int) -> int:
    """Return the newest multiple of `interval_ms` at or before `t_ms`."""
    return t_ms // interval_ms * interval_ms


def aligned(after_ms: int, upto_ms: int, interval_ms: int) -> range:
    """Return the multiples of `interval_ms` after `after_ms`, up to and with `upto_ms`."""
    return range(floor_ms(after_ms, interval_ms) + interval_ms, upto_ms + 1, interval_ms)
