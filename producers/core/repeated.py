"""Read the metrics of a body that have changed. In: metrics whose labels and bounds are known. Out:
their numbers, each in its place.

The rule this file owns: a metric gives numbers only while its labels, type and bounds are what they
were. Most are written alike, with the same rest behind the numbers (since when it counts, native
buckets), and are read together; the others are decoded one by one.
"""

from collections.abc import Sequence

import numpy as np

from producers.core import wire
from producers.core.columns import Floats, Index, Mask
from producers.core.labels import BadLine
from producers.core.metricfamily import label_bytes, told
from schemas.records import Kind

Shape = tuple[Kind, tuple[float, ...]]
"""Type and bounds of a metric: what its numbers are."""


class Repeated:
    """What does not change in the metrics of a body; arrays and lists have an element for each."""

    def __init__(
        self,
        metrics: Sequence[bytes],
        shapes: Sequence[Shape],
        starts: Sequence[int],
        values: Floats,
    ) -> None:
        """starts: where the numbers of each metric begin in `values`, in the order of
        `metricfamily.told`.
        """
        self._shapes = shapes
        self._starts = np.array(starts, np.int64)
        self._labels = np.fromiter(map(label_bytes, metrics), np.int64, len(metrics))
        self._heads = [metric[:end] for metric, end in zip(metrics, self._labels, strict=True)]
        self._tags = np.array([wire.VALUE_TAGS.get(kind, 0) for kind, _ in shapes], np.int64)
        histograms = [bounds[:-1] if kind is Kind.HISTOGRAM else None for kind, bounds in shapes]
        self._is_histogram = np.array([one is not None for one in histograms], np.bool_)
        self._widths = np.array([len(one or ()) for one in histograms], np.int64)
        numbered: dict[tuple[float, ...], int] = {}
        self._bounds_of = np.array(
            [numbered.setdefault(one or (), len(numbered)) for one in histograms], np.int64
        )
        self._bounds = np.full((len(numbered), max(map(len, numbered), default=0)), np.nan)
        for bounds, number in numbered.items():
            self._bounds[number, : len(bounds)] = bounds
        self._tails = [b""] * len(metrics)
        every = np.arange(len(metrics))
        rows, simple = self._values(metrics, every)
        self._same_tails(metrics, rows, simple)
        rows, found = self._histograms(metrics, every, values)
        self._same_tails(metrics, rows, found)

    def read(self, metrics: Sequence[bytes], changed: Index, values: Floats) -> bool:
        """Put the numbers of the changed metrics into `values`, which has those of before.

        False where one is no longer what it was; then some numbers are in their places, some not.
        """
        heads = (self._heads[at] for at in changed)
        if not all(map(bytes.startswith, (metrics[at] for at in changed), heads)):
            return False
        unread = np.zeros(len(metrics), np.bool_)
        unread[changed] = True
        rows, simple = self._values(metrics, changed)
        same = self._same_tails(metrics, rows, simple)
        values[self._starts[rows[same]]] = simple.values[same]
        unread[rows[same]] = False
        rows, found = self._histograms(metrics, changed, values)
        same = self._same_tails(metrics, rows, found)
        self._put(rows[same], found, same, values)
        unread[rows[same]] = False
        left = np.flatnonzero(unread).tolist()
        return all(self._read_one(at, metrics[at], values) for at in left)

    def _values(self, metrics: Sequence[bytes], among: Index) -> tuple[Index, wire.Values]:
        rows = among[self._tags[among] > 0]
        here = [metrics[at] for at in rows]
        return rows, wire.read_values(here, self._labels[rows], self._tags[rows])

    def _histograms(
        self, metrics: Sequence[bytes], among: Index, values: Floats
    ) -> tuple[Index, wire.Histograms]:
        rows = among[self._is_histogram[among]]
        here, widths = [metrics[at] for at in rows], self._widths[rows]
        places = np.arange(int(widths.max(initial=0)))
        bounds = self._bounds[self._bounds_of[rows], : len(places)]
        at = np.minimum(self._starts[rows][:, None] + places, len(values) - 1)
        before = values[at]
        return rows, wire.read_histograms(here, self._labels[rows], bounds, widths, before)

    def _same_tails(
        self, metrics: Sequence[bytes], rows: Index, found: wire.Values | wire.Histograms
    ) -> Mask:
        """Tell which metrics were read and end as before; others are known by their new end now."""
        same = found.fits.copy()
        ends = found.tails.tolist()
        for i in np.flatnonzero(same).tolist():
            at = int(rows[i])
            tail = metrics[at][ends[i] :]
            if tail != self._tails[at]:
                same[i], self._tails[at] = False, tail
        return same

    def _put(self, rows: Index, found: wire.Histograms, fits: Mask, values: Floats) -> None:
        starts, widths = self._starts[rows], self._widths[rows]
        places = np.arange(found.cumulative.shape[1])
        there = places < widths[:, None]
        values[(starts[:, None] + places)[there]] = found.cumulative[fits][there]
        ends = starts + widths
        values[ends] = values[ends + 2] = found.counts[fits]  # +Inf is the count
        values[ends + 1] = found.sums[fits]

    def _read_one(self, at: int, metric: bytes, values: Floats) -> bool:
        kind, bounds = self._shapes[at]
        try:
            said = told(kind, metric[self._labels[at] :])
        except BadLine:
            return False
        if said.key != ((), bounds):
            return False
        start = self._starts[at]
        values[start : start + len(said.numbers)] = said.numbers
        return True
