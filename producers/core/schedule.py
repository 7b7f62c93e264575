"""Plan scrapes. In: a target, its interval, event time. Out: the ticks that have come.

The rule this file owns: a tick is a multiple of the interval plus an offset that only the target
decides, so that every process and every restart plans the same ticks, and targets spread evenly
over the interval.

      interval      interval
    |--------|    |--------|
    0   o    i    o    2i   o     o: ticks; the offset is the same in each interval
"""

from dataclasses import dataclass
from typing import Final

import xxhash

from schemas.identity import Target

SKIPPED_MAX: Final = 20
"""Ticks reported one by one after a pause; of a longer one (a suspended machine) the newest."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When a target is scraped."""

    interval_ms: int
    offset_ms: int

    def next_tick_ms(self, now_ms: int) -> int:
        """Return the first tick after `now_ms`."""
        return self._tick_at(now_ms) + self.interval_ms

    def _tick_at(self, now_ms: int) -> int:
        """Return the newest tick that is not after `now_ms`."""
        since = (now_ms - self.offset_ms) // self.interval_ms
        return since * self.interval_ms + self.offset_ms


@dataclass(frozen=True, slots=True)
class Due:
    """What has come for one target: nothing, a tick, or several where nobody looked for a while."""

    ticks_ms: tuple[int, ...]  # the newest last
    next_tick_ms: int


def plan(target: Target, interval_ms: int) -> Plan:
    """Return the plan of `target`."""
    return Plan(interval_ms, xxhash.xxh3_64_intdigest(str(target).encode()) % interval_ms)


def due(plan: Plan, *, next_tick_ms: int, now_ms: int) -> Due:
    """Return the ticks from `next_tick_ms`, the first one not dealt with yet, to `now_ms`."""
    if now_ms < next_tick_ms:
        return Due((), next_tick_ms)
    upcoming = plan.next_tick_ms(now_ms)
    newest = upcoming - plan.interval_ms
    first = max(next_tick_ms, newest - SKIPPED_MAX * plan.interval_ms)
    return Due(tuple(range(first, upcoming, plan.interval_ms)), upcoming)


def stretched(plan: Plan, factor: int) -> Plan:
    """Return a plan of each `factor`-th tick of `plan`: the same ones in every process."""
    return Plan(plan.interval_ms * factor, plan.offset_ms)


def moved(before: Plan, now: Plan, next_tick_ms: int) -> int:
    """Return the first tick of the plan `now` after the last one of `before`.

    `next_tick_ms`: that of `before` which has not been dealt with yet.
    """
    return now.next_tick_ms(next_tick_ms - before.interval_ms)
