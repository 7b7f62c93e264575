"""Unfold rows into the samples of their body, and ask the Python client of Prometheus for its own.

In: rows, or the text of a body. Out: samples that compare equal where they mean the same. Rule: the
client appends `_total` to the names of counters; that is undone here, names are those of the body.
"""

import math
from collections.abc import Iterator, Sequence

from prometheus_client.parser import text_string_to_metric_families

from producers.core.rows import Row
from schemas.records import Kind
from schemas.series import CORE_LABELS, parse_labels

Sample = tuple[str, tuple[tuple[str, str], ...], float]


def samples_of(rows: Sequence[Row]) -> Iterator[Sample]:
    """The samples that `rows` were folded from."""
    for row in rows:
        core = dict(zip(CORE_LABELS, row.series.core, strict=True))
        labels = {k: v for k, v in core.items() if v} | parse_labels(row.series.labels)
        name = row.series.metric
        if row.series.kind not in {Kind.HISTOGRAM, Kind.SUMMARY}:
            yield _sample(name, labels, row.value)
            continue
        yield _sample(f"{name}_sum", labels, row.value)
        yield _sample(f"{name}_count", labels, row.count or 0)
        cumulative = 0
        bounds = [*filter(None, row.bounds.split(",")), "+Inf"]
        for bound, count in zip(bounds if row.buckets else (), row.buckets or (), strict=True):
            cumulative += count
            yield _sample(f"{name}_bucket", labels | {"le": bound}, cumulative)


def samples_of_the_client(text: str) -> Iterator[Sample]:
    """The samples that the client finds, under the names of the body."""
    for family in text_string_to_metric_families(text):
        renamed = f"# TYPE {family.name} counter\n" in text  # there was no _total in the body
        for sample in family.samples:
            name = sample.name.removesuffix("_total") if renamed else sample.name
            yield _sample(name, {k: v for k, v in sample.labels.items() if v}, sample.value)


def _sample(name: str, labels: dict[str, str], value: float) -> Sample:
    """One sample, comparable: bounds as numbers, NaN equal to itself."""
    named = {k: str(float(v)) if k == "le" else v for k, v in labels.items()}
    return name, tuple(sorted(named.items())), -123.25 if math.isnan(value) else value
