"""What is sent fits into records, and a reader keeps the newest."""

import msgspec
import pyarrow as pa
import pytest

from schemas.arrow import CHUNK_BYTES_MAX, INDICATOR_SCHEMA, decode_indicators, empty_rows
from schemas.errors import DecodeError
from schemas.records import IndicatorEnvelope
from schemas.topics import TopicName
from schemas.undecodable import WINDOW, Undecodable
from streams.core.alertview import AlertView
from streams.core.outputs import chunks, fact_rows
from streams.core.samples import FactSample
from tests.shards import live
from tests.stories import story

ENVELOPE = IndicatorEnvelope(
    cluster="c1", group="g", t_ms=1, interval_ms=15_000, rules_hash="h", epoch=1
)


def rows(count: int) -> pa.RecordBatch:
    return fact_rows(
        [FactSample("m", {"code": str(n % 7), "long": f"{n:0200}"}, n) for n in range(count)], "j"
    )


@pytest.mark.parametrize("count", [0, 1, 100, 20_000])
def test_results_of_any_length_come_back_whole_from_records_that_kafka_takes(count: int) -> None:
    whole = rows(count) if count else empty_rows(INDICATOR_SCHEMA)

    values = chunks(ENVELOPE, whole)
    frames = [decode_indicators(value) for value in values]

    assert max(map(len, values)) <= CHUNK_BYTES_MAX
    assert (len(values) > 1) == (count > 10_000)
    assert list(range(len(values))) == [frame.envelope.chunk for frame in frames]
    assert {len(values)} == {frame.envelope.chunks for frame in frames}
    assert whole.to_pylist() == [row for frame in frames for row in frame.rows.to_pylist()]


def test_facts_carry_the_job_that_rules_see_and_no_cluster() -> None:
    samples = [
        FactSample("planewatch_lease_age_seconds", {"lease": "a"}, 1.5),
        FactSample("ALERTS", {"alertname": "A", "cluster": "c1", "job": "etcd", "code": "5"}, 1.0),
    ]

    fact, alert = fact_rows(samples, "planewatch").to_pylist()

    assert '{"job":"planewatch","lease":"a"}' == fact["labels"]
    assert ("5", '{"alertname":"A","job":"etcd"}') == (alert["code"], alert["labels"])
    assert (1.5, 1.0) == (fact["value"], fact["coverage"])


def test_the_greatest_number_of_an_alert_counts() -> None:
    records = [alert for out in live(story()).sent for alert in out.alerts]
    view = AlertView()

    news = [view.take(one.fingerprint.encode(), msgspec.json.encode(one)) for one in records]
    again = [view.take(one.fingerprint.encode(), msgspec.json.encode(one)) for one in records]

    assert records == news
    assert {None} == set(again)
    assert len({one.fingerprint for one in records}) == len(view.all())


def test_a_new_epoch_begins_at_one() -> None:
    record = next(alert for out in live(story()).sent for alert in out.alerts)
    older = msgspec.structs.replace(record, seq=9)
    newer = msgspec.structs.replace(record, epoch=record.epoch + 1, seq=1)
    view = AlertView()

    assert older == view.take(b"k", msgspec.json.encode(older))
    assert newer == view.take(b"k", msgspec.json.encode(newer))
    assert view.take(b"k", msgspec.json.encode(older)) is None


def test_a_tombstone_forgets_an_alert_and_another_cluster_is_not_shown() -> None:
    value = msgspec.json.encode(next(a for out in live(story()).sent for a in out.alerts))
    view = AlertView("another")

    assert view.take(b"k", value) is None
    view = AlertView("c1")
    view.take(b"k", value)
    view.take(b"k", None)

    assert [] == view.all()


def test_what_is_no_alert_is_told() -> None:
    with pytest.raises(DecodeError):
        AlertView().take(b"k", b"{}")


def test_the_stage_stops_when_too_many_of_the_last_records_are_bad() -> None:
    judge = Undecodable(0.5)
    bad = [judge.note(TopicName.LOGS, bad=True) for _ in range(WINDOW // 2 + 1)]

    assert [False] * (WINDOW // 2) + [True] == bad
    assert not judge.note(TopicName.CHANGES, bad=True)


def test_few_bad_records_among_good_ones_are_no_reason_to_stop() -> None:
    judge = Undecodable(0.5)

    assert not any(judge.note(TopicName.LOGS, bad=n % 2 == 0) for n in range(10 * WINDOW))
