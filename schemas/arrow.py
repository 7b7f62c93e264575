"""Turn scrapes and indicators into Arrow IPC streams and back. In: an envelope and columns. Out:
bytes, or the reverse.

The rule this file owns: one row per metric, not per sample; label columns are dictionaries, ""
means absent, never null; the labels without a column are a JSON object of strings. The envelope is
one msgspec struct in the schema metadata under `planewatch`. Streams are uncompressed: the
producer's zstd sees the whole message, and librdkafka checks sizes before it compresses.
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec
import pyarrow as pa

from schemas.codec import decode
from schemas.errors import DecodeError
from schemas.layouts import Layouts
from schemas.records import IndicatorEnvelope, Record, ScrapeEnvelope
from schemas.series import CORE_LABELS

METADATA_KEY: Final = b"planewatch"
CHUNK_BYTES_MAX: Final = 900_000
"""Raw size of one record: under librdkafka's and the broker's default limits of about 1 MB."""

CODES: Final = pa.dictionary(pa.int32(), pa.utf8())

SCRAPE_SCHEMA: Final = pa.schema(
    [
        pa.field("metric", CODES, nullable=False),
        pa.field("kind", CODES, nullable=False),
        *(pa.field(label, CODES, nullable=False) for label in CORE_LABELS),
        pa.field("labels", CODES, nullable=False),  # all others, canonical JSON
        pa.field("series", pa.uint64(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),  # counter, gauge, or the sum
        pa.field("count", pa.uint64()),  # null unless histogram or summary
        pa.field("buckets", pa.list_(pa.int64())),  # len(bounds)+1, per bucket, not cumulative
        pa.field("bounds", CODES, nullable=False),  # comma-joined as Go prints; "" unless histogram
    ]
)

INDICATOR_SCHEMA: Final = pa.schema(
    [
        pa.field("metric", CODES, nullable=False),  # the recorded name
        *(pa.field(label, CODES, nullable=False) for label in CORE_LABELS),
        pa.field("labels", CODES, nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("coverage", pa.float32(), nullable=False),
    ]
)

_LABELS: Final = msgspec.json.Decoder(dict[str, str])

E = TypeVar("E", bound=Record)


@dataclass(frozen=True, slots=True)
class Frame(Generic[E]):
    """One decoded record: its envelope and its rows."""

    envelope: E
    rows: pa.RecordBatch


def encode_scrape(envelope: ScrapeEnvelope, rows: pa.RecordBatch) -> bytes:
    """Return one chunk of a scrape; `rows` has SCRAPE_SCHEMA."""
    return _encode(envelope, rows, SCRAPE_SCHEMA)


def decode_scrape(value: bytes | None, layouts: Layouts | None = None) -> Frame[ScrapeEnvelope]:
    """Return one chunk of a scrape, or raise DecodeError.

    layouts: where to look for the labels of rows that came before, and to remember them.
    """
    return _decode(value, ScrapeEnvelope, SCRAPE_SCHEMA, layouts)


def encode_indicators(envelope: IndicatorEnvelope, rows: pa.RecordBatch) -> bytes:
    """Return the results of one rule group; `rows` has INDICATOR_SCHEMA."""
    return _encode(envelope, rows, INDICATOR_SCHEMA)


def decode_indicators(value: bytes | None) -> Frame[IndicatorEnvelope]:
    """Return the results of one rule group, or raise DecodeError."""
    return _decode(value, IndicatorEnvelope, INDICATOR_SCHEMA)


def empty_rows(schema: pa.Schema) -> pa.RecordBatch:
    """Return zero rows of `schema`: the body of a failed scrape."""
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)


def _encode(envelope: Record, rows: pa.RecordBatch, schema: pa.Schema) -> bytes:
    if not rows.schema.equals(schema):
        raise AssertionError(f"rows have another schema than the record: {rows.schema}")
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        out, schema.with_metadata({METADATA_KEY: msgspec.json.encode(envelope)})
    ) as stream:
        stream.write_batch(rows)
    return bytes(out.getvalue())


def _decode(
    value: bytes | None, kind: type[E], schema: pa.Schema, layouts: Layouts | None = None
) -> Frame[E]:
    if value is None:
        raise DecodeError(f"expected {kind.__name__}, found a tombstone")
    try:
        with pa.ipc.open_stream(value) as stream:
            found = stream.schema
            metadata = found.metadata or {}
            if METADATA_KEY not in metadata:
                raise DecodeError("the Arrow stream has no planewatch envelope")
            batches = [*stream]
        if layouts is None or len(batches) != 1 or not found.equals(schema):
            rows = _columns(pa.Table.from_batches(batches, found), schema)
            return Frame(decode(metadata[METADATA_KEY], kind), rows)
        envelope = decode(metadata[METADATA_KEY], kind)
        return Frame(envelope, _filled(envelope, batches[0], layouts))
    except (pa.ArrowException, OSError, ValueError, SystemError) as error:
        # SystemError: pyarrow fails so on some buffers of a broken stream.
        raise DecodeError(f"not an Arrow stream: {error}") from error


def _filled(envelope: Record, batch: pa.RecordBatch, layouts: Layouts) -> pa.RecordBatch:
    """Return the rows of a scrape; where its layout is known, only the values are read."""
    assert isinstance(envelope, ScrapeEnvelope), "only scrapes have layouts"
    if not envelope.layout:
        return _columns(pa.Table.from_batches([batch]), SCRAPE_SCHEMA)
    rows = layouts.filled(envelope.layout, batch)
    if rows is None:
        rows = _columns(pa.Table.from_batches([batch]), SCRAPE_SCHEMA)
        layouts.add(envelope.layout, rows)
    return rows


def _columns(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    """Pick the columns of `schema`; columns that a newer release added are left out."""
    found = {name: table.schema.field(name).type for name in table.schema.names}
    for field in schema:
        if found.get(field.name) != field.type:
            raise DecodeError(
                f"column {field.name} is {found.get(field.name, 'missing')}, not {field.type}"
            )
    picked = table.select(schema.names).combine_chunks()
    arrays = [
        column.chunk(0) if column.num_chunks else pa.array([], column.type)
        for column in picked.columns
    ]
    for field, array in zip(schema, arrays, strict=True):
        if not field.nullable and array.null_count:
            raise DecodeError(f"column {field.name} has {array.null_count} nulls")
    rows = pa.RecordBatch.from_arrays(arrays, schema=schema)
    rows.validate(full=True)
    _check_labels(rows["labels"].dictionary)
    return rows


def _check_labels(texts: pa.StringArray) -> None:
    """Refuse what `parse_labels` could not read; it is called far from where dead letters are made.

    Each text is read once: an API server's 3,000 rows have 90 of them, read in 20 us.
    """
    for text in texts.to_pylist():
        if text:
            try:
                _LABELS.decode(text)
            except (msgspec.DecodeError, UnicodeError) as error:
                raise DecodeError(f"column labels has {text[:100]!r}: {error}") from error
        elif text is None:
            raise DecodeError("column labels has null")
