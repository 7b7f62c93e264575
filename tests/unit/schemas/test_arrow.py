"""Arrow records: exact round trips, and garbage is an error that says what is wrong."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.arrow import (
    CODES,
    INDICATOR_SCHEMA,
    METADATA_KEY,
    SCRAPE_SCHEMA,
    decode_indicators,
    decode_scrape,
    empty_rows,
    encode_indicators,
    encode_scrape,
)
from schemas.errors import DecodeError
from schemas.records import IndicatorEnvelope, Outcome, ScrapeEnvelope

ENVELOPE = ScrapeEnvelope(
    cluster="prod",
    job="etcd",
    instance="cp-1",
    path="/metrics",
    scrape_id="1",
    tick_ms=1,
    start_ms=2,
    end_ms=3,
    interval_ms=15_000,
    sequence=7,
    outcome=Outcome.OK,
    layout=2**64 - 1,
)
INDICATORS = IndicatorEnvelope(
    cluster="prod", group="etcd", t_ms=1, interval_ms=1, rules_hash="a", epoch=1
)


def scrape_rows(metric: str, value: float, buckets: list[int] | None) -> pa.RecordBatch:
    """One row of SCRAPE_SCHEMA."""
    row = {field.name: "" for field in SCRAPE_SCHEMA if field.type == CODES} | {
        "metric": metric,
        "kind": "gauge",
        "series": 2**64 - 1,
        "value": value,
        "buckets": buckets,
    }
    return pa.RecordBatch.from_pylist([row], schema=SCRAPE_SCHEMA)


@given(st.text(), st.floats(allow_nan=False), st.none() | st.lists(st.integers(-9, 2**62)))
def test_a_scrape_survives_the_wire(metric: str, value: float, buckets: list[int] | None) -> None:
    rows = scrape_rows(metric, value, buckets)
    frame = decode_scrape(encode_scrape(ENVELOPE, rows))
    assert ENVELOPE == frame.envelope
    assert rows.to_pylist() == frame.rows.to_pylist()


def test_a_failed_scrape_has_zero_rows() -> None:
    frame = decode_scrape(encode_scrape(ENVELOPE, empty_rows(SCRAPE_SCHEMA)))
    assert 0 == frame.rows.num_rows
    assert SCRAPE_SCHEMA == frame.rows.schema


def test_columns_of_a_newer_release_are_left_out() -> None:
    rows = scrape_rows("up", 1.0, None)
    wider = pa.Table.from_batches([rows]).append_column("new", pa.array([1]))
    metadata = pa.ipc.open_stream(encode_scrape(ENVELOPE, rows)).schema.metadata
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, wider.schema.with_metadata(metadata)) as stream:
        stream.write_table(wider)
    assert rows.to_pylist() == decode_scrape(bytes(out.getvalue())).rows.to_pylist()


def test_indicators_are_no_scrape() -> None:
    value = encode_indicators(INDICATORS, empty_rows(INDICATOR_SCHEMA))
    assert INDICATORS == decode_indicators(value).envelope
    with pytest.raises(DecodeError, match="column kind is missing"):
        decode_scrape(value)


def test_an_envelope_is_needed() -> None:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, SCRAPE_SCHEMA.with_metadata({METADATA_KEY + b"x": b"{}"})):
        pass
    with pytest.raises(DecodeError, match="no planewatch envelope"):
        decode_scrape(bytes(out.getvalue()))


BAD_LABELS = [
    "x",
    "null",
    "[]",
    '"a"',
    "{",
    '{"a":1}',
    '{"a":null}',
    '{"a":"b"}{',
    '{"a":"\\ud800"}',
]


@pytest.mark.parametrize("text", BAD_LABELS)
@pytest.mark.parametrize("nth", [0, 1], ids=["first", "later"])
def test_labels_are_a_json_object_of_strings(text: str, nth: int) -> None:
    texts = ['{"a":"b"}', '{"a":"b"}', ""]
    texts.insert(nth, text)
    labels = pa.array(texts).dictionary_encode().cast(CODES)
    with pytest.raises(DecodeError, match=r"column labels has .*: "):
        decode_scrape(encode_scrape(ENVELOPE, labelled(labels, SCRAPE_SCHEMA)))
    with pytest.raises(DecodeError, match=r"column labels has .*: "):
        decode_indicators(encode_indicators(INDICATORS, labelled(labels, INDICATOR_SCHEMA)))


def test_labels_that_are_null_in_the_dictionary_are_refused() -> None:
    labels = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array([None], pa.utf8()))
    value = encode_indicators(INDICATORS, labelled(labels, INDICATOR_SCHEMA))
    with pytest.raises(DecodeError, match="column labels has null"):
        decode_indicators(value)


def labelled(labels: pa.DictionaryArray, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of nothing but labels."""
    row: dict[str, object] = {
        field.name: "" if field.type == CODES else None if field.nullable else 0 for field in schema
    }
    made = pa.RecordBatch.from_pylist([row] * len(labels), schema=schema)
    return made.set_column(schema.names.index("labels"), schema.field("labels"), labels)


@given(st.binary(max_size=200), st.integers(0, 3_000))
def test_garbage_and_flipped_bytes_never_raise_anything_else(noise: bytes, at: int) -> None:
    good = encode_scrape(ENVELOPE, scrape_rows("up", 1.0, [1, 2]))
    for value in (noise, good[:at], good[: at % len(good)] + noise + good[at % len(good) :]):
        try:
            decode_scrape(value)
        except DecodeError as error:
            assert str(error)
