"""Hold what accumulators count, by how far back they must remember. In: the growth of each counted
value of a scrape. Out: what every slot grew by over a window.

The rule this file owns: a bank remembers as long as its own longest window and no longer; few
accumulators have long ones, and those have few slots.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.promql.accumulators import Accumulator, Feed, Groups
from streams.core.promql.history import History
from streams.core.promql.labels import Floats, Index, Strings
from streams.core.promql.past import BankPast, floats
from streams.core.promql.selectors import Selector
from streams.core.promql.series import Series

FINE_MS: Final = 600_000
"""Every scrape is kept for so long; older ones are thinned."""
REACHES_MS: Final = (FINE_MS, 3_600_000, 21_600_000, 259_200_000, 3_456_000_000)
"""Banks: how far back their windows reach, at most: 10 min, 1 h, 6 h, 3 d, 40 d."""
REACH_MS_MAX: Final = REACHES_MS[-1]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back the windows of an accumulator go."""

    ms: int
    fine_ms: int = FINE_MS  # up to here every scrape is needed: windows with an offset begin there

    @property
    def bank(self) -> tuple[int, int]:
        """Return the bank of the accumulator: the longest window of its kind, and the fine part."""
        return next(one for one in REACHES_MS if self.ms <= one), self.fine_ms


class Bank:
    """The accumulators of one target whose windows have about the same length."""

    def __init__(
        self, whats: Mapping[Accumulator, Selector], *, keep_ms: int, fine_ms: int, late_ms: int
    ) -> None:
        """late_ms: how long after its end a window may be asked for."""
        self.keep_ms, self.fine_ms = keep_ms, fine_ms
        self.history = History(fine_ms + late_ms)
        self.groups = {what: Groups(what, selector) for what, selector in whats.items()}
        self.slots = 0

    def add(self, series: Series, fresh: Index, strings: Strings) -> None:
        """Take new rows."""
        for one in self.groups.values() if len(fresh) else ():
            self.slots = one.add(series, fresh, strings, self.slots)

    def feed(self, series: Series, offset: Index, strings: Strings) -> Feed:
        """Return how a layout feeds this bank."""
        feeds = [feed for one in self.groups.values() for feed in one.feed(series, offset, strings)]
        return joined_feeds(feeds)

    @property
    def long(self) -> bool:
        """Whether it reaches back further than a replay, so that its past is kept in the table."""
        return self.keep_ms > FINE_MS

    def past(self, reach: tuple[int, int], series: Series, strings: Strings) -> BankPast:
        """Return the bank as it is kept in the table."""
        t_ms = self.history.times_ms[-1] if self.history.times_ms else 0
        groups = [one.past(series, t_ms, strings) for one in self.groups.values()]
        return BankPast(reach, groups, *self.history.past(self.slots))

    def restore(self, past: BankPast, strings: Strings) -> None:
        """Take the past of accumulators that are still there."""
        before = {one.what: one for one in past.groups}
        kept = [
            one.restore(before[str(what)], strings, self._taken())
            for what, one in self.groups.items()
            if str(what) in before
        ]
        self.slots = self._taken()
        if kept:
            vectors = floats(past.vectors)[:, np.concatenate(kept)]
            self.history.restore(past.times_ms, past.levels, vectors)

    def _taken(self) -> int:
        return sum(int(one.width.sum()) for one in self.groups.values())

    def count(self, feed: Feed, growth: Floats, t_ms: int) -> None:
        """Add what the counted values of a scrape grew by, unless the past holds it."""
        if self.history.times_ms and t_ms <= self.history.times_ms[-1]:
            return
        for one in self.groups.values():
            one.since_ms = one.since_ms or t_ms
        grown = np.bincount(feed.slot, growth[feed.source] * feed.weight, self.slots)
        self.history.add(t_ms, self.history.last(self.slots) + grown)

    def keep(self, rows: Index, series: Series, newest_ms: int) -> None:
        """Forget rows and groups: rows gives the new number of each row of the series, or -1."""
        kept: list[Index] = []
        slots = 0
        for one in self.groups.values():
            kept.append(one.keep(rows, series, newest_ms - self.keep_ms, slots))
            slots += len(kept[-1])
        self.slots = slots
        self.history.keep(np.concatenate(kept) if kept else np.zeros(0, np.int64))


def joined_feeds(feeds: Iterable[Feed]) -> Feed:
    """Return several feeds as one."""
    every = list(feeds)
    if not every:
        nothing = np.zeros(0, np.int64)
        return Feed(nothing, nothing, np.zeros(0))
    return Feed(
        np.concatenate([one.source for one in every]),
        np.concatenate([one.slot for one in every]),
        np.concatenate([one.weight for one in every]),
    )


def banks_of(
    reaches: Mapping[Accumulator, Reach], selectors: Mapping[Selector, Selector], late_ms: int
) -> dict[tuple[int, int], Bank]:
    """Return the banks of a target for the accumulators that can match there.

    selectors: those that can match, each with what the target's labels do not settle; late_ms: how
    long after its end a window may be asked for.
    """
    found: dict[tuple[int, int], dict[Accumulator, Selector]] = {}
    for what, reach in reaches.items():
        if what.selector in selectors:
            found.setdefault(reach.bank, {})[what] = selectors[what.selector]
    return {
        (reach_ms, fine_ms): Bank(
            whats,
            keep_ms=max(reaches[what].ms for what in whats),
            fine_ms=fine_ms,
            late_ms=late_ms,
        )
        for (reach_ms, fine_ms), whats in found.items()
    }
