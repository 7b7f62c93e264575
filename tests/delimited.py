"""Write bodies in the protobuf format. In: the text of a body. Out: the same state as client_golang
would say it.

Rule: a histogram has no bucket +Inf, counters and histograms say since when they count; the message
classes are those of the parser, whose field numbers real captures prove.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from producers.core.exposition import parse
from producers.core.keys import Keys
from producers.core.metricfamily import CLASSES, KINDS
from producers.core.rows import Row
from schemas.records import Kind
from schemas.series import CORE_LABELS, parse_labels

NUMBERS = {kind: number for number, kind in KINDS.items()}
CREATED_S = 1_700_000_000


def delimited(text: bytes) -> bytes:
    """Return the body that says what a body in the text format says."""
    rows = parse(text, Keys(10_000_000), samples_max=10_000_000).rows
    return body_of(families(rows))


def body_of(messages: Iterable[Any]) -> bytes:
    """Return messages, each behind its length."""
    parts = [message.SerializeToString() for message in messages]
    return b"".join(length(len(part)) + part for part in parts)


def length(number: int) -> bytes:
    """Return a varint."""
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + length(high) if high else bytes([low])


def families(rows: Iterable[Row]) -> list[Any]:
    """Return rows as metric families, in their order."""
    found = []
    for name, group in groupby(rows, lambda row: row.series.metric):
        members = [*group]
        summary = any(row.series.kind is Kind.SUMMARY for row in members)
        kind = Kind.SUMMARY if summary else members[0].series.kind
        family = CLASSES["MetricFamily"](name=name.encode(), type=NUMBERS[kind])
        family.metric.extend(one.SerializeToString() for one in _metrics(members, kind))
        found.append(family)
    return found


def _metrics(rows: list[Row], kind: Kind) -> Iterable[Any]:
    quantiles: list[tuple[float, float]] = []
    for row in rows:
        core = dict(zip(CORE_LABELS, row.series.core, strict=True))
        labels = {k: v for k, v in core.items() if v} | parse_labels(row.series.labels)
        if kind is Kind.SUMMARY and row.series.kind is Kind.GAUGE:
            quantiles.append((float(labels["quantile"]), row.value))
            continue
        metric = CLASSES["Metric"]()
        for label in sorted(labels):
            metric.label.add(name=label.encode(), value=labels[label].encode())
        _tell(metric, row, kind, quantiles)
        quantiles = []
        yield metric


def _tell(metric: Any, row: Row, kind: Kind, quantiles: list[tuple[float, float]]) -> None:
    if kind is Kind.HISTOGRAM:
        histogram = metric.histogram
        histogram.sample_count, histogram.sample_sum = row.count or 0, row.value
        cumulative = 0
        for bound, count in zip(
            filter(None, row.bounds.split(",")), row.buckets or (), strict=False
        ):
            cumulative += count
            histogram.bucket.add(cumulative_count=cumulative, upper_bound=float(bound))
        histogram.created_timestamp.seconds = CREATED_S
    elif kind is Kind.SUMMARY:
        metric.summary.sample_count, metric.summary.sample_sum = row.count or 0, row.value
        for quantile, value in quantiles:
            metric.summary.quantile.add(quantile=quantile, value=value)
    else:
        getattr(metric, kind.value).value = row.value
        if kind is Kind.COUNTER:
            metric.counter.created_timestamp.seconds = CREATED_S
