"""Read bodies that repeat a known one with other numbers. In: a body that was read from the
beginning, then others. Out: the numbers of each.

The rule this file owns: a metric gives numbers only while its labels, type and bounds are what they
were. Most are read by `scan`; where it read something else than the decoder, or nothing, or where
other bytes follow the numbers (since when a metric counts, native buckets), the decoder is right.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from producers.core.columns import Floats, Index, Mask
from producers.core.labels import BadLine
from producers.core.metricfamily import label_bytes, told
from producers.core.scan import (
    DIFFERENT,
    HISTOGRAM,
    NOWHERE,
    WORD_BYTES,
    Left,
    Metrics,
    Work,
    scan,
    text_of,
)
from schemas.records import Kind

Shape = tuple[Kind, tuple[float, ...]]
"""Type and bounds of a metric: what its numbers are."""

TAGS: Final = {Kind.GAUGE: 0x12, Kind.COUNTER: 0x1A, Kind.UNTYPED: 0x2A, Kind.HISTOGRAM: HISTOGRAM}
"""The first byte of a value of each type that `scan` reads."""


class Repeated:
    """A body, and where its numbers are."""

    def __init__(
        self,
        body: bytes,
        metrics: Sequence[bytes],
        shapes: Sequence[Shape],
        starts: Sequence[int],
        values: Floats,
    ) -> None:
        """metrics, shapes: of each metric of the body. starts: where the numbers of each begin in
        `values`, in the order of `metricfamily.told`.
        """
        self._body, self._values, self._shapes = body, values, shapes
        self._metrics = _metrics(metrics, shapes, starts)
        self._rests = np.full(len(metrics), NOWHERE)
        self._left = Left(*(np.zeros(len(metrics), np.int64) for _ in Left._fields))
        found = values.copy()
        if (count := self._scan(body, found, every=True)) != DIFFERENT:
            self._trust((found == values) | (np.isnan(found) & np.isnan(values)), count)

    def again(self, body: bytes) -> Floats | None:
        """Return the numbers of a body with the metrics of the one before; None where it has
        others: then this is of no more use.
        """
        values = self._values.copy()
        count = self._scan(body, values, every=False)
        if count == DIFFERENT or not all(self._decode(i, body, values) for i in range(count)):
            return None
        self._body, self._values = body, values
        return values

    def _scan(self, body: bytes, values: Floats, *, every: bool) -> int:
        work = Work(
            text_of(body),
            text_of(self._body),
            self._metrics,
            self._rests,
            every,
            values,
            self._left,
            np.zeros(2, np.int64),
        )
        return scan(work)

    def _trust(self, agrees: Mask, count: int) -> None:
        """Let `scan` read those metrics of which it found each number as the decoder did."""
        if count:
            each = np.logical_and.reduceat(agrees, self._metrics.starts)
            numbers = self._left.numbers[:count]
            self._rests[numbers] = np.where(each[numbers], self._left.rests[:count], NOWHERE)

    def _decode(self, nth: int, body: bytes, values: Floats) -> bool:
        """Put what the decoder reads in place of what `scan` read; False where it is another."""
        number, begin, end, rest = (int(column[nth]) for column in self._left)
        kind, bounds = self._shapes[number]
        try:
            said = told(kind, body[begin + int(self._metrics.labels[number]) : end])
        except BadLine:
            return False
        if said.key != ((), bounds):
            return False
        start = int(self._metrics.starts[number])
        place = slice(start, start + len(said.numbers))
        agrees = values[place].tolist() == list(said.numbers)
        self._rests[number] = rest if agrees else NOWHERE
        values[place] = said.numbers
        return True


def compile_now() -> None:
    """Compile `scan`: it takes seconds where its code is not kept, and no scrape has them."""
    Repeated(bytes(2 * WORD_BYTES), (), (), (), np.zeros(0))  # long enough to be of a body's type


def _metrics(metrics: Sequence[bytes], shapes: Sequence[Shape], starts: Sequence[int]) -> Metrics:
    bounds = [shape[1][:-1] if shape[0] is Kind.HISTOGRAM else () for shape in shapes]
    at: dict[tuple[float, ...], int] = {}
    every: list[float] = []
    for one in bounds:
        if one not in at:
            at[one] = len(every)
            every += one
    return Metrics(
        _index([label_bytes(metric) for metric in metrics]),
        _index([TAGS.get(kind, NOWHERE) for kind, _ in shapes]),
        _index(starts),
        _index([len(one) for one in bounds]),
        _index([at[one] for one in bounds]),
        np.array(every, np.float64),
    )


def _index(numbers: Sequence[int]) -> Index:
    return np.array(numbers, np.int64)
