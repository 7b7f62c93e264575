"""Read the numbers of many metrics at once. In: protobuf messages of metrics that have their labels
and bounds in common with known ones. Out: their numbers, and which messages are written so.

The rule this file owns: a message is read here only if it is written as Go's encoder writes it:
labels, then the value with its fields in the order of their numbers, each once, then a tail that
the caller compares. Every tag, length and bound is checked; all else is left to the decoder of
protobuf. Where the buckets of a histogram stand follows from how many bytes their counts took
before: counts that need more now are left to the decoder, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from producers.core.columns import Floats, Index, Mask
from schemas.records import Kind

Words = NDArray[np.uint64]

VALUE_TAGS: Final = {Kind.GAUGE: 0x12, Kind.COUNTER: 0x1A, Kind.UNTYPED: 0x2A}
"""Types whose metrics have one value, and the first byte of it."""
_HISTOGRAM_TAG: Final = 0x3A
_DOUBLE_TAG: Final = 0x09  # of the one value
_COUNT_TAG: Final = 0x08  # of a histogram, and of a bucket
_SUM_TAG: Final = 0x11
_BUCKET_TAG: Final = 0x1A
_BOUND_TAG: Final = 0x11
_BUCKET_BYTES: Final = 12  # without its count
_HIGHEST_BITS: Final = np.uint64(0x8080808080808080)
_PADDING: Final = bytes(32)  # a read beyond the last message finds no tag


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
    """A place in each of many messages, moved in all of them at once."""

    def __init__(self, metrics: Sequence[bytes], begin: Index) -> None:
        lengths = np.fromiter(map(len, metrics), np.int64, len(metrics))
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        self.at = self.starts + begin
        self.fits = np.ones(len(metrics), np.bool_)  # what was read so far was as expected
        text = b"".join(metrics) + _PADDING
        self._last = len(text) - len(_PADDING)
        count = len(text) - 7
        self._words = np.ndarray((count,), "<u8", text, strides=(1,))  # at each byte, the next 8
        self._doubles = np.ndarray((count,), "<f8", text, strides=(1,))

    def tag(self, expected: int | Index) -> None:
        """Step over a byte."""
        self.fits &= (self._words[self.at] & 0xFF) == expected
        self._step(1)

    def varint(self) -> Index:
        """Read a number of at most eight bytes."""
        number, size, ended = _varint(self._words[self.at])
        self.fits &= ended
        self._step(size)
        return number

    def double(self) -> Floats:
        """Read eight bytes."""
        found: Floats = self._doubles[self.at]
        self._step(8)
        return found

    def end(self) -> Index:
        """Read the length of a message, and return where it ends."""
        length = self.varint()
        return self.at + length

    def buckets(self, bounds: Floats, widths: Index, before: Floats) -> Floats:
        """Read the buckets of histograms, without exemplars; most of a body are buckets."""
        sizes = _sizes(before)
        ends = np.cumsum(_BUCKET_BYTES + sizes, axis=1)
        at = np.minimum(self.at[:, None] + ends - _BUCKET_BYTES - sizes, self._last)
        head = self._words[at]
        counts, found, ended = _varint(self._words[at + 3])
        at = np.minimum(at + 3 + sizes, self._last)
        good = (head & 0xFF00FF) == _BUCKET_TAG | _COUNT_TAG << 16
        good &= (head >> 8 & 0xFF) == (sizes + _BUCKET_BYTES - 2).astype(np.uint64)
        good &= ended & (found == sizes)
        good &= ((self._words[at] & 0xFF) == _BOUND_TAG) & (self._doubles[at + 1] == bounds)
        beyond = np.arange(bounds.shape[1]) >= widths[:, None]
        self.fits &= (good | beyond).all(axis=1)
        if bounds.shape[1]:
            last = np.take_along_axis(ends, np.maximum(widths - 1, 0)[:, None], axis=1)[:, 0]
            self._step(np.where(widths > 0, last, 0))
        return counts.astype(np.float64)

    def _step(self, count: int | Index) -> None:
        self.at = np.minimum(self.at + count, self._last)


def _varint(words: Words) -> tuple[Index, Index, Mask]:
    """Return the numbers that begin in the lowest bytes of words, their sizes, and which end there.

    The byte without its highest bit is the last; what is above is cut off, then the groups of seven
    bits are moved together, two, four and eight at a time.
    """
    last = ~words & _HIGHEST_BITS
    last &= -last
    upto = (last << 1) - 1
    bits = words & upto & ~_HIGHEST_BITS
    bits = bits & 0x007F007F007F007F | (bits & 0x7F007F007F007F00) >> 1
    bits = bits & 0x00003FFF00003FFF | (bits & 0x3FFF00003FFF0000) >> 2
    bits = bits & 0x000000000FFFFFFF | (bits & 0x0FFFFFFF00000000) >> 4
    size = np.bitwise_count(upto).astype(np.int64) >> 3
    return bits.astype(np.int64), size, last != 0


def _sizes(numbers: Floats) -> Index:
    """Return how many bytes whole numbers take as varints."""
    bits = np.frexp(numbers)[1].astype(np.int64)
    return np.maximum((bits + 6) // 7, 1)


def read_values(metrics: Sequence[bytes], labels: Index, tags: Index) -> Values:
    """Return what metrics with one value say. labels: bytes of the labels; tags: of VALUE_TAGS."""
    cursor = _Cursor(metrics, labels)
    cursor.tag(tags)
    end = cursor.end()
    cursor.tag(_DOUBLE_TAG)
    values = cursor.double()
    cursor.fits &= (cursor.at <= end) & (end == cursor.ends)
    return Values(values, cursor.at - cursor.starts, cursor.fits)


def read_histograms(
    metrics: Sequence[bytes], labels: Index, bounds: Floats, widths: Index, before: Floats
) -> Histograms:
    """Return what histograms say.

    labels: bytes of the labels. bounds: (metrics, most buckets), without +Inf; widths: how many of
    them each has; before: the cumulative counts that the buckets had before.
    """
    cursor = _Cursor(metrics, labels)
    cursor.tag(_HISTOGRAM_TAG)
    end = cursor.end()
    cursor.tag(_COUNT_TAG)
    counts = cursor.varint()
    cursor.tag(_SUM_TAG)
    sums = cursor.double()
    cumulative = cursor.buckets(bounds, widths, before)
    cursor.fits &= (cursor.at <= end) & (end == cursor.ends)
    return Histograms(cumulative, sums, counts, cursor.at - cursor.starts, cursor.fits)
