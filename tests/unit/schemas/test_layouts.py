"""Labels that were read once are not read again, and never believed to be those of other rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.arrow import CODES, SCRAPE_SCHEMA, decode_scrape, empty_rows, encode_scrape
from schemas.errors import DecodeError
from schemas.layouts import Layouts
from schemas.records import Outcome, ScrapeEnvelope

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
    layout=5,
)


@dataclass(frozen=True)
class Row:
    """One row of a scrape."""

    metric: str = "requests_total"
    series: int = 1
    value: float = 1.0
    count: int | None = None
    buckets: tuple[int, ...] | None = None
    kind: str = "counter"
    bounds: str = ""
    labels: str = '{"verb":"GET"}'


HISTOGRAM = Row("d", 2, 3.5, 3, (1, 2), "histogram", "0.1")


def record(rows: Sequence[Row], **more: int) -> bytes:
    """Return the record of a scrape."""
    blank = {field.name: "" for field in SCRAPE_SCHEMA if field.type == CODES}
    every = [blank | {name: getattr(row, name) for name in row.__annotations__} for row in rows]
    batch = pa.RecordBatch.from_pylist(every, schema=SCRAPE_SCHEMA)
    return encode_scrape(replace(ENVELOPE, **more), batch)


def known(value: bytes) -> Layouts:
    """Return what is remembered after a record."""
    layouts = Layouts()
    decode_scrape(value, layouts)
    return layouts


@given(
    st.floats(allow_nan=False),
    st.none() | st.integers(0, 2**64 - 1),
    st.none() | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
)
def test_values_are_those_of_the_record(
    value: float, count: int | None, buckets: list[int] | None
) -> None:
    layouts = known(record([Row(), HISTOGRAM]))
    counts = None if buckets is None else tuple(buckets)
    later = record([Row(value=value), Row("d", 2, value, count, counts, "histogram", "0.1")])
    assert decode_scrape(later).rows.equals(decode_scrape(later, layouts).rows)


def test_labels_of_a_known_layout_are_not_read_again() -> None:
    layouts = known(record([Row()]))
    # Labels that no text reader could read: who reads them raises.
    again = decode_scrape(record([Row(value=2.0, labels="{")]), layouts)
    assert [2.0] == again.rows["value"].to_pylist()
    assert ['{"verb":"GET"}'] == again.rows["labels"].to_pylist()


@pytest.mark.parametrize(
    "other",
    [
        [Row(series=9, labels="{}")],
        [Row(kind="gauge", labels="{}")],
        [Row(bounds="0.1", labels="{}")],
        [Row(labels="{}"), HISTOGRAM],
        [],
    ],
    ids=["series", "kind", "bounds", "more rows", "no rows"],
)
def test_other_rows_under_the_same_layout_are_read(other: list[Row]) -> None:
    value = record(other)
    assert decode_scrape(value).rows.equals(decode_scrape(value, known(record([Row()]))).rows)


def test_what_is_remembered_outlives_its_record() -> None:
    value = bytearray(record([Row()]))
    layouts = known(bytes(value))
    value[:] = b"\xff" * len(value)
    assert ["requests_total"] == decode_scrape(record([Row()]), layouts).rows["metric"].to_pylist()


def test_a_layout_of_nothing_is_not_remembered() -> None:
    layouts = Layouts(bytes_max=0)
    decode_scrape(encode_scrape(replace(ENVELOPE, layout=0), empty_rows(SCRAPE_SCHEMA)), layouts)
    assert 0 == layouts.dropped


def test_the_layout_that_was_used_longest_ago_goes_first() -> None:
    one, two, three = (record([Row(series=n, labels="")], layout=n) for n in (1, 2, 3))
    layouts = Layouts(bytes_max=2 * known(one).nbytes)
    for value in (one, two, one, three):
        decode_scrape(value, layouts)
    assert 1 == layouts.dropped
    bad = [record([Row(series=n, labels="{")], layout=n) for n in (1, 3, 2)]
    for value in bad[:2]:
        decode_scrape(value, layouts)
    with pytest.raises(DecodeError, match="labels"):
        decode_scrape(bad[2], layouts)


def test_a_null_value_is_refused_as_ever() -> None:
    layouts = known(record([Row()]))
    batch = decode_scrape(record([Row()])).rows
    nulls = batch.set_column(
        batch.schema.names.index("value"), "value", pa.array([None], pa.float64())
    )
    out = pa.BufferOutputStream()
    metadata = pa.ipc.open_stream(record([Row()])).schema.metadata
    columns = nulls.columns
    with pa.ipc.new_stream(out, SCRAPE_SCHEMA.with_metadata(metadata)) as stream:
        stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCRAPE_SCHEMA))
    with pytest.raises(DecodeError, match="column value has 1 nulls"):
        decode_scrape(bytes(out.getvalue()), layouts)


@example(b"\0\0\0\0\x80", 2_371)
@given(st.binary(max_size=200), st.integers(0, 4_000))
def test_flipped_bytes_never_raise_anything_else(noise: bytes, at: int) -> None:
    good = record([Row(), HISTOGRAM])
    layouts, at = known(good), at % len(good)
    for value in (good[:at] + noise, good[:at] + noise + good[at + len(noise) :]):
        try:
            decode_scrape(value, layouts)
        except DecodeError as error:
            assert str(error)
