"""Keep samples. In: vectors at times, in order. Out: the samples of a window as a matrix, and the
newest ones as of a time.

The rules this file owns:
- A sample is kept as it came, for as long as the longest window of its selector; nothing is
  thinned.
- A time without a series is kept too: that is how a series is stale at once, as in Prometheus.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.promql.labels import Floats, Index, Labels, Strings
from streams.core.promql.past import RingPast, columns_of, floats, packed, table_of, unpacked
from streams.core.promql.tables import SeriesTable
from streams.core.promql.vector import NOTHING, Vector

SAMPLES_MAX: Final = 5_000_000
"""Samples of one selector of one target (40 MB). Beyond it the oldest go early, and windows that
begin there cover less."""
COLUMNS_SPARE: Final = 1_000
"""Series that vanished are dropped from the table when there are more of them, and more than
others."""
MATRICES_MAX: Final = 16
"""Windows that are remembered until the next samples. Beyond it all are forgotten and made again:
their beginnings move on where no samples come."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Samples of a window: `present` tells which series has one at which time."""

    labels: Labels  # (n,) series
    times_ms: Index  # (k,)
    values: NDArray[np.float64]  # (k, n)
    present: NDArray[np.bool_]  # (k, n)
    first_ms: int  # since when samples were kept


@dataclass(frozen=True, slots=True)
class _Entry:
    columns: Index
    values: Floats


class Ring:
    """The samples of one selector."""

    def __init__(self, keep_ms: int) -> None:
        self.keep_ms = keep_ms
        self.first_ms: int | None = None  # of the first entry that is not lost
        self.times_ms: list[int] = []
        self._entries: list[_Entry] = []
        self._samples = 0
        self._series = SeriesTable()
        self._matrices: dict[tuple[int, int], Matrix] = {}

    def past(self, what: str, strings: Strings) -> RingPast:
        """Return the ring as it is kept in the table."""
        table, columns = self._series.table, [one.columns for one in self._entries]
        values = [one.values for one in self._entries]
        return RingPast(
            what,
            self.first_ms or 0,
            table_of(table.columns, table.n, strings),
            list(self.times_ms),
            [len(one) for one in columns],
            packed(np.concatenate([np.zeros(0, np.int64), *columns])[:, None]),
            packed(np.concatenate([np.zeros(0), *values])[:, None]),
        )

    def restore(self, past: RingPast, strings: Strings) -> None:
        """Take the samples of before."""
        columns = unpacked(past.columns)[:, 0].view(np.int64)
        values = floats(past.values)[:, 0]
        begins = np.cumsum([0, *past.counts]).tolist()
        self._entries = [_Entry(columns[a:b], values[a:b]) for a, b in pairwise(begins)]
        self.times_ms, self.first_ms = list(past.times_ms), past.first_ms or None
        self._samples = len(values)
        self._series = SeriesTable(Labels(columns_of(past.table, strings), past.table.n))

    def add(self, t_ms: int, vector: Vector) -> None:
        """Keep the values at `t_ms`; an empty vector is kept, too. What the past holds stays."""
        if self.times_ms and t_ms <= self.times_ms[-1]:
            return
        if self.first_ms is None:
            self.first_ms = t_ms
        columns, values = self._series.columns(vector.labels), vector.values
        if not vector.present.all():
            columns, values = columns[vector.present], values[vector.present]
        self.times_ms.append(t_ms)
        self._entries.append(_Entry(columns, values))
        self._samples += len(values)
        self._matrices.clear()
        self._forget(t_ms - self.keep_ms)

    @property
    def newest_ms(self) -> int:
        """The time of the newest samples; -1 where there are none."""
        return self.times_ms[-1] if self.times_ms else -1

    def put(self, t_ms: int, vector: Vector) -> None:
        """Keep the values at `t_ms`, in place of what was there at that time."""
        if self.times_ms and self.times_ms[-1] >= t_ms:
            if self.times_ms[-1] > t_ms:
                return  # an evaluation that is repeated
            self.times_ms.pop()
            self._samples -= len(self._entries.pop().values)
        self.add(t_ms, vector)

    def _forget(self, before_ms: int) -> None:
        gone = max(bisect_right(self.times_ms, before_ms) - 1, 0)
        spare, k = self._samples - SAMPLES_MAX, 0
        while spare > 0 and k < len(self._entries) - 1:
            spare -= len(self._entries[k].values)
            k += 1
        if k > gone:
            gone, self.first_ms = k, self.times_ms[k]
        if not gone:
            return
        self._samples -= sum(len(one.values) for one in self._entries[:gone])
        del self.times_ms[:gone], self._entries[:gone]
        if self._series.n > 2 * COLUMNS_SPARE:
            self._drop_columns()

    def _drop_columns(self) -> None:
        used = np.zeros(self._series.n, np.bool_)
        for one in self._entries:
            used[one.columns] = True
        if int(used.sum()) <= self._series.n // 2:
            number = self._series.keep(used)
            self._entries = [_Entry(number[one.columns], one.values) for one in self._entries]

    def window(self, begin_ms: int, end_ms: int) -> Matrix:
        """Return the samples of (begin, end]; the same object while they are the same."""
        key = bisect_right(self.times_ms, begin_ms), bisect_right(self.times_ms, end_ms)
        if key not in self._matrices:
            if len(self._matrices) >= MATRICES_MAX:
                self._matrices.clear()
            self._matrices[key] = self._matrix(*key)
        return self._matrices[key]

    def _matrix(self, begin: int, end: int) -> Matrix:
        entries = self._entries[begin:end]
        values = np.full((len(entries), self._series.n), np.nan)
        present = np.zeros(values.shape, np.bool_)
        for i, one in enumerate(entries):
            values[i, one.columns] = one.values
            present[i, one.columns] = True
        times = np.array(self.times_ms[begin:end], np.int64)
        return Matrix(self._series.table, times, values, present, self.first_ms or 0)

    def at(self, t_ms: int, lookback_ms: int) -> Vector:
        """Return the newest samples at or before `t_ms`, none older than the lookback."""
        k = bisect_right(self.times_ms, t_ms) - 1
        if k < 0 or t_ms - self.times_ms[k] >= lookback_ms:
            return NOTHING
        one = self._entries[k]
        values, present = np.full(self._series.n, np.nan), np.zeros(self._series.n, np.bool_)
        values[one.columns], present[one.columns] = one.values, True
        return Vector(self._series.table, values, present, np.ones(self._series.n))

    def time_at(self, t_ms: int) -> int:
        """Return the time of the samples that `at` returns."""
        return self.times_ms[bisect_right(self.times_ms, t_ms) - 1]
