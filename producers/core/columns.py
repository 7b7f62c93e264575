"""The columns of a scrape. In: rows, or new numbers for rows that are known. Out: columns of
SCRAPE_SCHEMA.

The rule this file owns: one row per metric, in the order of the exposition. What the rows are
(their layout) is computed once and shared by all scrapes that have it; what they say (values,
counts, buckets) is new in each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from producers.core.rows import Row, Series
from schemas.arrow import SCRAPE_SCHEMA
from schemas.series import layout_id

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Counts = NDArray[np.uint64]
Mask = NDArray[np.bool_]

_BUCKETS = SCRAPE_SCHEMA.field("buckets").type


@dataclass(frozen=True, eq=False)
class Layout:
    """What the rows of a scrape are. Compared by identity: the same object is the same rows."""

    series: tuple[Series, ...]
    bounds: tuple[str, ...]  # of each row, "" where it has no buckets
    widths: Index  # buckets of each row, 0 where it has none
    counted: Mask  # whether a row has a count
    cuts: dict[int, tuple["Part", ...]] = field(default_factory=dict)  # by bytes of a record

    def __len__(self) -> int:
        return len(self.series)

    @cached_property
    def starts(self) -> Index:
        """(rows + 1,): where the buckets of each row begin in those of all."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.widths)])

    @cached_property
    def id(self) -> int:
        """The layout of DESIGN section 4; 0 of no rows."""
        return layout_id(one.id for one in self.series) if self.series else 0

    @cached_property
    def first(self) -> dict[str, int]:
        """The first row of each metric."""
        return {self.series[row].metric: row for row in reversed(range(len(self)))}

    @cached_property
    def labels(self) -> tuple[pa.Array, ...]:
        """The columns before `value`; their dictionaries hold the values of these rows only."""
        core = zip(*(one.core for one in self.series), strict=True) if self.series else ()
        columns = (
            [one.metric for one in self.series],
            [one.kind.value for one in self.series],
            *(core or [()] * (SCRAPE_SCHEMA.get_field_index("labels") - 2)),
            [one.labels for one in self.series],
        )
        ids = np.fromiter((one.id for one in self.series), np.uint64, len(self))
        return (*map(_codes, columns), pa.array(ids))

    @cached_property
    def bound_codes(self) -> pa.Array:
        """The column `bounds`."""
        return _codes(self.bounds)

    def part(self, start: int, stop: int) -> "Layout":
        """Return the layout of some of the rows."""
        rows = slice(start, stop)
        return Layout(self.series[rows], self.bounds[rows], self.widths[rows], self.counted[rows])

    def runs(self, runs: Iterable[tuple[int, int]]) -> "Layout":
        """Return the layout of the rows of several parts, given as start and stop."""
        rows = [row for start, stop in runs for row in range(start, stop)]
        return Layout(
            tuple(self.series[row] for row in rows),
            tuple(self.bounds[row] for row in rows),
            self.widths[rows],
            self.counted[rows],
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Rows from `start` to before `stop`, for a record of their own."""

    start: int
    stop: int
    layout: Layout


@dataclass(frozen=True, slots=True)
class Columns:
    """What the rows of one scrape say."""

    layout: Layout
    values: Floats  # (rows,) counter, gauge, or the sum
    counts: Counts  # (rows,) 0 where the row has none
    buckets: Index  # of all rows in turn, per bucket

    def __len__(self) -> int:
        return len(self.layout)

    def value(self, metric: str) -> float | None:
        """Return the value of the first row of a metric; None where there is none."""
        row = self.layout.first.get(metric)
        return None if row is None else float(self.values[row])

    def batch(self) -> pa.RecordBatch:
        """Return the columns of a record."""
        layout = self.layout
        columns = [
            *layout.labels,
            pa.array(self.values),
            pa.array(self.counts, mask=~layout.counted),
            pa.ListArray.from_arrays(
                pa.array(layout.starts.astype(np.int32)),
                pa.array(self.buckets),
                type=_BUCKETS,
                mask=pa.array(layout.widths == 0),
            ),
            layout.bound_codes,
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCRAPE_SCHEMA)

    def part(self, part: Part) -> "Columns":
        """Return some of the rows."""
        rows, starts = slice(part.start, part.stop), self.layout.starts
        buckets = self.buckets[starts[part.start] : starts[part.stop]]
        return Columns(part.layout, self.values[rows], self.counts[rows], buckets)

    def rows(self) -> tuple[Row, ...]:
        """Return the rows one by one, for who looks at few of them."""
        layout, starts = self.layout, self.layout.starts.tolist()
        buckets = self.buckets.tolist()
        return tuple(
            Row(
                series,
                value,
                count if counted else None,
                tuple(buckets[start:stop]) if stop > start else None,
                bounds,
            )
            for series, value, count, counted, start, stop, bounds in zip(
                layout.series,
                self.values.tolist(),
                self.counts.tolist(),
                layout.counted.tolist(),
                starts,
                starts[1:],
                layout.bounds,
                strict=False,  # starts has one more
            )
        )


def columns_of(rows: Sequence[Row]) -> Columns:
    """Return rows as columns, with a layout of their own."""
    layout = Layout(
        tuple(row.series for row in rows),
        tuple(row.bounds for row in rows),
        np.fromiter((len(row.buckets or ()) for row in rows), np.int64, len(rows)),
        np.fromiter((row.count is not None for row in rows), np.bool_, len(rows)),
    )
    return Columns(
        layout,
        np.fromiter((row.value for row in rows), np.float64, len(rows)),
        np.fromiter((row.count or 0 for row in rows), np.uint64, len(rows)),
        np.fromiter(chain.from_iterable(row.buckets or () for row in rows), np.int64),
    )


NO_ROWS = columns_of(())


def _codes(values: Sequence[str]) -> pa.DictionaryArray:
    return pa.array(values, pa.utf8()).dictionary_encode()
