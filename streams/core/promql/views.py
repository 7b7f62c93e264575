"""Look at the values of a target as a selector sees them. In: a selector, rows, and where each row
begins. Out: a label table and the gathering of its values.

The rule this file owns: buckets are cumulated row by row, never in one running sum, so that an idle
histogram is exactly 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streams.core.promql.labels import EMPTY, NAME, Floats, Index, Labels, Mask, Strings, stack
from streams.core.promql.selectors import INFINITY, Folded, Selector
from streams.core.promql.series import Series


@dataclass(frozen=True, slots=True)
class Block:
    """Values of rows of one shape: (rows, values) positions; of buckets those that `bounds` hit."""

    index: Index
    bounds: Mask | None = None

    def gather(self, values: Floats) -> Floats:
        """Return the values of all rows, one after the other."""
        if self.bounds is None:
            return values[self.index.reshape(-1)]
        found = np.cumsum(values[self.index], axis=1)
        return (found if self.bounds.all() else found[:, self.bounds]).reshape(-1)


@dataclass(frozen=True, slots=True)
class View:
    """A label table, the row of Series behind each of its rows, and the blocks of its values."""

    labels: Labels
    rows: Index
    blocks: tuple[Block, ...]

    def gather(self, values: Floats) -> Floats:
        """Return the value of each row of the table."""
        if not self.blocks:
            return np.zeros(0)
        parts = [block.gather(values) for block in self.blocks]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


NOTHING = View(EMPTY, np.zeros(0, np.int64), ())


@dataclass(frozen=True, slots=True)
class Look:
    """What a selector is to see: rows, and where the values of each begin (-1: nowhere)."""

    series: Series
    selector: Selector
    strings: Strings
    first: Index  # (series.n,)

    def view(self, constants: Mapping[str, int], before: View | None = None) -> View:
        """Return the view of all rows that match and have a place.

        constants: codes of the target's own labels; before: an older view of the same series, whose
        table is kept if the rows are the same.
        """
        parts = [self._values(self._rows(self.selector.name, folded=False), 0)]
        if self.selector.folded is not None:
            family, what = self.selector.folded
            rows = self._rows(family, folded=True)
            if what is Folded.BUCKET:
                parts += self._buckets(rows)
            else:
                parts.append(self._values(rows, 1 if what is Folded.COUNT else 0))
        name = self.strings.code(self.selector.name)
        return joined(parts, before, {NAME: name, **constants})

    def rows(self) -> Index:
        """Return the rows that the selector reads; conditions on `le` count for plain ones only."""
        name, folded = self.selector.name, self.selector.folded
        plain = self._rows(name, folded=False)
        found = [plain[self.selector.mask(self.series.labels(plain), self.strings, le=True)]]
        if folded is not None:
            rows = self._rows(folded[0], folded=True)
            found.append(rows[self.selector.mask(self.series.labels(rows), self.strings, le=False)])
        return np.concatenate(found)

    def _rows(self, family: str, *, folded: bool) -> Index:
        rows = self.series.named(self.strings.code(family), folded=folded)
        return rows[self.first[rows] >= 0]

    def _values(self, rows: Index, nth: int) -> View:
        """Return the view of the nth value of each row."""
        labels = self.series.labels(rows)
        hit = np.flatnonzero(self.selector.mask(labels, self.strings, le=True))
        rows = rows[hit]
        return View(labels.take(hit), rows, (Block((self.first[rows] + nth)[:, None]),))

    def _buckets(self, rows: Index) -> list[View]:
        """Return a view for each set of bounds."""
        rows = rows[self.selector.mask(self.series.labels(rows), self.strings, le=False)]
        shapes = self.series.shapes[rows]
        return [
            self._bounded(rows[shapes == shape], shape)
            for shape in np.unique(shapes).tolist()
            if shape >= 0
        ]

    def _bounded(self, rows: Index, shape: int) -> View:
        bounds = bounds_of(self.strings, shape)
        mask = self.selector.bounds_mask(bounds)
        chosen = self.strings.codes(bounds)[mask]
        labels = self.series.labels(rows).take(np.repeat(np.arange(len(rows)), len(chosen)))
        columns = {**labels.columns, "le": np.tile(chosen, len(rows))}
        index = self.first[rows][:, None] + 2 + np.arange(len(bounds))
        table = Labels(columns, labels.n)
        return View(table, np.repeat(rows, len(chosen)), (Block(index, mask),))


def bounds_of(strings: Strings, shape: int) -> tuple[str, ...]:
    """Return the bounds of histograms of a shape, the infinite one included."""
    text = strings.text(shape)
    return (*(text.split(",") if text else ()), INFINITY)


def joined(parts: Sequence[View], before: View | None, constants: Mapping[str, int]) -> View:
    """Return all parts as one view, with the same constants in each row."""
    parts = [part for part in parts if part.labels.n]
    if not parts:
        return NOTHING
    rows = np.concatenate([part.rows for part in parts])
    blocks = tuple(block for part in parts for block in part.blocks)
    if before is not None and np.array_equal(before.rows, rows):
        return replace(before, blocks=blocks)
    labels = stack([part.labels for part in parts]).replace(constants)
    return View(labels, rows, blocks)
