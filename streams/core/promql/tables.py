"""Number label sets that come and go. In: label tables. Out: for each row a column that stays.

The rule this file owns: a label set has one column for as long as anything is kept of it, whatever
table brings it.
"""

from collections.abc import Iterable

import numpy as np

from streams.core.promql.labels import EMPTY, Index, Labels, Mask, stack

Key = tuple[tuple[str, int], ...]


class SeriesTable:
    """Label sets in the order of their appearance."""

    def __init__(self, table: Labels = EMPTY) -> None:
        self.table = table
        self._columns: dict[Key, int] = {key: i for i, key in enumerate(_keys(table))}
        self._known: tuple[Labels, Index] | None = None  # the columns of the newest table

    @property
    def n(self) -> int:
        """How many there are."""
        return self.table.n

    def columns(self, labels: Labels) -> Index:
        """Return the column of each row, a new one if need be."""
        if self._known is not None and self._known[0] is labels:
            return self._known[1]
        known, columns = self.n, self._columns
        found = np.fromiter(
            (columns.setdefault(key, len(columns)) for key in _keys(labels)), np.int64, labels.n
        )
        new, first = np.unique(found, return_index=True)
        fresh = first[new >= known]
        if len(fresh):
            more = labels.take(fresh)
            self.table = stack([self.table, more]) if known else more
        self._known = (labels, found)
        return found

    def keep(self, used: Mask) -> Index:
        """Forget the columns that are not used; return the new number of each."""
        number = np.cumsum(used) - 1
        self.table = self.table.take(np.flatnonzero(used))
        self._columns = {key: i for i, key in enumerate(_keys(self.table))}
        self._known = None
        return number


def _keys(labels: Labels) -> Iterable[Key]:
    columns = [(name, codes.tolist()) for name, codes in labels.columns.items()]
    for i in range(labels.n):
        yield tuple((name, codes[i]) for name, codes in columns if codes[i])
