"""Number the series of one target that rules select. In: columns of new layouts. Out: stable rows
and slots.

The rule this file owns: a series keeps its row and its slots for as long as it is remembered, so a
new layout, or a series that vanished and returned, never moves what was counted.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from streams.core.promql.columns import SCALAR, Columns
from streams.core.promql.labels import NAME, Codes, Floats, Index, Labels, Mask

Key = tuple[int, int]
"""Id and shape: a histogram with other bounds is another series."""


ROWS_MAX: Final = 200_000
"""Rows kept of one target. New series beyond it are not kept, and counted, until others ended."""


class Series:
    """The rows of one target. A counted row has slots in the cumulative vector, others have -1."""

    def __init__(self) -> None:
        self.n = 0
        self.slots = 0
        self.refused = 0  # series for which there was no room, since the beginning
        self._rows: dict[Key, int] = {}
        self._by_name: dict[int, list[int]] = {}
        self.columns: dict[str, Codes] = {}
        self.shapes: Index = np.zeros(0, np.int64)
        self.widths: Index = np.zeros(0, np.int64)
        self.slot: Index = np.zeros(0, np.int64)
        self.born_ms: Floats = np.zeros(0)  # of the first sample, or of the scrape that lacked it
        self.from_zero: Mask = np.zeros(0, np.bool_)  # born while its target was watched
        self.dead_ms: Floats = np.zeros(0)  # its last sample; infinite while it is there
        self.left_ms: Floats = np.zeros(0)  # the same of its last absence, if it came back
        self.back_ms: Floats = np.zeros(0)  # the first sample after that

    def rows(self, columns: Columns, chosen: Index, counted: Mask) -> tuple[Index, Index]:
        """Return the rows of the `chosen` columns (-1: no room), and those of them that are new.

        chosen: positions in columns; counted: for each of these whether it needs slots.
        """
        shapes = columns.shapes.tolist()
        keys = [(columns.keys[i], shapes[i]) for i in chosen.tolist()]
        fresh = {key: i for i, key in enumerate(keys) if key not in self._rows}
        begin, room = self.n, ROWS_MAX - self.n
        self.refused += max(len(fresh) - room, 0)
        if distinct := list(fresh.values())[:room]:
            self._add([keys[i] for i in distinct], columns, chosen[distinct], counted[distinct])
        found = np.fromiter((self._rows.get(key, -1) for key in keys), np.int64, len(keys))
        return found, np.arange(begin, self.n)

    def _add(self, keys: Sequence[Key], columns: Columns, chosen: Index, counted: Mask) -> None:
        begin, more = self.n, len(keys)
        self.n += more
        self._rows.update(zip(keys, range(begin, self.n), strict=True))
        for row, name in enumerate(columns.labels.column(NAME)[chosen].tolist(), begin):
            self._by_name.setdefault(name, []).append(row)
        for name in {*self.columns, *columns.labels.names}:
            old = self.columns.get(name, np.zeros(begin, np.int32))
            self.columns[name] = np.concatenate([old, columns.labels.column(name)[chosen]])
        widths = columns.widths[chosen]
        taken = np.where(counted, widths, 0)
        slot = np.where(counted, self.slots + np.cumsum(taken) - taken, -1)
        self.slots += int(taken.sum())
        self.shapes = np.concatenate([self.shapes, columns.shapes[chosen]])
        self.widths = np.concatenate([self.widths, widths])
        self.slot = np.concatenate([self.slot, slot])
        self.born_ms = np.concatenate([self.born_ms, np.zeros(more)])
        self.from_zero = np.concatenate([self.from_zero, np.zeros(more, np.bool_)])
        self.dead_ms = np.concatenate([self.dead_ms, np.full(more, math.inf)])
        self.left_ms = np.concatenate([self.left_ms, np.full(more, -math.inf)])
        self.back_ms = np.concatenate([self.back_ms, np.full(more, -math.inf)])

    def named(self, code: int, *, folded: bool) -> Index:
        """Return the rows of a family: histograms and summaries, or plain ones."""
        rows: Index = np.array(self._by_name.get(code, ()), np.int64)
        return rows[np.flatnonzero((self.shapes[rows] != SCALAR) == folded)]

    def last_ms(self, newest_ms: int) -> Floats:
        """Return the last sample of each row as it was known after the scrape at `newest_ms`."""
        return np.minimum(newest_ms, np.where(self.back_ms > newest_ms, self.left_ms, self.dead_ms))

    def labels(self, rows: Index) -> Labels:
        """Return the label sets of some rows; columns without any value are left out."""
        columns = {name: codes[rows] for name, codes in self.columns.items()}
        return Labels({name: codes for name, codes in columns.items() if codes.any()}, len(rows))

    def kept(self, rows: Index) -> tuple["Series", Index]:
        """Return the numbers of these rows alone, and their old slots in the new order."""
        new, keys = Series(), {row: key for key, row in self._rows.items()}
        left = np.where(self.slot[rows] >= 0, self.widths[rows], 0)
        new.n, new.slots, new.refused = len(rows), int(left.sum()), self.refused
        new._rows = {keys[row]: i for i, row in enumerate(rows.tolist())}
        new.columns = {name: codes[rows] for name, codes in self.columns.items()}
        for row, name in enumerate(new.columns[NAME].tolist() if new.n else ()):
            new._by_name.setdefault(name, []).append(row)
        new.slot = np.where(left > 0, np.cumsum(left) - left, -1)
        new.shapes, new.widths = self.shapes[rows], self.widths[rows]
        new.born_ms, new.from_zero = self.born_ms[rows], self.from_zero[rows]
        new.dead_ms = self.dead_ms[rows]
        new.left_ms, new.back_ms = self.left_ms[rows], self.back_ms[rows]
        return new, expand(self.slot[rows], left)


def expand(begin: Index, width: Index) -> Index:
    """Return begin[0], begin[0]+1, ... (width[0] of them), begin[1], ... as one array."""
    total = int(width.sum())
    ends = np.cumsum(width)
    found: Index = np.arange(total) + np.repeat(begin - (ends - width), width)
    return found
