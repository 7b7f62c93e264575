"""Collect what one input leads to. In: results of rules, alert records, states. Out: records to
send and values to save, in that order.

The rules this file owns: results of one group at one time are one logical record; what is too long
for one Kafka record is cut at rows. A value of the table is one Kafka record, so it is bounded:
what is too long is not written, and counted; what was there before stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import CHUNK_BYTES_MAX, INDICATOR_SCHEMA, encode_indicators
from schemas.metrics import Metric
from schemas.records import Alert, IndicatorEnvelope
from schemas.series import CORE_LABELS, other_labels
from streams.core.failing import RuleNews
from streams.core.samples import FactSample

CHUNKS_MAX: Final = 10_000

VALUE_BYTES_MAX: Final = CHUNK_BYTES_MAX
"""Of one value in the table. Were it sent and refused, the worker would end, and end again."""


@dataclass(frozen=True, slots=True)
class Count:
    """One of our own counters to increment."""

    metric: Metric
    labels: dict[str, str]
    amount: float = 1


@dataclass(slots=True)
class Outputs:
    """Everything that one input led to."""

    indicators: list[tuple[IndicatorEnvelope, pa.RecordBatch]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    tombstones: list[str] = field(default_factory=list)  # fingerprints
    writes: dict[str, bytes | None] = field(default_factory=dict)
    """Kind: state, in the order to write; None deletes it."""
    counts: list[Count] = field(default_factory=list)
    rules: list[RuleNews] = field(default_factory=list)
    """Rules that begin to fail, or work again."""

    def then(self, later: "Outputs") -> "Outputs":
        """Return these outputs followed by later ones."""
        return Outputs(
            self.indicators + later.indicators,
            self.alerts + later.alerts,
            self.tombstones + later.tombstones,
            {k: v for k, v in self.writes.items() if k not in later.writes} | later.writes,
            self.counts + later.counts,
            self.rules + later.rules,
        )

    def write(self, kind: str, state: msgspec.Struct) -> bool:
        """Save a state; return whether it is short enough for that."""
        value = msgspec.msgpack.encode(state)
        fits = len(value) <= VALUE_BYTES_MAX
        if fits:
            self.writes[kind] = value
        else:
            self.count(Metric.LIMIT_HITS, limit="state_bytes")
        return fits

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Note that a counter is to be incremented."""
        if amount:
            self.counts.append(Count(metric, labels, amount))


def chunks(envelope: IndicatorEnvelope, rows: pa.RecordBatch) -> list[bytes]:
    """Return the Kafka values of one result, each of at most CHUNK_BYTES_MAX."""
    whole = encode_indicators(envelope, rows)
    if len(whole) <= CHUNK_BYTES_MAX:
        return [whole]
    parts = list(_halved(envelope, rows))
    return [
        encode_indicators(msgspec.structs.replace(envelope, chunk=i, chunks=len(parts)), part)
        for i, part in enumerate(parts)
    ]


def fact_rows(samples: Sequence[FactSample], job: str) -> pa.RecordBatch:
    """Return facts as the rows of a rule group; `job` is on those that have none."""
    labels = [{"job": job, **sample.labels} for sample in samples]
    texts = {
        "metric": [sample.metric for sample in samples],
        **{name: [own.get(name, "") for own in labels] for name in CORE_LABELS},
        "labels": [other_labels(_without_cluster(own)) for own in labels],
    }
    columns = {
        name: pa.array(column, pa.utf8()).dictionary_encode() for name, column in texts.items()
    }
    columns["value"] = pa.array([sample.value for sample in samples], pa.float64())
    columns["coverage"] = pa.array([1.0] * len(samples), pa.float32())
    return pa.RecordBatch.from_arrays(
        [columns[column.name] for column in INDICATOR_SCHEMA], schema=INDICATOR_SCHEMA
    )


def _without_cluster(labels: dict[str, str]) -> dict[str, str]:
    """The cluster is in the envelope."""
    return {name: text for name, text in labels.items() if name != "cluster"}


def _halved(envelope: IndicatorEnvelope, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield parts of `rows` that fit into a record, whatever their number will be."""
    longest = msgspec.structs.replace(envelope, chunk=CHUNKS_MAX, chunks=CHUNKS_MAX)
    if len(rows) <= 1 or len(encode_indicators(longest, rows)) <= CHUNK_BYTES_MAX:
        yield rows
        return
    middle = len(rows) // 2
    yield from _halved(envelope, _compact(rows.slice(0, middle)))
    yield from _halved(envelope, _compact(rows.slice(middle)))


def _compact(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Leave the texts of other rows behind."""
    columns = [
        pc.cast(column, pa.utf8()).dictionary_encode()
        if pa.types.is_dictionary(column.type)
        else column
        for column in rows.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)
