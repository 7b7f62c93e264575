"""Read the numbers of many metrics at once. In: protobuf messages of metrics that have their labels
and bounds in common with known ones. Out: their numbers, and which messages are written so.

The rule this file owns: a message is read here only if it is written as Go's encoder writes it:
labels, then the value with its fields in the order of their numbers, each once, then a tail that
the caller compares. Every tag, length and bound is checked; all else is left to the decoder of
protobuf.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from producers.core.columns import Floats, Index, Mask
from schemas.records import Kind

VALUE_TAGS: Final = {Kind.GAUGE: 0x12, Kind.COUNTER: 0x1A, Kind.UNTYPED: 0x2A}
"""Types whose metrics have one value, and the first byte of it."""
_HISTOGRAM_TAG: Final = 0x3A
_DOUBLE_TAG: Final = 0x09  # of the one value
_COUNT_TAG: Final = 0x08  # of a histogram, and of a bucket
_SUM_TAG: Final = 0x11
_BUCKET_TAG: Final = 0x1A
_BOUND_TAG: Final = 0x11
_VARINT_BYTES_MAX: Final = 7  # numbers below 2^49: a double holds them
_PADDING: Final = bytes(16)  # a read beyond the last message finds no tag
_EIGHT: Final = np.arange(8)


@dataclass(frozen=True, slots=True)
class Values:
    """What metrics with one value say."""

    values: Floats  # (metrics,)
    tails: Index  # (metrics,) where the rest of each begins
    fits: Mask  # (metrics,) which were read


@dataclass(frozen=True, slots=True)
class Histograms:
    """What histograms say."""

    cumulative: Floats  # (metrics, most buckets), without +Inf; what is beyond a width is undefined
    sums: Floats
    counts: Index
    tails: Index
    fits: Mask


class _Cursor:
    """A place in each of many messages, moved in the first `rows` of them at once."""

    def __init__(self, metrics: Sequence[bytes], begin: Index) -> None:
        lengths = np.fromiter(map(len, metrics), np.int64, len(metrics))
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        self.every = self.starts + begin
        self.fits = np.ones(len(metrics), np.bool_)  # what was read so far was as expected
        self.rows = len(metrics)
        self._bytes = np.frombuffer(b"".join(metrics) + _PADDING, np.uint8)
        self._last = len(self._bytes) - len(_EIGHT)

    @property
    def at(self) -> Index:
        """The places of the rows that move."""
        return self.every[: self.rows]

    def check(self, met: Mask) -> None:
        """Note which rows are as expected."""
        self.fits[: self.rows] &= met

    def tag(self, expected: int | Index) -> None:
        """Step over a byte."""
        self.check(self._bytes[self.at] == expected)
        self._step(1)

    def varint(self) -> Index:
        """Read a number of at most seven bytes."""
        byte = self._bytes[self.at]
        self._step(1)
        number = (byte & 0x7F).astype(np.int64)
        more = (byte >= 0x80).nonzero()[0]
        for place in range(1, _VARINT_BYTES_MAX):
            if not len(more):
                return number
            at = self.every[more]
            byte = self._bytes[at]
            number[more] |= (byte & 0x7F).astype(np.int64) << (7 * place)
            self.every[more] = np.minimum(at + 1, self._last)
            more = more[byte >= 0x80]
        self.fits[more] = False
        return number

    def double(self) -> Floats:
        """Read eight bytes."""
        found: Floats = self._bytes[self.at[:, None] + _EIGHT].view("<f8").ravel()
        self._step(8)
        return found

    def end(self) -> Index:
        """Read the length of a message, and return where it ends."""
        length = self.varint()
        return self.at + length

    def _step(self, count: int) -> None:
        at = self.at
        at += count
        np.minimum(at, self._last, out=at)


def read_values(metrics: Sequence[bytes], labels: Index, tags: Index) -> Values:
    """Return what metrics with one value say. labels: bytes of the labels; tags: of VALUE_TAGS."""
    cursor = _Cursor(metrics, labels)
    cursor.tag(tags)
    end = cursor.end()
    cursor.tag(_DOUBLE_TAG)
    values = cursor.double()
    cursor.check((cursor.at <= end) & (end == cursor.ends))
    return Values(values, cursor.every - cursor.starts, cursor.fits)


def read_histograms(
    metrics: Sequence[bytes], labels: Index, bounds: Floats, widths: Index
) -> Histograms:
    """Return what histograms say. They come widest first.

    labels: bytes of the labels. bounds: (metrics, most buckets), without +Inf; widths: how many of
    them each has.
    """
    cursor = _Cursor(metrics, labels)
    cursor.tag(_HISTOGRAM_TAG)
    end = cursor.end()
    cursor.tag(_COUNT_TAG)
    counts = cursor.varint()
    cursor.tag(_SUM_TAG)
    sums = cursor.double()
    cumulative = np.zeros(bounds.shape)
    for place in range(bounds.shape[1]):
        cursor.rows = int(np.searchsorted(-widths, -place))  # those that are wider than `place`
        cursor.tag(_BUCKET_TAG)
        bucket_end = cursor.end()
        cursor.tag(_COUNT_TAG)
        cumulative[: cursor.rows, place] = cursor.varint()
        cursor.tag(_BOUND_TAG)
        cursor.check(cursor.double() == bounds[: cursor.rows, place])
        cursor.check(cursor.at == bucket_end)  # no exemplar
    cursor.rows = len(metrics)
    cursor.check((cursor.at <= end) & (end == cursor.ends))
    return Histograms(cumulative, sums, counts, cursor.every - cursor.starts, cursor.fits)
