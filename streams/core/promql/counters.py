"""Count what the counters of one target grow by. In: the values of its scrapes in order. Out: the
increase of each group over any window, and how far the window was watched.

The rules this file owns:
- A row falls as a whole: when any value of it falls, all of them restarted from zero; when the
  process restarted, all rows did. Where another process answers that ran before, all begin anew.
- A series counts from zero if the scrape before its first was complete, under the same filter and
  of the same process; else its first value is a baseline. One that returns counts on.
- A window shows a row if it overlaps the time between two of its samples: so any window has a
  value, and adjacent windows add up, also for a row that is seen once and never again.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.promql.accumulators import Accumulator, Feed
from streams.core.promql.banks import Reach, banks_of
from streams.core.promql.labels import Floats, Mask, Strings
from streams.core.promql.layout import Layout
from streams.core.promql.past import BankPast
from streams.core.promql.selectors import Selector
from streams.core.promql.series import Series
from streams.core.promql.vector import Vector

DEAD_ROWS_MAX: Final = 1_000
"""Rows that vanished before all short windows began are forgotten when there are more than this,
and more of them than of the others."""
GROWTH_MAX: Final = 1e300
"""What grows by more is no count: infinity would stay in all sums for ever."""
WINDOWS_MAX: Final = 64
"""Windows that are remembered until the next scrape. Beyond it all are forgotten and made again:
one that ends at the time of its evaluation, as those of a failing target do, never comes back."""


@dataclass(frozen=True, slots=True)
class Window:
    """The end and the beginning of a window on one target, and the rows that it shows."""

    begin_ms: int
    end_ms: int
    newest_ms: int  # the scrape that ends it
    present: Mask  # of each row
    coverage: Floats  # of each row
    whole: bool  # all rows are there, and were watched all the time

    def since(self, since_ms: int) -> float:
        """Return the share that was watched by who watches since then."""
        watched_ms = min(self.newest_ms, self.end_ms) - max(self.begin_ms, since_ms)
        return min(max(watched_ms / (self.end_ms - self.begin_ms), 0.0), 1.0)


class Counters:
    """The counted series of one target."""

    def __init__(
        self,
        reaches: Mapping[Accumulator, Reach],
        selectors: Mapping[Selector, Selector],
        strings: Strings,
        *,
        late_ms: int,
    ) -> None:
        self.series = Series()
        self.times_ms: list[int] = []  # of the complete scrapes, while windows are fine
        self._strings = strings
        self._banks = banks_of(reaches, selectors, late_ms)
        self._bank_of = {what: bank for bank in self._banks.values() for what in bank.groups}
        self._late_ms = late_ms
        fine = [min(one.keep_ms, one.fine_ms) for one in self._banks.values()]
        self._fine_ms = max(fine, default=0) + late_ms  # how far back rows are remembered
        self._values: Floats = np.zeros(0)  # of each counted value of Series, as last seen
        self._layout: Layout | None = None
        self._feeds: dict[int, tuple[Layout, list[Feed]]] = {}
        self._windows: dict[tuple[int, int, int], Window] = {}
        self._increases: dict[tuple[int, int, int], Floats] = {}

    def count(
        self,
        layout: Layout,
        values: Floats,
        start_ms: int,
        *,
        watched: bool,
        restarted: bool,
        replaced: bool = False,
    ) -> None:
        """Add one scrape.

        values: its flat vector; watched: whether the scrape before showed all there was; replaced:
        another process answers that ran before.
        """
        self._windows.clear()
        self._increases.clear()
        if restarted:
            self._values[:] = 0.0
        if replaced:
            self._values[:] = np.nan
        now = values[layout.counted]
        if layout is not self._layout:
            self._enter(layout, now, start_ms, watched=watched and not restarted)
        before = self._values[layout.slots]
        grown = _grown(layout, before, now)
        growth = np.where(np.abs(grown) < GROWTH_MAX, grown, 0.0)
        self._values[layout.slots] = np.where(np.isnan(now), before, now)
        self.times_ms.append(start_ms)
        for bank, feed in zip(self._banks.values(), self._fed(layout), strict=True):
            bank.count(feed, growth, start_ms)

    def _enter(self, layout: Layout, now: Floats, start_ms: int, *, watched: bool) -> None:
        """Note which rows are new, gone and back."""
        series, times = self.series, self.times_ms
        known = len(self._values)
        self._values = np.concatenate([self._values, np.zeros(series.slots - known)])
        if not watched:
            fresh = layout.slots >= known
            self._values[layout.slots[fresh]] = now[fresh]
        new, layout.fresh = layout.fresh, layout.fresh[:0]
        series.born_ms[new] = times[-1] if watched else start_ms
        series.from_zero[new] = watched
        for bank in self._banks.values():
            bank.add(series, new[series.slot[new] >= 0], self._strings)
        here = np.zeros(series.n, np.bool_)
        here[layout.rows] = True
        gone = ~here & np.isinf(series.dead_ms)
        if times:
            series.dead_ms[gone] = times[-1]
        back = here & np.isfinite(series.dead_ms)
        series.left_ms[back], series.back_ms[back] = series.dead_ms[back], start_ms
        series.dead_ms[here] = np.inf
        self._layout = layout

    def _fed(self, layout: Layout) -> list[Feed]:
        """Return how the layout feeds each bank."""
        found = self._feeds.get(id(layout))
        if found is None or found[0] is not layout:
            while len(self._feeds) >= 16:
                del self._feeds[next(iter(self._feeds))]
            offset = layout.counted_at(self.series.n)
            feeds = [bank.feed(self.series, offset, self._strings) for bank in self._banks.values()]
            found = self._feeds[id(layout)] = (layout, feeds)
        return found[1]

    def increase(self, what: Accumulator, window: Window, constants: dict[str, int]) -> Vector:
        """Return what the groups grew by over a window.

        constants: codes of the target's own labels.
        """
        bank = self._bank_of[what]
        groups = bank.groups[what]
        # What is counted after its newest scrape is not known at its end, though it may be here: a
        # later scrape was taken before, or the past of a replay holds it.
        key = (id(bank), window.begin_ms, window.newest_ms)
        if key not in self._increases:
            if len(self._increases) >= WINDOWS_MAX:
                self._increases.clear()
            self._increases[key] = bank.history.increase(*key[1:], bank.slots)
        view = groups.view(self._strings, constants)
        if window.whole and not bank.long and not groups.rowless:
            return Vector(view.labels, view.gather(self._increases[key]), *view.labels.ones)
        present, coverage = groups.shown(
            window.present, window.coverage, window.begin_ms, window.newest_ms
        )
        if bank.long:  # rows are not remembered for so long
            coverage = np.full(groups.n, window.since(groups.since_ms))
        return Vector(
            view.labels,
            view.gather(self._increases[key]),
            present[view.rows],
            coverage[view.rows],
        )

    def counts(self, what: Accumulator) -> bool:
        """Tell whether the accumulator can match here."""
        return what in self._bank_of

    @property
    def newest_ms(self) -> int:
        """The time of the newest complete scrape; -1 where there is none."""
        return self.times_ms[-1] if self.times_ms else -1

    @property
    def long(self) -> bool:
        """Whether a bank reaches back further than a replay."""
        return any(bank.long for bank in self._banks.values())

    def past(self) -> list[BankPast]:
        """Return the banks that reach back further than a replay."""
        return [
            bank.past(reach, self.series, self._strings)
            for reach, bank in self._banks.items()
            if bank.long
        ]

    def restore(self, past: list[BankPast]) -> None:
        """Take the past of banks that are still there."""
        for one in past:
            if bank := self._banks.get(one.reach):
                bank.restore(one, self._strings)

    def newest_at(self, t_ms: int, what: Accumulator) -> int:
        """Return the time of the newest complete scrape at or before `t_ms`; -1: there is none.

        After a restart the bank of the accumulator remembers more of them.
        """
        k = bisect_right(self.times_ms, t_ms) - 1
        if k >= 0:
            return self.times_ms[k]
        history = self._bank_of[what].history
        k = history.newest_at(t_ms)
        return history.times_ms[k] if k >= 0 else -1

    def window(self, newest_ms: int, end_ms: int, width_ms: int) -> Window:
        """Return the window (end - width, end]; `newest` is the scrape that ends it."""
        key = (newest_ms, end_ms, width_ms)
        if key not in self._windows:
            if len(self._windows) >= WINDOWS_MAX:
                self._windows.clear()
            self._windows[key] = self._window(newest_ms, end_ms, width_ms)
        return self._windows[key]

    def _window(self, newest_ms: int, end_ms: int, width_ms: int) -> Window:
        series, begin_ms = self.series, end_ms - width_ms
        last = series.last_ms(newest_ms)
        present = (last > series.born_ms) & (last > begin_ms)
        # A series that was born while we watched is known to have been 0 before.
        since = np.where(series.from_zero, begin_ms, np.maximum(series.born_ms, begin_ms))
        coverage = np.clip((min(newest_ms, end_ms) - since) / width_ms, 0.0, 1.0)
        whole = bool(present.all() and (coverage == 1.0).all())
        return Window(begin_ms, end_ms, newest_ms, present, coverage, whole)

    def forget(self, newest_ms: int) -> bool:
        """Drop what no window needs when the newest scrape was at `newest_ms`.

        Returns whether rows were renumbered: layouts compiled before count for nothing then.
        """
        before_ms = newest_ms - self._fine_ms
        del self.times_ms[: max(bisect_right(self.times_ms, before_ms) - 1, 0)]
        for bank in self._banks.values():
            bank.history.forget(newest_ms - bank.keep_ms - self._late_ms)
        dead = self.series.dead_ms < before_ms
        if not DEAD_ROWS_MAX < int(dead.sum()) > self.series.n // 2:
            return False
        left = np.flatnonzero(~dead)
        rows = np.full(self.series.n, -1)
        rows[left] = np.arange(len(left))
        for bank in self._banks.values():
            bank.keep(rows, self.series, newest_ms - self._late_ms)
        self.series, slots = self.series.kept(left)
        self._values = self._values[slots]
        self._windows.clear()
        self._increases.clear()
        self._feeds.clear()
        self._layout = None
        return True


def _grown(layout: Layout, before: Floats, now: Floats) -> Floats:
    with np.errstate(invalid="ignore"):  # of infinities
        grown: Floats = now - before
    fallen = grown < 0
    if fallen.any():
        rows = np.zeros(int(layout.owner[-1]) + 1, np.bool_)
        rows[layout.owner[fallen]] = True
        grown = np.where(rows[layout.owner], now, grown)
    return grown
