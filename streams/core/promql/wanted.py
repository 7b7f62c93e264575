"""Say what a rule set reads. In: the nodes of its plans. Out: what each target, and the cluster,
must keep, and for how long.

The rule this file owns: nothing is kept that no rule reads, nor longer than its own longest window.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Final

from streams.core.promql.accumulators import Accumulator
from streams.core.promql.banks import FINE_MS, Reach
from streams.core.promql.selectors import Selector

REBUILT_MS: Final = FINE_MS
"""Windows up to this long are rebuilt by reading records again."""
LOOKBACK_MS: Final = 300_000
"""How old a sample may be that stands for the present (Prometheus' default)."""

SYNTHETIC: Final = ("up", "scrape_duration_seconds", "scrape_samples_scraped")
"""Series that are made of envelopes. Nothing can be counted over them."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one node reads."""

    accumulators: Mapping[Accumulator, Reach] = field(default_factory=dict)
    instant: tuple[Selector, ...] = ()
    ranges: Mapping[Selector, int] = field(default_factory=dict)  # ms back
    recorded: Mapping[Selector, int] = field(default_factory=dict)  # ms back
    sums: Mapping[Selector, int] = field(default_factory=dict)  # ms back
    recorded_sums: Mapping[Selector, int] = field(default_factory=dict)  # ms back


@dataclass(frozen=True)
class Wanted:
    """What all nodes of a rule set read."""

    accumulators: Mapping[Accumulator, Reach]
    instant: tuple[Selector, ...]
    ranges: Mapping[Selector, int]
    recorded: Mapping[Selector, int]
    sums: Mapping[Selector, int]
    recorded_sums: Mapping[Selector, int]
    late_ms: int  # how long after its time an evaluation may happen

    @cached_property
    def retention_ms(self) -> int:
        """How far back records are read for windows that are kept whole in memory only."""
        reaches = [reach.ms for reach in self.accumulators.values()]
        every = [*reaches, *self.ranges.values()]
        return max((one for one in every if one <= REBUILT_MS), default=0) + self.late_ms

    @property
    def longest_ms(self) -> int:
        """How far back any window goes."""
        reaches = [reach.ms for reach in self.accumulators.values()]
        ranges = (self.ranges, self.recorded, self.sums, self.recorded_sums)
        every = [*reaches, *(back_ms for one in ranges for back_ms in one.values())]
        return max(every, default=0) + self.late_ms

    @property
    def recorded_ms(self) -> dict[str, int]:
        """How far back the results of recorded names are read."""
        return self._by_name(self.recorded)

    @property
    def recorded_sums_ms(self) -> dict[str, int]:
        """How far back the sums of recorded names are read."""
        return self._by_name(self.recorded_sums)

    def _by_name(self, selectors: Mapping[Selector, int]) -> dict[str, int]:
        found: dict[str, int] = {}
        for selector, back_ms in selectors.items():
            found[selector.name] = max(found.get(selector.name, 0), back_ms + self.late_ms)
        return found

    def covers(self, other: "Wanted") -> bool:
        """Tell whether who keeps this keeps all that the other reads."""
        return all(
            _covers(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)
        )

    def long(self, selector: Selector) -> bool:
        """Tell whether samples are kept for longer than a replay reads back."""
        return self.ranges[selector] > REBUILT_MS


def _covers(mine: object, theirs: object) -> bool:
    """Compare one field: what is kept, with how far back, or how late."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return all(key in mine and _covers(mine[key], back) for key, back in theirs.items())
    if isinstance(mine, tuple) and isinstance(theirs, tuple):
        return set(mine) >= set(theirs)
    if isinstance(mine, Reach) and isinstance(theirs, Reach):
        return mine.ms >= theirs.ms and mine.fine_ms >= theirs.fine_ms
    return isinstance(mine, int) and isinstance(theirs, int) and mine >= theirs


def wanted(needs: Iterable[Need], late_ms: int) -> Wanted:
    """Return what all of these need together."""
    every = list(needs)
    accumulators: dict[Accumulator, Reach] = {}
    for need in every:
        for what, reach in need.accumulators.items():
            before = accumulators.get(what, Reach(0))
            accumulators[what] = Reach(max(reach.ms, before.ms), max(reach.fine_ms, before.fine_ms))
    return Wanted(
        accumulators,
        instant=tuple(dict.fromkeys(one for need in every for one in need.instant)),
        ranges=_longest(need.ranges for need in every),
        recorded=_longest(need.recorded for need in every),
        sums=_longest(need.sums for need in every),
        recorded_sums=_longest(need.recorded_sums for need in every),
        late_ms=late_ms,
    )


def _longest(every: Iterable[Mapping[Selector, int]]) -> dict[Selector, int]:
    found: dict[Selector, int] = {}
    for one in every:
        for selector, back_ms in one.items():
            found[selector] = max(found.get(selector, 0), back_ms)
    return found
