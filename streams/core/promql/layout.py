"""Compile a layout: where the selected values of a scrape are. In: columns and stable rows. Out:
index arrays that are used again for every scrape of the layout.

The rule this file owns: the flat vector of a scrape is its values, then its counts, then all its
buckets, in the order of rows; the slots of a row are its value, or sum, count and buckets.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.core.promql.labels import Floats, Index, Mask
from streams.core.promql.selectors import Selector
from streams.core.promql.series import Series, expand
from streams.core.promql.views import View


@dataclass(slots=True)
class Layout:
    """What to read of each scrape with these rows."""

    series: Series
    rows: Index  # of Series, all that are selected
    fresh: Index  # of Series, those that this layout brought
    counted: Index  # positions in the flat vector
    slots: Index  # of each counted position
    owner: Index  # of each counted position: a number for its row, from 0
    instant: Index  # positions in the flat vector
    offset: Index  # of each row of Series: its first value among the instant ones, or -1
    counted_offset: Index  # of each row of Series: its first value among the counted ones, or -1
    views: dict[Selector, View] = field(default_factory=dict)

    def counted_at(self, rows: int) -> Index:
        """Return where the counted values of each row begin, for a Series of so many rows."""
        return padded(self.counted_offset, rows)

    def instant_at(self, rows: int) -> Index:
        """Return where the instant values of each row begin, for a Series of so many rows."""
        return padded(self.offset, rows)


def flat(scrape: pa.RecordBatch | pa.Table) -> Floats:
    """Return all values of a scrape in the order of positions; a bucket without one is NaN."""
    value = scrape.column("value").to_numpy()
    count = pc.fill_null(scrape.column("count"), 0)
    buckets = pc.list_flatten(scrape.column("buckets"))
    parts = [value, count.to_numpy(), buckets.to_numpy(zero_copy_only=False)]
    return np.concatenate([part.astype(np.float64, copy=False) for part in parts])


def lay_out(
    scrape: pa.RecordBatch,
    series: Series,
    *,
    rows: Index,
    fresh: Index,
    at: Index,
    counted: Mask,
    instant: Mask,
) -> Layout:
    """Return the index arrays of a layout.

    rows: (selected,) rows of Series; at: (selected,) their positions in the scrape.
    """
    lengths = scrape.column("buckets").value_lengths().fill_null(0)
    ends = np.cumsum(lengths.to_numpy(zero_copy_only=False).astype(np.int64))
    total = scrape.num_rows
    begins = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
    widths = series.widths[rows]

    def positions(chosen: Mask) -> Index:
        """Return where the values of the chosen rows are."""
        width, row = widths[chosen], at[chosen]
        found = expand(2 * total + begins[row] - 2, width)
        first = np.cumsum(width) - width
        found[first] = row
        found[first[width > 1] + 1] = total + row[width > 1]
        return found

    slots = expand(series.slot[rows[counted]], widths[counted])
    owner = np.repeat(np.arange(int(counted.sum())), widths[counted])

    def offsets(chosen: Mask) -> Index:
        """Return where each row begins among the values of the chosen ones."""
        offset = np.full(series.n, -1, np.int64)
        width = widths[chosen]
        offset[rows[chosen]] = np.cumsum(width) - width
        return offset

    return Layout(
        series,
        rows,
        fresh,
        positions(counted),
        slots,
        owner,
        positions(instant),
        offsets(instant),
        offsets(counted),
    )


def padded(offset: Index, rows: int) -> Index:
    """Return offsets for a Series that has grown to `rows`."""
    return np.concatenate([offset, np.full(rows - len(offset), -1, np.int64)])
