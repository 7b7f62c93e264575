"""Read a protobuf body that repeats the one before. In: both, and what the metrics of the one
before are. Out: the numbers of those that changed, and which of them are left to the decoder.

The rule this file owns: both bodies are walked side by side, byte for byte, in machine code that
numba makes of this file. A metric is read here only if it is written as Go's encoder writes it: the
labels that it had, then the value with its fields in the order of their numbers, each once, then
the rest that it had. Nothing behind the end of a message is read.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from producers.core.columns import Floats, Index

DIFFERENT: Final = -1
"""What `scan` returns where families, types or labels are others."""
NOWHERE: Final = -1
"""A place, or a number of bytes, that could not be found."""

_NUMBER_BYTES_MAX: Final = 8  # of a varint: a larger one is no count that a float tells exactly
WORD_BYTES: Final = 8
_DOUBLE_BYTES: Final = 9  # with its tag
_TAG_MAX: Final = 0x7F  # of one byte
_ENCODED_AS: Final = 0b111  # bits of a tag
_NUMBER: Final = 0
_LENGTH: Final = 2  # so many bytes follow
_METRIC: Final = 0x22  # tags
HISTOGRAM: Final = 0x3A
_VALUE: Final = 0x09  # of a counter, a gauge, an untyped metric
_COUNT: Final = 0x08  # of a histogram, and of a bucket
_SUM: Final = 0x11
_BUCKET: Final = 0x1A
_BOUND: Final = 0x11

_F = TypeVar("_F", bound=Callable[..., Any])


class Text(NamedTuple):
    """The bytes of a body, and what begins at each of them."""

    bytes: NDArray[np.uint8]
    words: NDArray[np.uint64]
    doubles: Floats


class Metrics(NamedTuple):
    """What the metrics of a body are; all but `bounds` have an element for each."""

    labels: Index  # bytes of the labels, which come first
    tags: Index  # of the value; NOWHERE: the decoder reads it
    starts: Index  # where its numbers begin among those of all
    widths: Index  # buckets of a histogram, without +Inf
    bounds_at: Index  # where their bounds begin
    bounds: Floats


class Left(NamedTuple):
    """Room for what is left to the decoder: (metrics,) each."""

    numbers: Index  # which metric
    begins: Index  # where it is in the body
    ends: Index
    rests: Index  # bytes behind its numbers; NOWHERE: they could not be read


class Work(NamedTuple):
    """What `scan` works with."""

    text: Text
    before: Text  # what it repeats
    metrics: Metrics
    rests: Index  # (metrics,) bytes behind the numbers in `before`; NOWHERE: the decoder reads it
    every: bool  # read also metrics that are what they were
    values: Floats  # the numbers of `before`, then those of the body
    left: Left
    passed: Index  # [metrics that were passed, metrics that were left]


def text_of(body: bytes) -> Text:
    """Return a body as it is read here."""
    count = max(0, len(body) - WORD_BYTES + 1)
    words, doubles = (np.ndarray((count,), kind, body, strides=(1,)) for kind in ("<u8", "<f8"))
    return Text(np.frombuffer(body, np.uint8), words, doubles)


def _compiled(function: _F) -> _F:
    """Compile at the first call; the code is kept beside this file, or in the user's cache."""
    try:
        made: Any = njit(cache=True, nogil=True, forceinline=True)(function)
    except RuntimeError:  # neither can be written: each process compiles anew, which takes 2 s
        made = njit(nogil=True, forceinline=True)(function)
    return made  # type: ignore[no-any-return]


@_compiled
def _number(text: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the varint at a place and the place behind it, NOWHERE if it is none."""
    number = 0
    for i in range(min(_NUMBER_BYTES_MAX, end - at)):
        byte = int(text[at + i])
        number |= (byte & 0x7F) << (7 * i)
        if byte <= _TAG_MAX:
            return number, at + i + 1
    return 0, NOWHERE


@_compiled
def _same(text: Text, at: int, before: Text, then: int, count: int) -> bool:
    end = at + count
    while at + WORD_BYTES <= end:
        if text.words[at] != before.words[then]:
            return False
        at, then = at + WORD_BYTES, then + WORD_BYTES
    while at < end:
        if text.bytes[at] != before.bytes[then]:
            return False
        at, then = at + 1, then + 1
    return True


@_compiled
def _bucket(work: Work, nth: int, bound: float, at: int, end: int) -> int:
    """Read a bucket into the nth number; return the place behind it."""
    if at >= end or work.text.bytes[at] != _BUCKET:
        return NOWHERE
    size, at = _number(work.text.bytes, at + 1, end)
    stop = at + size
    if at < 0 or size == 0 or stop > end or work.text.bytes[at] != _COUNT:
        return NOWHERE
    count, at = _number(work.text.bytes, at + 1, stop)
    if at < 0 or at + _DOUBLE_BYTES != stop or work.text.bytes[at] != _BOUND:
        return NOWHERE
    work.values[nth] = count
    return stop if work.text.doubles[at + 1] == bound else NOWHERE


@_compiled
def _histogram(work: Work, number: int, at: int, end: int) -> int:
    """Read a histogram; return the place behind its buckets."""
    metrics, values = work.metrics, work.values
    if at >= end or work.text.bytes[at] != _COUNT:
        return NOWHERE
    total, at = _number(work.text.bytes, at + 1, end)
    if at < 0 or at + _DOUBLE_BYTES > end or work.text.bytes[at] != _SUM:
        return NOWHERE
    start, width = metrics.starts[number], metrics.widths[number]
    values[start + width] = values[start + width + 2] = total  # +Inf is the count
    values[start + width + 1] = work.text.doubles[at + 1]
    at += _DOUBLE_BYTES
    for i in range(width):
        at = _bucket(work, start + i, metrics.bounds[metrics.bounds_at[number] + i], at, end)
        if at == NOWHERE:
            break
    return at


@_compiled
def _value(work: Work, number: int, at: int, end: int) -> int:
    """Read the numbers of a metric from behind its labels; return the place behind them."""
    tag = work.metrics.tags[number]
    if at >= end or work.text.bytes[at] != tag:
        return NOWHERE
    size, at = _number(work.text.bytes, at + 1, end)
    if at < 0 or at + size != end:  # the value is the last field
        return NOWHERE
    if tag == HISTOGRAM:
        return _histogram(work, number, at, end)
    if at + _DOUBLE_BYTES > end or work.text.bytes[at] != _VALUE:
        return NOWHERE
    work.values[work.metrics.starts[number]] = work.text.doubles[at + 1]
    return at + _DOUBLE_BYTES


@_compiled
def _metric(work: Work, at: int, end: int, then: int, end_then: int) -> bool:
    """Read the next metric; False where its labels are others."""
    number, count = work.passed
    if number == len(work.rests):
        return False
    work.passed[0] += 1
    same = end - at == end_then - then and _same(work.text, at, work.before, then, end - at)
    if same and not work.every:
        return True
    labels = work.metrics.labels[number]
    if at + labels > end or not _same(work.text, at, work.before, then, labels):
        return False
    place = _value(work, number, at + labels, end)
    rest = end - place if place != NOWHERE else NOWHERE
    known = rest != NOWHERE and rest == work.rests[number]
    if not known or not _same(work.text, place, work.before, end_then - rest, rest):
        left = work.left
        left.numbers[count], left.rests[count] = number, rest
        left.begins[count], left.ends[count] = at, end
        work.passed[1] += 1
    return True


@_compiled
def _family(work: Work, at: int, end: int, then: int, end_then: int) -> bool:
    """Read a family; False where it is another than before."""
    text, before = work.text, work.before
    while at < end and then < end_then:
        tag = text.bytes[at]
        if tag != before.bytes[then] or tag > _TAG_MAX:
            return False
        size, at = _number(text.bytes, at + 1, end)
        size_then, then = _number(before.bytes, then + 1, end_then)
        if at < 0 or then < 0:
            return False
        if tag & _ENCODED_AS == _NUMBER and size == size_then:
            continue
        stop, stop_then = at + size, then + size_then
        if tag & _ENCODED_AS != _LENGTH or stop > end or stop_then > end_then:
            return False
        if tag == _METRIC:
            same = _metric(work, at, stop, then, stop_then)
        else:
            same = size == size_then and _same(text, at, before, then, size)
        if not same:
            return False
        at, then = stop, stop_then
    return at == end and then == end_then


@_compiled
def scan(work: Work) -> int:
    """Put the numbers of a body into `values`, which has those of the body before.

    Returns:
        How many metrics are left to the decoder, or DIFFERENT: then some numbers are in their
        places, some are not.
    """
    text, before = work.text, work.before
    at, then = 0, 0
    while at < len(text.bytes) and then < len(before.bytes):
        size, at = _number(text.bytes, at, len(text.bytes))
        size_then, then = _number(before.bytes, then, len(before.bytes))
        end, end_then = at + size, then + size_then
        if at < 0 or end > len(text.bytes) or then < 0 or end_then > len(before.bytes):
            return DIFFERENT
        if not _family(work, at, end, then, end_then):
            return DIFFERENT
        at, then = end, end_then
    whole = (
        at == len(text.bytes) and then == len(before.bytes) and work.passed[0] == len(work.rests)
    )
    return int(work.passed[1]) if whole else DIFFERENT
