"""Count what the counters of one target grow by. In: the values of its scrapes in order. Out: the
increase of each slot over any window, and how far the window was watched.

The rules this file owns:
- A row falls as a whole: when any value of it falls, all of them restarted from zero; when the
  process restarted, all rows did.
- A series counts from zero if the scrape before its first was complete, under the same filter and
  of the same process; else its first value is a baseline. One that returns counts on.
- A window shows a row if it overlaps the time between two of its samples: so any window has a
  value, and adjacent windows add up, also for a row that is seen once and never again.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.promql.history import History
from streams.core.promql.labels import Floats, Index, Mask
from streams.core.promql.layout import Layout
from streams.core.promql.series import Series

DEAD_ROWS_MAX: Final = 1_000
"""Rows that vanished before all windows began are forgotten when there are more than this, and more
of them than of the others."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a target grew by over (end - w, end]."""

    increase: Floats  # of each slot
    present: Mask  # of each row
    coverage: Floats  # of each row


class Counters:
    """The counted series of one target."""

    def __init__(self) -> None:
        self.series, self.history = Series(), History()
        self._values: Floats = np.zeros(0)  # of each slot, as last seen
        self._layout: Layout | None = None
        self._windows: dict[tuple[int, int, int], Window] = {}

    def count(
        self, layout: Layout, values: Floats, start_ms: int, *, watched: bool, restarted: bool
    ) -> None:
        """Add one scrape.

        values: its flat vector; watched: whether the scrape before showed all there was.
        """
        self._windows.clear()
        if restarted:
            self._values[:] = 0.0
        now = values[layout.counted]
        if layout is not self._layout:
            self._enter(layout, now, start_ms, watched=watched and not restarted)
        before = self._values[layout.slots]
        grown = _grown(layout, before, now)
        cumulative = self.history.last(self.series.slots)
        cumulative[layout.slots] += np.where(np.isfinite(grown), grown, 0.0)
        self._values[layout.slots] = np.where(np.isnan(now), before, now)
        self.history.add(start_ms, cumulative)

    def _enter(self, layout: Layout, now: Floats, start_ms: int, *, watched: bool) -> None:
        """Note which rows are new, gone and back."""
        series, times = self.series, self.history.times_ms
        known = len(self._values)
        self._values = np.concatenate([self._values, np.zeros(series.slots - known)])
        if not watched:
            fresh = layout.slots >= known
            self._values[layout.slots[fresh]] = now[fresh]
        new, layout.fresh = layout.fresh, layout.fresh[:0]
        series.born_ms[new] = times[-1] if watched else start_ms
        series.from_zero[new] = watched
        here = np.zeros(series.n, np.bool_)
        here[layout.rows] = True
        gone = ~here & np.isinf(series.dead_ms)
        if times:
            series.dead_ms[gone] = times[-1]
        series.dead_ms[here] = np.inf
        self._layout = layout

    def window(self, newest: int, end_ms: int, width_ms: int) -> Window:
        """Return the increases over (end - width, end]; `newest` is the scrape that ends it."""
        key = (newest, end_ms, width_ms)
        if key not in self._windows:
            self._windows[key] = self._window(newest, end_ms, width_ms)
        return self._windows[key]

    def _window(self, newest: int, end_ms: int, width_ms: int) -> Window:
        series, times, begin_ms = self.series, self.history.times_ms, end_ms - width_ms
        last_ms = times[newest]
        last = np.minimum(last_ms, series.dead_ms)
        present = (last > series.born_ms) & (last > begin_ms)
        # A series that was born while we watched is known to have been 0 before.
        since = np.where(series.from_zero, begin_ms, np.maximum(series.born_ms, begin_ms))
        coverage = np.clip((min(last_ms, end_ms) - since) / width_ms, 0.0, 1.0)
        return Window(self.history.increase(begin_ms, end_ms, series.slots), present, coverage)

    def forget(self, before_ms: int) -> bool:
        """Drop what no window needs that begins at `before_ms` or later.

        Returns whether rows were renumbered: layouts compiled before count for nothing then.
        """
        self.history.forget(before_ms)
        dead = self.series.dead_ms < before_ms
        if not DEAD_ROWS_MAX < int(dead.sum()) > self.series.n // 2:
            return False
        self.series, slots = self.series.kept(np.flatnonzero(~dead))
        self.history.keep(slots)
        self._values = self._values[slots]
        self._windows.clear()
        self._layout = None
        return True


def _grown(layout: Layout, before: Floats, now: Floats) -> Floats:
    grown: Floats = now - before
    fallen = grown < 0
    if fallen.any():
        rows = np.zeros(int(layout.owner[-1]) + 1, np.bool_)
        rows[layout.owner[fallen]] = True
        grown = np.where(rows[layout.owner], now, grown)
    return grown


def first_of(layout: Layout, rows: int) -> Index:
    """Return where the instant values of each row begin, for a Series that has grown to `rows`."""
    return np.concatenate([layout.offset, np.full(rows - len(layout.offset), -1, np.int64)])
