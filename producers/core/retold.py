"""Compute columns from samples in a known order. In: the slots of a body's samples, and the rows
that they were folded to. Out: of other samples in the same places, their columns.

The rule this file owns: the result is what `fold` would give, or nothing where it would find
something odd.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from producers.core.columns import Columns, Floats, Index, Layout
from producers.core.folding import Part, Slot

COUNTS_END: Final = 2.0**63  # a count is below: it is kept in 63 bits
_NONE: Final = -1


@dataclass(frozen=True, slots=True)
class Places:
    """Where the numbers of a layout stand among the samples of a body; -1: the body has none."""

    layout: Layout
    value: Index  # (rows,)
    count: Index  # (rows,)
    bucket: Index  # (buckets of all rows,), in the order of their bounds

    def columns(self, samples: Floats) -> Columns | None:
        """Return what the samples say; None where a count is none, which `fold` has to judge."""
        layout = self.layout
        values = np.append(samples, math.nan)[self.value]
        given = np.append(samples, 0.0)
        counts, cumulative = given[self.count], given[self.bucket]
        if not (_countable(counts) and _countable(cumulative)):
            return None
        whole = cumulative.astype(np.int64)
        buckets = np.diff(whole, prepend=0)
        first = layout.starts[:-1][layout.widths > 0]
        buckets[first] = whole[first]
        return Columns(layout, values, counts.astype(np.uint64), buckets)


def places(slots: Sequence[Slot], layout: Layout) -> Places | None:
    """Return where the samples of these slots go; None where a row lacks both count and +Inf.

    slots: of a body without duplicates, one for each sample.
    """
    row_of = {series: row for row, series in enumerate(layout.series)}
    value, count = (np.full(len(layout), _NONE, np.int64) for _ in range(2))
    bounds: dict[int, list[tuple[float, int]]] = {}
    for place, slot in enumerate(slots):
        row = row_of[slot.series]
        if slot.part is Part.BUCKET:
            bounds.setdefault(row, []).append((slot.le, place))
        elif slot.part is Part.COUNT:
            count[row] = place
        else:
            value[row] = place
    bucket = np.full(int(layout.starts[-1]), _NONE, np.int64)
    for row in np.flatnonzero(layout.widths).tolist():
        found = sorted(bounds.get(row, ()))
        if not found or found[-1][0] != math.inf:
            found.append((math.inf, int(count[row])))
        if found[-1][1] == _NONE:
            return None
        bucket[layout.starts[row] : layout.starts[row + 1]] = [place for _, place in found]
        if count[row] == _NONE:
            count[row] = found[-1][1]
    return Places(layout, value, count, bucket)


def _countable(numbers: Floats) -> bool:
    """Tell whether all are counts: `fold` leaves others out, or cuts them."""
    return bool(((numbers >= 0) & (numbers < COUNTS_END) & (numbers == np.floor(numbers))).all())
