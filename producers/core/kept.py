"""Leave families out of the columns of a target. In: the columns of scrape after scrape. Out: those
of the families that are kept.

The rule this file owns: what is kept is decided once for each layout; a scrape that has the same
rows as the one before costs a few copies.
"""

from collections.abc import Sequence

import numpy as np

from producers.core.columns import Columns, Layout
from producers.core.families import Families

Runs = Sequence[tuple[int, int]]
"""(start, stop) of what is kept, ascending."""


class Kept:
    """What is kept of the newest layout of a target. Not for several threads at once."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._of: Layout | None = None
        self._layout: Layout | None = None  # None: all rows are kept
        self._rows: Runs = ()
        self._buckets: Runs = ()

    def of(self, columns: Columns) -> Columns:
        """Return the columns of what is kept."""
        if self._families.everything:
            return columns
        if columns.layout is not self._of:
            self._choose(columns.layout)
        if self._layout is None:
            return columns
        values, counts, buckets = columns.values, columns.counts, columns.buckets
        return Columns(
            self._layout,
            np.concatenate([values[:0], *(values[a:b] for a, b in self._rows)]),
            np.concatenate([counts[:0], *(counts[a:b] for a, b in self._rows)]),
            np.concatenate([buckets[:0], *(buckets[a:b] for a, b in self._buckets)]),
        )

    def _choose(self, layout: Layout) -> None:
        keeps = {name: self._families.keeps(name) for name in layout.first}
        self._of, self._layout = layout, None
        if all(keeps.values()):
            return
        kept = np.fromiter((keeps[one.metric] for one in layout.series), np.int8, len(layout))
        edges = np.flatnonzero(np.diff(kept, prepend=0, append=0))
        self._rows = [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
        self._buckets = [(int(layout.starts[a]), int(layout.starts[b])) for a, b in self._rows]
        self._layout = layout.runs(self._rows)
