"""Fold samples into rows. In: (slot, value) in the order of the exposition. Out: one row a metric.

The rule this file owns: a histogram is one row with counts per bucket, a summary one row with its
quantiles as gauges beside it, and of a sample given twice the first counts. Buckets may fall
(a server's counters were read while they moved): the difference is kept, negative, and counted.
Counts are whole numbers: of others the fraction is lost, and that is counted, too.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise
from typing import Final

from producers.core.numbers import format_float
from producers.core.rows import Row, Series
from schemas.records import Kind

COUNT_MAX: Final = 2**63 - 1


class Part(Enum):
    """Which part of its row a sample is."""

    VALUE = auto()
    SUM = auto()
    COUNT = auto()
    BUCKET = auto()


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Where the sample of a key goes. `le` is the upper bound of a bucket."""

    series: Series
    part: Part
    le: float = math.inf


@dataclass(frozen=True, slots=True)
class Folded:
    """Rows, and what was odd about the samples."""

    rows: tuple[Row, ...]
    duplicates: int  # samples given again
    impossible: int  # counts that are negative, infinite or not a number
    negative: int  # rows with a bucket below zero
    inexact: int  # rows with a count that lost its fraction, or that nobody told


@dataclass(slots=True)
class _Parts:
    """A histogram or summary while its samples come in."""

    sum: float | None = None
    count: int | None = None
    buckets: dict[float, int] = field(default_factory=dict)
    inexact: bool = False  # a count lost its fraction

    def guesses(self, series: Series) -> bool:
        """Tell whether the row will have a count that nobody told exactly."""
        told = self.count is not None or math.inf in self.buckets
        return self.inexact or (series.kind is Kind.HISTOGRAM and not told)


class Bounds:
    """The text of bucket bounds, printed once per layout: many rows share one."""

    def __init__(self) -> None:
        self._texts: dict[tuple[float, ...], str] = {}

    def text(self, bounds: tuple[float, ...]) -> str:
        """Return `bounds` (ascending, without +Inf) as Go prints them, comma-joined."""
        text = self._texts.get(bounds)
        if text is None:
            text = self._texts[bounds] = ",".join(map(format_float, bounds))
        return text


def fold(samples: Iterable[tuple[Slot, float]], bounds: Bounds) -> Folded:
    """Return the rows of `samples`, each where its first sample stood."""
    found: dict[Series, float | _Parts] = {}
    duplicates = impossible = 0
    for slot, value in samples:
        series = slot.series
        there = found.get(series)
        if slot.part is Part.VALUE:
            if there is None:
                found[series] = value
            else:
                duplicates += 1
            continue
        if not isinstance(there, _Parts):
            there = found[series] = _Parts()
        if slot.part is not Part.SUM and not 0 <= value <= COUNT_MAX:
            impossible += 1
        elif not _add(there, slot, value):
            duplicates += 1
    rows = tuple(
        _row(series, there, bounds) if isinstance(there, _Parts) else Row(series, there)
        for series, there in found.items()
    )
    negative = sum(1 for row in rows if row.buckets and min(row.buckets) < 0)
    inexact = sum(
        1 for series, there in found.items() if isinstance(there, _Parts) and there.guesses(series)
    )
    return Folded(rows, duplicates, impossible, negative, inexact)


def _add(parts: _Parts, slot: Slot, value: float) -> bool:
    """Note one sample; False where it was there already."""
    if slot.part is Part.BUCKET:
        if slot.le in parts.buckets:
            return False
        parts.buckets[slot.le] = whole = int(value)
        parts.inexact |= whole != value
    elif slot.part is Part.COUNT:
        if parts.count is not None:
            return False
        parts.count = whole = int(value)
        parts.inexact |= whole != value
    else:
        if parts.sum is not None:
            return False
        parts.sum = value
    return True


def _row(series: Series, parts: _Parts, bounds: Bounds) -> Row:
    """Close a histogram or summary; a missing sum is NaN, a missing count is the last bucket."""
    value = math.nan if parts.sum is None else parts.sum
    if series.kind is not Kind.HISTOGRAM:
        return Row(series, value, parts.count)
    cumulative = dict(sorted(parts.buckets.items()))
    total = cumulative.pop(math.inf, parts.count)
    if total is None:
        total = next(reversed(cumulative.values()), 0)
    buckets = tuple(b - a for a, b in pairwise([0, *cumulative.values(), total]))
    count = total if parts.count is None else parts.count
    return Row(series, value, count, buckets, bounds.text(tuple(cumulative)))
