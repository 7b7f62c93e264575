"""A scrape is cut into records that fit, at the boundaries of families."""

import msgspec
import pytest

from producers.core.attempts import Attempt, Ending, envelope
from producers.core.chunks import Chunk
from producers.core.chunks import encode_chunks as encode_columns
from producers.core.columns import columns_of
from producers.core.outcomes import Verdict
from producers.core.rows import Row, make_series
from schemas.arrow import CHUNK_BYTES_MAX, SCRAPE_SCHEMA, decode_scrape, empty_rows
from schemas.identity import Target
from schemas.records import Kind, Outcome, ScrapeEnvelope
from schemas.series import layout_id

BYTES_MAX = 20_000


def encode_chunks(
    described: ScrapeEnvelope, rows: list[Row], bytes_max: int = CHUNK_BYTES_MAX
) -> list[Chunk]:
    return encode_columns(described, columns_of(rows), bytes_max=bytes_max)


def described() -> ScrapeEnvelope:
    attempt = Attempt(Target("c", "apiserver", "i"), {"zone": "a"}, 1000, 15_000, 7, "g")
    return envelope(attempt, Ending(Verdict(Outcome.OK), 1001, 1002))


def family(name: str, rows: int, buckets: int = 0) -> list[Row]:
    kind = Kind.HISTOGRAM if buckets else Kind.GAUGE
    return [
        Row(
            make_series(name, kind, {"number": str(number), "verb": "GET"}),
            float(number),
            buckets or None,
            tuple(range(buckets)) if buckets else None,
            ",".join(map(str, range(buckets - 1))),
        )
        for number in range(rows)
    ]


def names(chunks: list[Chunk]) -> list[list[str]]:
    return [decode_scrape(chunk.value).rows["metric"].to_pylist() for chunk in chunks]


def test_a_small_scrape_is_one_record() -> None:
    (chunk,) = encode_chunks(described(), family("a", 3))
    frame = decode_scrape(chunk.value)
    assert (0, 1, 3) == (frame.envelope.chunk, frame.envelope.chunks, frame.envelope.rows)
    assert layout_id(row.series.id for row in family("a", 3)) == frame.envelope.layout
    assert chunk.envelope == frame.envelope


def test_a_scrape_without_rows_is_one_record_without_rows() -> None:
    (chunk,) = encode_chunks(described(), [])
    frame = decode_scrape(chunk.value)
    assert empty_rows(SCRAPE_SCHEMA).equals(frame.rows)
    assert (0, 1, 0, 0) == (
        frame.envelope.chunk,
        frame.envelope.chunks,
        frame.envelope.rows,
        frame.envelope.layout,
    )


def test_records_are_cut_between_families() -> None:
    rows = [row for number in range(40) for row in family(f"family_{number}", 20, buckets=5)]
    chunks = encode_chunks(described(), rows, bytes_max=BYTES_MAX)
    assert len(chunks) > 2
    assert all(len(chunk.value) <= BYTES_MAX for chunk in chunks)
    found = names(chunks)
    assert [row.series.metric for row in rows] == [name for one in found for name in one]
    ends = [one[-1] for one in found[:-1]]
    starts = [one[0] for one in found[1:]]
    assert all(end != start for end, start in zip(ends, starts, strict=True))


def test_records_are_not_much_smaller_than_they_may_be() -> None:
    rows = [row for number in range(200) for row in family(f"family_{number}", 10, buckets=5)]
    chunks = encode_chunks(described(), rows, bytes_max=100_000)
    (whole,) = encode_chunks(described(), rows)
    assert len(chunks) * 100_000 < 2 * len(whole.value)


def test_a_family_that_fits_no_record_is_cut_between_rows() -> None:
    rows = [*family("small", 2), *family("big", 2000, buckets=3), *family("last", 2)]
    chunks = encode_chunks(described(), rows, bytes_max=BYTES_MAX)
    assert all(len(chunk.value) <= BYTES_MAX for chunk in chunks)
    assert [row.series.metric for row in rows] == [name for one in names(chunks) for name in one]
    assert {len(rows)} == {chunk.envelope.rows for chunk in chunks}


def test_each_record_carries_only_its_own_words() -> None:
    rows = [row for number in range(40) for row in family(f"family_{number}", 20, buckets=5)]
    chunks = encode_chunks(described(), rows, bytes_max=BYTES_MAX)
    for chunk in chunks:
        metric = decode_scrape(chunk.value).rows["metric"]
        assert set(metric.to_pylist()) == set(metric.dictionary.to_pylist())


def test_a_row_that_fits_no_record_is_left_out_and_the_others_stay() -> None:
    rows = [*family("a", 1), *family("huge", 1, buckets=BYTES_MAX), *family("b", 1)]
    chunks = encode_chunks(described(), rows, bytes_max=BYTES_MAX)
    assert ["a", "b"] == [name for one in names(chunks) for name in one]
    assert {2} == {chunk.envelope.rows for chunk in chunks}
    (alone,) = encode_chunks(described(), family("huge", 1, buckets=BYTES_MAX), bytes_max=BYTES_MAX)
    assert (0, 0) == (alone.envelope.rows, decode_scrape(alone.value).rows.num_rows)


@pytest.mark.parametrize("buckets", [0, 4])
def test_columns_hold_what_the_rows_say(buckets: int) -> None:
    batch = columns_of(family("a", 2, buckets)).batch()
    row = batch.slice(1, 1).to_pylist()[0]
    expected = {"metric": "a", "verb": "GET", "group": "", "labels": '{"number":"1"}', "value": 1.0}
    assert expected.items() <= row.items()
    assert (buckets or None, list(range(buckets)) or None) == (row["count"], row["buckets"])
    assert ("0,1,2" if buckets else "") == row["bounds"]


def test_a_layout_is_cut_where_it_was_cut_before() -> None:
    rows = [row for number in range(40) for row in family(f"family_{number}", 20, buckets=5)]
    columns = columns_of(rows)
    first = encode_columns(described(), columns, bytes_max=BYTES_MAX)
    again = encode_columns(described(), columns, bytes_max=BYTES_MAX)
    assert [chunk.value for chunk in first] == [chunk.value for chunk in again]
    parts = columns.layout.cuts[BYTES_MAX]

    long = msgspec.structs.replace(described(), reason="x" * (BYTES_MAX // 2))
    chunks = encode_columns(long, columns, bytes_max=BYTES_MAX)

    assert len(chunks) > len(first)
    assert all(len(chunk.value) <= BYTES_MAX for chunk in chunks)
    assert parts is not columns.layout.cuts[BYTES_MAX]
    assert [row.series.metric for row in rows] == [name for one in names(chunks) for name in one]
