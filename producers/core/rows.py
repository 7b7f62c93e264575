"""The rows of a scrape, one by one. In: a metric, its labels, what it says. Out: a row.

The rule this file owns: what a row is (its series) is computed once and shared by all scrapes; what
it says (value, count, buckets) is new in each.
"""

from dataclasses import dataclass

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
