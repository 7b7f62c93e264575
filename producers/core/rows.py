"""The rows of a scrape. In: rows of an exposition. Out: columns of SCRAPE_SCHEMA.

The rule this file owns: one row per metric, in the order of the exposition. What a row is (its
series) is computed once and shared by all scrapes; what it says (value, count, buckets) is new in
each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from schemas.arrow import SCRAPE_SCHEMA
from schemas.records import Kind
from schemas.series import CORE_LABELS, other_labels, series_id


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What a row is. Made once, then compared by identity: the same object is the same series."""

    metric: str  # the family: of a histogram, the name without _bucket, _sum, _count
    kind: Kind
    core: tuple[str, ...]  # the values of CORE_LABELS, "" where absent
    labels: str  # all others, canonical JSON
    id: int


@dataclass(frozen=True, slots=True)
class Row:
    """One metric at one scrape."""

    series: Series
    value: float  # counter, gauge, or the sum
    count: int | None = None  # of a histogram or summary
    buckets: tuple[int, ...] | None = None  # per bucket, one more than bounds
    bounds: str = ""  # of a histogram, comma-joined as Go prints them, without +Inf


def make_series(metric: str, kind: Kind, labels: dict[str, str]) -> Series:
    """Return the series of `metric` with `labels`; a histogram's come without `le`."""
    return Series(
        metric,
        kind,
        tuple(labels.get(label, "") for label in CORE_LABELS),
        other_labels(labels),
        series_id(metric, labels),
    )


def to_batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return `rows` as columns; the dictionaries hold the values of these rows only."""
    series = [row.series for row in rows]
    core = zip(*(one.core for one in series), strict=True) if rows else [()] * len(CORE_LABELS)
    columns = [
        _codes([one.metric for one in series]),
        _codes([one.kind.value for one in series]),
        *map(_codes, core),
        _codes([one.labels for one in series]),
        pa.array([one.id for one in series], pa.uint64()),
        pa.array([row.value for row in rows], pa.float64()),
        pa.array([row.count for row in rows], pa.uint64()),
        pa.array([row.buckets for row in rows], pa.list_(pa.int64())),
        _codes([row.bounds for row in rows]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCRAPE_SCHEMA)


def _codes(values: Sequence[str]) -> pa.DictionaryArray:
    return pa.array(values, pa.utf8()).dictionary_encode()
