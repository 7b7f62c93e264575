"""Turn records into rows. In: one message of a topic that sinks read. Out: Arrow rows by table, or
DecodeError.

The rule this file owns: every row of a record reaches exactly one table, and what a table could
not take (a time outside of it, a number too large) is refused here, as the sender's error, so that
an insert never fails for the sake of one record. Where a monitored process told nonsense of itself,
the sender is not to blame: it is stored as unknown.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import decode_indicators, decode_scrape
from schemas.codec import decode
from schemas.errors import DecodeError
from schemas.partition import PLANEWATCH_CLUSTER
from schemas.records import Alert, Change, LogBatch, Record, ScrapeEnvelope
from schemas.series import CORE_LABELS, canonical_json, parse_labels, series_id
from schemas.topics import Header, TopicName
from sinks.core.current import current_rows
from sinks.core.messages import Decoded, Fate, Message
from sinks.core.tables import SCHEMAS, Table

TIME_MS_MAX: Final = 4_294_967_295_000
"""ClickHouse's DateTime, the type of toStartOfHour in the keys, ends in 2106."""

Columns = Mapping[str, Any]  # arrays, sequences, or one value for all rows


def decode_message(message: Message) -> Decoded:
    """Return the rows of `message`.

    Raises:
        DecodeError: it cannot be read, or no table can take it.
    """
    if message.value is None:
        return Decoded(_cluster_of(message.key), Fate.TOMBSTONE, {})
    try:
        cluster, rows = _DECODERS[message.topic](message)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise DecodeError(f"no row of {message.topic}: {error}") from error
    return Decoded(cluster, Fate.STORED, {table: one for table, one in rows.items() if len(one)})


Rows = tuple[str, dict[Table, pa.RecordBatch]]


def _scrape(message: Message) -> Rows:
    frame = decode_scrape(message.value)
    envelope = frame.envelope
    rows = current_rows(frame.rows, envelope.kubernetes_version)
    shared = {
        "cluster": envelope.cluster,
        "job": envelope.job,
        "instance": envelope.instance,
        "path": envelope.path,
        "ts": envelope.start_ms,
    }
    plain = pc.is_null(rows["count"])
    tables = {
        Table.SAMPLES: _taken(Table.SAMPLES, rows.filter(plain), shared),
        Table.HISTOGRAMS: _taken(Table.HISTOGRAMS, rows.filter(pc.invert(plain)), shared),
    }
    if envelope.chunk == 0:  # one row per attempt, however many chunks it has
        tables[Table.SCRAPES] = _attempt(envelope)
    return envelope.cluster, tables


def _attempt(envelope: ScrapeEnvelope) -> pa.RecordBatch:
    started_ms = envelope.process_start_ms  # the scraped process said so: a gauge like any other
    return _built(
        Table.SCRAPES,
        1,
        {
            **{name: getattr(envelope, name) for name in ("cluster", "job", "instance", "path")},
            "target_labels": canonical_json(envelope.target_labels),
            "scrape_id": envelope.scrape_id,
            "tick": envelope.tick_ms,
            "ts": envelope.start_ms,
            "duration_ms": envelope.end_ms - envelope.start_ms,
            "interval_ms": envelope.interval_ms,
            "sequence": envelope.sequence,
            "outcome": str(envelope.outcome),
            "reason": envelope.reason,
            "http_status": envelope.http_status,
            "bytes": envelope.bytes,
            "series": envelope.series,
            "rows": envelope.rows,
            "chunks": envelope.chunks,
            "process_start": started_ms if _is_storable(started_ms) else 0,
            "kubernetes_version": envelope.kubernetes_version,
            "family_filter": envelope.family_filter,
            "generation": envelope.generation,
        },
    )


def _change(message: Message) -> Rows:
    change = decode(message.value, Change)
    owner = change.owner
    row = {
        **{
            name: str(getattr(change, name))
            for name in (
                *("cluster", "api_version", "kind", "namespace", "name", "uid"),
                *("resource_version", "op"),
            )
        },
        "ts": change.received_ms,
        "owner_kind": owner.kind if owner else "",
        "owner_name": owner.name if owner else "",
        "owner_uid": owner.uid if owner else "",
        "diff": _json(change.diff),
        "rollout": _json(change.rollout) if change.rollout else "",
        "object": _json(change.object),
    }
    return change.cluster, {Table.CHANGES: _built(Table.CHANGES, 1, row)}


def _logs(message: Message) -> Rows:
    batch = decode(message.value, LogBatch)
    columns = {
        "cluster": batch.cluster,
        "job": batch.job,
        "instance": batch.instance,
        "ts": [line.ts_ms for line in batch.lines],
        "fields": [_json(line.fields) for line in batch.lines],
        **{
            name: [getattr(line, name) for line in batch.lines]
            for name in ("level", "template", "message", "raw")
        },
    }
    return batch.cluster, {Table.LOGS: _built(Table.LOGS, len(batch.lines), columns)}


def _indicators(message: Message) -> Rows:
    frame = decode_indicators(message.value)
    envelope, rows = frame.envelope, frame.rows
    shared = {
        "cluster": envelope.cluster,
        "rule_group": envelope.group,
        "series": pa.array(_series_ids(rows), pa.uint64()),
        "ts": envelope.t_ms,
        "interval_ms": envelope.interval_ms,
        "rules_hash": envelope.rules_hash,
        "epoch": envelope.epoch,
    }
    return envelope.cluster, {Table.INDICATORS: _taken(Table.INDICATORS, rows, shared)}


def _alert(message: Message) -> Rows:
    alert = decode(message.value, Alert)
    emitted = message.headers.get(Header.EMITTED_AT_MS)
    row = {
        **{
            name: getattr(alert, name)
            for name in (
                *("cluster", "fingerprint", "epoch", "seq", "event_id", "rule_id"),
                *("rule_version", "reason", "severity", "severity_number", "coverage"),
            )
        },
        "status": str(alert.status),
        "labels": canonical_json(alert.labels),
        "annotations": canonical_json(alert.annotations),
        "summary": alert.annotations.get("summary", ""),
        "value": alert.indicator.value if alert.indicator else None,
        "active_at": alert.active_at_ms,
        "starts_at": alert.starts_at_ms,
        "ends_at": alert.ends_at_ms,
        "updated_at": alert.updated_at_ms,
        "watermark": alert.watermark_ms,
        "emitted_at": int(emitted) if emitted else None,
        "record": (message.value or b"").decode(),
    }
    return alert.cluster, {Table.ALERTS: _built(Table.ALERTS, 1, row)}


def _dead_letter(message: Message) -> Rows:
    """A dead letter is stored whatever it is: it has no sender who could be told."""
    headers = message.headers
    cluster = _cluster_of(message.key)
    row = {
        "cluster": cluster,
        "ts": max(0, message.ts_ms),
        "origin_topic": _text(headers.get(Header.ORIGIN_TOPIC)),
        "origin_partition": _number(headers.get(Header.ORIGIN_PARTITION), bits=31),
        "origin_offset": _number(headers.get(Header.ORIGIN_OFFSET), bits=63),
        "stage": _text(headers.get(Header.STAGE)),
        "error_class": _text(headers.get(Header.ERROR_CLASS)),
        "error": _text(headers.get(Header.ERROR)),
        "key": message.key or b"",
        "value": message.value or b"",
    }
    return cluster, {Table.DEAD_LETTERS: _built(Table.DEAD_LETTERS, 1, row)}


_DECODERS: Final[Mapping[TopicName, Callable[[Message], Rows]]] = MappingProxyType(
    {
        TopicName.SCRAPES: _scrape,
        TopicName.CHANGES: _change,
        TopicName.LOGS: _logs,
        TopicName.INDICATORS: _indicators,
        TopicName.ALERTS: _alert,
        TopicName.DEAD_LETTERS: _dead_letter,
    }
)


def _taken(table: Table, rows: pa.RecordBatch, shared: Columns) -> pa.RecordBatch:
    """Return the columns of `table`: `shared` ones, and the others as `rows` has them."""
    columns = {name: rows[name] for name in rows.schema.names if name not in shared}
    return _built(table, rows.num_rows, {**columns, **shared})


def _built(table: Table, length: int, columns: Columns) -> pa.RecordBatch:
    schema = SCHEMAS[table]
    arrays = [_column(field, columns[field.name], length) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(field: pa.Field, given: Any, length: int) -> pa.Array:
    """Return `given` (an array, a sequence, or one value for all rows) as a column."""
    if isinstance(given, pa.Array):
        return given
    values: Sequence[Any] = given if isinstance(given, list) else [given]
    if pa.types.is_timestamp(field.type):
        for ms in values:
            if ms is not None and not _is_storable(ms):
                raise DecodeError(f"{field.name} is {ms} ms, outside of 1970 to 2106")
    dictionary = pa.types.is_dictionary(field.type)
    array = pa.array(values, field.type.value_type if dictionary else field.type)
    if isinstance(given, list):
        return array
    indices = pa.array(np.zeros(length, np.int32))
    if dictionary:
        return pa.DictionaryArray.from_arrays(indices, array)
    return array.take(indices)


def _is_storable(ms: int) -> bool:
    return 0 <= ms <= TIME_MS_MAX


def _series_ids(rows: pa.RecordBatch) -> list[int]:
    columns = [rows[name].to_pylist() for name in ("metric", "labels", *CORE_LABELS)]
    return [_series_id(*values) for values in zip(*columns, strict=True)]


@lru_cache(maxsize=100_000)
def _series_id(metric: str, labels: str, *core: str) -> int:
    return series_id(metric, dict(zip(CORE_LABELS, core, strict=True)) | parse_labels(labels))


def _json(value: Record | list[Any] | dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _cluster_of(key: bytes | None) -> str:
    return (key or b"").split(b"/", 1)[0].decode("ascii", "replace") or PLANEWATCH_CLUSTER


def _text(header: bytes | None) -> str:
    return (header or b"").decode("utf-8", "replace")


def _number(header: bytes | None, *, bits: int) -> int:
    """Return the number in a header, or -1."""
    try:
        number = int(header or b"")
    except ValueError:
        return -1
    return number if 0 <= number < 1 << bits else -1
