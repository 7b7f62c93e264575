"""Gather rows until a flush is due. In: decoded records with coordinates. Out: the inserts of one
flush.

The rule this file owns: a batch is flushed by rows, bytes or age, whichever comes first; its
inserts are the wide tables in their order and `records` last, each with a token that names exactly
the records in it. Rows that a table already has are left out; what a record has is counted anyway.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import xxhash

from schemas.topics import TopicName
from sinks.core.messages import Decoded, Fate, Message
from sinks.core.tables import COORDINATES, RECORDS, RECORDS_SCHEMA, SCHEMAS, Table

DAY_MS: Final = 86_400_000

Stored = Mapping[Table, Mapping[int, int]]
"""The greatest `_o` that a table has, by `_p`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a flush is due."""

    rows_max: int
    bytes_max: int
    age_max_ms: int


@dataclass(frozen=True, slots=True)
class Insert:
    """One insert: one part of one table."""

    table: str
    rows: pa.Table
    token: str


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One row of `records`."""

    topic: str
    cluster: str
    outcome: Fate
    error: str
    missing: int
    bytes: int
    counts: Mapping[Table, int]
    ts_ms: int
    p: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """The rows of one record in one table."""

    p: int
    offset: int
    rows: pa.RecordBatch


class Batch:
    """What was read and not stored yet."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pieces: defaultdict[Table, list[_Piece]] = defaultdict(list)
        self._records: list[RecordRow] = []
        self._first_at_ms = 0
        self.rows = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, message: Message, decoded: Decoded, stored: Stored, *, now_ms: int) -> None:
        """Take one record in. `now_ms`: wall time."""
        if not self._records:
            self._first_at_ms = now_ms
        value_bytes = len(message.value or b"")
        for table, rows in decoded.rows.items():
            if message.offset > stored.get(table, {}).get(message.p, -1):
                self._pieces[table].append(_Piece(message.p, message.offset, rows))
                self.rows += rows.num_rows
        self.bytes += value_bytes
        self._records.append(
            RecordRow(
                message.topic,
                decoded.cluster,
                decoded.fate,
                decoded.error,
                0,
                value_bytes,
                {table: rows.num_rows for table, rows in decoded.rows.items()},
                max(0, message.ts_ms),
                message.p,
                message.offset,
            )
        )

    def due(self, now_ms: int) -> str | None:
        """Return why a flush is due now, or None."""
        if not self._records:
            return None
        if self.rows >= self._limits.rows_max:
            return "rows"
        if self.bytes >= self._limits.bytes_max:
            return "bytes"
        return "age" if now_ms - self._first_at_ms >= self._limits.age_max_ms else None

    def next_offsets(self) -> dict[int, int]:
        """Return where reading goes on once this batch is stored, by `_p`."""
        return {record.p: record.offset + 1 for record in self._records}

    def newest_ms(self) -> dict[TopicName, int]:
        """Return Kafka's time of the newest record of each topic."""
        newest: dict[TopicName, int] = {}
        for record in self._records:
            topic = TopicName(record.topic)
            newest[topic] = max(newest.get(topic, 0), record.ts_ms)
        return newest

    def inserts(self, *, stored_ms: int) -> list[Insert]:
        """Return the inserts of a flush at `stored_ms` of wall time, in the order to make them."""
        day = stored_ms // DAY_MS
        wide = [_wide(table, self._pieces[table], day) for table in Table if self._pieces[table]]
        return [*wide, records_insert(self._records, stored_ms=stored_ms)]


def records_insert(records: list[RecordRow], *, stored_ms: int) -> Insert:
    """Return the insert of rows of `records`."""
    columns: dict[str, list[Any]] = {
        "topic": [one.topic for one in records],
        "cluster": [one.cluster for one in records],
        "outcome": [str(one.outcome) for one in records],
        "error": [one.error for one in records],
        "missing": [one.missing for one in records],
        "bytes": [one.bytes for one in records],
        **{table: [one.counts.get(table, 0) for one in records] for table in Table},
        "ts": [one.ts_ms for one in records],
        "stored": [stored_ms] * len(records),
        "_p": [one.p for one in records],
        "_o": [one.offset for one in records],
        "_day": [stored_ms // DAY_MS] * len(records),
    }
    rows = pa.Table.from_pydict(
        {field.name: _array(columns[field.name], field.type) for field in RECORDS_SCHEMA}
    )
    token = _token(RECORDS, [(one.p, one.offset, 1) for one in records])
    return Insert(RECORDS, rows, token)


def _wide(table: Table, pieces: list[_Piece], day: int) -> Insert:
    rows = pa.Table.from_batches([piece.rows for piece in pieces], SCHEMAS[table])
    counts = [piece.rows.num_rows for piece in pieces]
    coordinates = {
        "_p": np.repeat(np.array([piece.p for piece in pieces], np.uint32), counts),
        "_o": np.repeat(np.array([piece.offset for piece in pieces], np.uint64), counts),
        "_day": np.full(rows.num_rows, day, np.int32),
    }
    for field in COORDINATES:
        rows = rows.append_column(field, _array(coordinates[field.name], field.type))
    token = _token(table, [(one.p, one.offset, one.rows.num_rows) for one in pieces])
    return Insert(table, rows.combine_chunks(), token)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if pa.types.is_date32(kind):
        return pa.array(values, pa.int32()).cast(kind)
    return pa.array(values, kind)


def _token(table: str, content: list[tuple[int, int, int]]) -> str:
    """Name a batch by the records in it: the same token means the same rows."""
    text = ";".join(f"{p}:{offset}:{rows}" for p, offset, rows in sorted(content))
    return f"{table}-{xxhash.xxh3_128_hexdigest(text.encode())}"
