"""A batch says when it is due, and what a flush inserts: in which order, under which token."""

from collections.abc import Mapping

import pytest

from schemas.topics import TopicName
from sinks.core.batching import Batch, Limits, Stored, records_insert
from sinks.core.messages import Decoded, Fate, Message, coordinate
from sinks.core.rows import decode_message
from sinks.core.tables import COORDINATES, RECORDS_SCHEMA, SCHEMAS, Table
from tests import traffic
from tests.traffic import Made

LIMITS = Limits(rows_max=100, bytes_max=1_000_000, age_max_ms=2_000)
DAY_MS = 86_400_000
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
P = coordinate(3, 2)


def a_scrape(plain: int = 4, histograms: int = 2) -> Made:
    return traffic.scrape("c1", 1_000, sequence=1, plain=plain, histograms=histograms)


def filled(
    *records: tuple[int, int, Made], limits: Limits = LIMITS, stored: Stored | None = None
) -> Batch:
    batch = Batch(limits)
    for p, offset, made in records:
        found = Message(made.topic, p, offset, 5_000 + offset, b"c1/x", made.value, {})
        batch.add(found, decode_message(found), stored or {}, now_ms=10_000)
    return batch


def by_table(batch: Batch, stored_ms: int = NOON_MS) -> Mapping[str, list[dict[str, object]]]:
    return {one.table: one.rows.to_pylist() for one in batch.inserts(stored_ms=stored_ms)}


def test_a_coordinate_is_source_times_65536_plus_partition() -> None:
    assert 3 * 65_536 + 2 == P
    with pytest.raises(AssertionError):
        coordinate(1, 65_536)


def test_an_empty_batch_is_never_due() -> None:
    assert Batch(LIMITS).due(10**15) is None


@pytest.mark.parametrize(
    ("limits", "now_ms", "due"),
    [
        (Limits(rows_max=8, bytes_max=10**9, age_max_ms=10**9), 10_000, None),
        (Limits(rows_max=7, bytes_max=10**9, age_max_ms=10**9), 10_000, "rows"),
        (Limits(rows_max=10**9, bytes_max=10**9, age_max_ms=2_000), 11_999, None),
        (Limits(rows_max=10**9, bytes_max=10**9, age_max_ms=2_000), 12_000, "age"),
        (Limits(rows_max=10**9, bytes_max=100, age_max_ms=10**9), 10_000, "bytes"),
    ],
)
def test_a_batch_is_due_at_each_limit_and_not_before(
    limits: Limits, now_ms: int, due: str | None
) -> None:
    assert due == filled((P, 0, a_scrape()), limits=limits).due(now_ms)  # 4 + 2 + 1 rows


def test_age_counts_from_the_oldest_record() -> None:
    batch = Batch(LIMITS)
    for now_ms in (10_000, 11_500):
        found = Message(TopicName.ALERTS, P, now_ms, 0, b"c1/x", None, {})
        batch.add(found, decode_message(found), {}, now_ms=now_ms)
    assert (None, "age") == (batch.due(11_999), batch.due(12_000))


def test_a_flush_inserts_wide_tables_in_order_and_records_last() -> None:
    batch = filled(
        (coordinate(2, 0), 0, traffic.alert("c1", 1_000, seq=1)),
        (coordinate(1, 0), 0, a_scrape()),
        (coordinate(4, 0), 0, traffic.change("c1", 1_000)),
    )
    inserts = batch.inserts(stored_ms=NOON_MS)
    assert ["samples", "histograms", "scrapes", "changes", "alerts", "records"] == [
        one.table for one in inserts
    ]
    for one in inserts[:-1]:
        assert [*SCHEMAS[Table(one.table)].names, *COORDINATES.names] == one.rows.schema.names
    assert RECORDS_SCHEMA.names == inserts[-1].rows.schema.names


def test_every_row_carries_the_coordinates_of_its_record_and_the_day_of_the_flush() -> None:
    rows = by_table(filled((P, 7, a_scrape(plain=2)), (P + 1, 9, a_scrape(plain=1))))
    assert [(P, 7), (P, 7), (P + 1, 9)] == [(one["_p"], one["_o"]) for one in rows["samples"]]
    days = {str(one["_day"]) for table in rows.values() for one in table}
    assert {"2024-10-04"} == days


def test_one_flush_has_one_day_even_at_midnight() -> None:
    batch = filled((P, 7, a_scrape()))
    before, after = (by_table(batch, stored_ms=20_000 * DAY_MS + ms) for ms in (-1, 0))
    assert {"2024-10-03"} == {str(one["_day"]) for rows in before.values() for one in rows}
    assert {"2024-10-04"} == {str(one["_day"]) for rows in after.values() for one in rows}


def test_rows_that_a_table_has_are_left_out_and_counted_anyway() -> None:
    """A flush died after samples and histograms of offset 7 were in, and before scrapes."""
    stored = {Table.SAMPLES: {P: 7}, Table.HISTOGRAMS: {P: 7}, Table.SCRAPES: {P: 6}}
    rows = by_table(filled((P, 7, a_scrape()), (P, 8, a_scrape()), stored=stored))
    assert ([8] * 4, [8] * 2, [7, 8]) == tuple(
        [one["_o"] for one in rows[table]] for table in ("samples", "histograms", "scrapes")
    )
    assert [(4, 2, 1)] * 2 == [
        tuple(one[table] for table in ("samples", "histograms", "scrapes"))
        for one in rows["records"]
    ]


def test_a_table_that_has_everything_gets_no_insert() -> None:
    stored = {table: {P: 7} for table in Table}
    assert ["records"] == [
        one.table for one in filled((P, 7, a_scrape()), stored=stored).inserts(stored_ms=NOON_MS)
    ]


def test_what_another_partition_has_does_not_count() -> None:
    rows = by_table(filled((P, 7, a_scrape()), stored={Table.SAMPLES: {P + 1: 100}}))
    assert 4 == len(rows["samples"])


def test_a_token_names_the_records_and_nothing_else() -> None:
    def tokens(*offsets: int, stored_ms: int = NOON_MS) -> list[str]:
        batch = filled(*((P, offset, a_scrape()) for offset in offsets))
        return [one.token for one in batch.inserts(stored_ms=stored_ms)]

    assert tokens(1, 2) == tokens(1, 2, stored_ms=NOON_MS + 1) == tokens(2, 1)
    assert not {*tokens(1, 2)} & {*tokens(1, 2, 3)} | {*tokens(1)} & {*tokens(2)}
    assert len({*tokens(1)}) == len(tokens(1))  # tables differ


def test_dictionaries_of_different_records_become_one() -> None:
    rows = by_table(filled((P, 1, a_scrape(plain=1)), (P, 2, a_scrape(plain=3))))
    assert ['{"n":"0"}', '{"n":"0"}', '{"n":"1"}', '{"n":"2"}'] == [
        one["labels"] for one in rows["samples"]
    ]


def test_records_say_what_became_of_each_one() -> None:
    batch = filled((P, 7, Made(TopicName.ALERTS, "c1", "c1/x", None, {})))
    bad = Message(TopicName.LOGS, P + 1, 3, 5_000, b"c1/x", b"??", {})
    batch.add(bad, Decoded("c1", Fate.UNDECODABLE, {}, "no JSON"), {}, now_ms=10_000)
    records = by_table(batch)["records"]
    assert [("tombstone", "", 0, 7), ("undecodable", "no JSON", 2, 3)] == [
        tuple(one[name] for name in ("outcome", "error", "bytes", "_o")) for one in records
    ]


def test_reading_goes_on_after_the_last_record_of_each_partition() -> None:
    batch = filled((P, 7, a_scrape()), (P, 9, a_scrape()), (P + 1, 3, a_scrape()))
    assert {P: 10, P + 1: 4} == batch.next_offsets()
    assert {TopicName.SCRAPES: 5_009} == batch.newest_ms()


def test_an_empty_insert_of_records_has_their_columns() -> None:
    assert RECORDS_SCHEMA.equals(records_insert([], stored_ms=NOON_MS).rows.schema)
