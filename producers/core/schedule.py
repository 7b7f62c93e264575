"""Plan scrapes. In: a target, its interval, event time. Out: ticks: when to scrape it, and which
ticks passed unused.

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
    """What a scheduler has to do for one target now."""

    tick_ms: int | None  # scrape for this tick
    skipped_ms: tuple[int, ...]  # report these
    next_tick_ms: int


def plan(target: Target, interval_ms: int) -> Plan:
    """Return the plan of `target`."""
    return Plan(interval_ms, xxhash.xxh3_64_intdigest(str(target).encode()) % interval_ms)


def due(plan: Plan, *, next_tick_ms: int, now_ms: int, in_flight: bool) -> Due:
    """Return what is due for a target at `now_ms`.

    `next_tick_ms`: the first tick not dealt with yet. A tick that comes while the scrape before it
    still runs is skipped; so are all but the newest of several that passed at once.
    """
    if now_ms < next_tick_ms:
        return Due(None, (), next_tick_ms)
    upcoming = plan.next_tick_ms(now_ms)
    newest = upcoming - plan.interval_ms
    first = max(next_tick_ms, newest - SKIPPED_MAX * plan.interval_ms)
    passed = tuple(range(first, upcoming, plan.interval_ms))
    if in_flight:
        return Due(None, passed, upcoming)
    return Due(newest, passed[:-1], upcoming)
