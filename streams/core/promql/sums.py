"""Sum samples over days. In: vectors at times, in order. Out: how many samples each series had in a
window, and their sum.

The rule this file owns: what reaches back further than samples are kept is kept as what was counted
and added up since the beginning, thinned like counters: no sample is lost, and only which of those
at the window's far edge are inside is known to 1/64 of their age.
"""

from dataclasses import dataclass

import numpy as np

from streams.core.promql.banks import FINE_MS
from streams.core.promql.history import History
from streams.core.promql.labels import Floats, Labels, Strings
from streams.core.promql.past import SumsPast, columns_of, floats, table_of
from streams.core.promql.tables import SeriesTable
from streams.core.promql.vector import Vector


@dataclass(frozen=True, slots=True)
class Totals:
    """What the series of a window add up to."""

    labels: Labels
    sums: Floats
    counts: Floats
    first_ms: int  # since when samples were added


class Sums:
    """The samples of one selector, added up."""

    def __init__(self, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._history = History(FINE_MS)
        self._series = SeriesTable()
        self.first_ms: int | None = None

    @property
    def newest_ms(self) -> int:
        """The time of the newest samples; -1 where there are none."""
        times = self._history.times_ms
        return times[-1] if times else -1

    def add(self, t_ms: int, vector: Vector) -> None:
        """Add the values at `t_ms`; what the past holds stays."""
        if t_ms <= self.newest_ms:
            return
        if self.first_ms is None:
            self.first_ms = t_ms
        columns, values = self._series.columns(vector.labels), vector.values
        here = vector.present & np.isfinite(values)
        total = self._history.last(2 * self._series.n)
        total[2 * columns[here]] += values[here]
        total[2 * columns[here] + 1] += 1
        self._history.add(t_ms, total)
        self._history.forget(t_ms - self._keep_ms)

    def put(self, t_ms: int, vector: Vector) -> None:
        """Add the values at `t_ms` in place of what was added for that time."""
        if t_ms == self.newest_ms:
            self._history.drop_last()
        self.add(t_ms, vector)

    def window(self, begin_ms: int, end_ms: int) -> Totals:
        """Return what (begin, end] adds up to."""
        slots = 2 * self._series.n
        if not self._history.times_ms:
            return Totals(self._series.table, np.zeros(0), np.zeros(0), 0)
        grown = self._history.at(end_ms, slots) - self._history.at(begin_ms, slots)
        if begin_ms < self._history.times_ms[0]:
            grown = grown + self._history.at(self._history.times_ms[0], slots)
        return Totals(self._series.table, grown[::2], grown[1::2], self.first_ms or 0)

    def past(self, what: str, strings: Strings) -> SumsPast:
        """Return the sums as they are kept in the table."""
        table = self._series.table
        return SumsPast(
            what,
            self.first_ms or 0,
            table_of(table.columns, table.n, strings),
            *self._history.past(2 * table.n),
        )

    def restore(self, past: SumsPast, strings: Strings) -> None:
        """Take the sums of before."""
        self.first_ms = past.first_ms or None
        self._series = SeriesTable(Labels(columns_of(past.table, strings), past.table.n))
        self._history.restore(past.times_ms, past.levels, floats(past.vectors))
