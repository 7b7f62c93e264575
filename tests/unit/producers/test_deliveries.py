"""Every record comes to Kafka at least once, in order where that matters, and fresh ones first."""

import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.core.backlog import Place
from producers.core.frames import Outgoing
from producers.deliveries import Deliveries
from producers.flights import Failed, OnReport
from producers.spool import Spool
from schemas.metrics import Metric
from schemas.telemetry import Telemetry
from schemas.topics import TopicName

SCRAPES = Place(TopicName.SCRAPES, 0)
OTHER = Place(TopicName.SCRAPES, 1)
CHANGES = Place(TopicName.CHANGES, 0)
LATE_MS = 3_000
TIMED_OUT = Failed(TimeoutError("timed out"), forever=False)


class Kafka:
    """What librdkafka is to us: a queue that reports."""

    def __init__(self) -> None:
        self.queue: list[tuple[Outgoing, OnReport]] = []
        self.taken: list[str] = []  # keys
        self.room = 1_000
        self.refusal: Failed | None = None

    def produce(self, outgoing: Outgoing, on_report: OnReport) -> None:
        if self.refusal:
            raise self.refusal
        if len(self.queue) >= self.room:
            raise BufferError
        self.queue.append((outgoing, on_report))

    def report(self, failed: Failed | None = None, *, records: int = 1_000) -> None:
        """Take the oldest records, or give them up."""
        reported, self.queue = self.queue[:records], self.queue[records:]
        for outgoing, on_report in reported:
            if failed is None:
                self.taken.append(outgoing.key)
            on_report(failed)


class Life:
    """One process, from its start to its end."""

    def __init__(self, folder: Path, bytes_max: int = 30_000_000) -> None:
        self.kafka, self.telemetry = Kafka(), Telemetry("producers")
        self.spool = Spool(folder, bytes_max, self.telemetry)
        self.deliveries = Deliveries(
            self.kafka.produce, self.spool, late_ms=LATE_MS, telemetry=self.telemetry
        )
        self.safe: list[str] = []
        self.lost: list[str] = []
        self.now_ms = 0

    def send(self, *keys: str, place: Place = SCRAPES, nbytes: int = 10) -> bool:
        taken = [
            self.deliveries.send(
                place, Outgoing(place.topic, "c", key, bytes(nbytes)), self.hear(key), self.now_ms
            )
            for key in keys
        ]
        return all(taken)

    def hear(self, key: str) -> Callable[[Exception | None], None]:
        return lambda error: (self.lost if error else self.safe).append(key)

    def wait(self, passed_ms: int = 100) -> None:
        self.now_ms += passed_ms
        self.deliveries.tend(self.now_ms)

    def settle(self) -> None:
        """Kafka takes everything, also what comes from the spool."""
        for _ in range(1_000):
            self.wait()
            self.kafka.report()


@pytest.fixture
def born(tmp_path: Path) -> Callable[[], Life]:
    return lambda: Life(tmp_path / "spool")


Born = Callable[[], Life]


def test_a_record_that_kafka_takes_in_time_never_sees_the_disk(born: Born, tmp_path: Path) -> None:
    life = born()
    assert life.send("a", "b")
    life.wait(LATE_MS - 1)
    assert [] == life.safe
    life.kafka.report()
    assert ["a", "b"] == life.safe
    assert not (tmp_path / "spool").exists()
    assert 2 == life.telemetry.value(Metric.RECORDS_SENT, topic="scrapes")


def test_a_late_record_is_safe_on_disk_and_kafka_has_it_once(born: Born) -> None:
    life = born()
    life.send("a")
    life.wait(LATE_MS - 1)
    life.send("b")
    assert [] == life.safe
    life.wait(1)
    assert ["a", "b"] == life.safe  # with those that are on their way behind it
    life.send("c")
    assert ["a", "b", "c"] == life.safe  # before `send` returned
    life.settle()
    assert ["a", "b", "c"] == life.kafka.taken
    assert ["a", "b", "c"] == life.safe
    assert 0 == life.telemetry.value(Metric.SPOOL_BYTES)


def test_a_killed_process_loses_only_what_was_not_late_yet(born: Born) -> None:
    life = born()
    life.send("a", "b")
    life.wait(LATE_MS)
    life.send("c", place=CHANGES)
    life.send("d")
    safe = set(life.safe)
    assert {"a", "b", "d"} == safe

    after = born()
    after.settle()
    assert safe <= set(after.kafka.taken)
    assert 0 == after.telemetry.value(Metric.SPOOL_BYTES)


def test_a_stop_keeps_what_kafka_has_not_taken(born: Born) -> None:
    life = born()
    life.send("a", "b")
    life.kafka.report(records=1)
    assert 0 == life.deliveries.close()
    assert ["a", "b"] == life.safe

    after = born()
    after.settle()
    assert ["b"] == after.kafka.taken


def test_after_a_long_outage_one_record_is_tried_until_kafka_takes_it(born: Born) -> None:
    life = born()
    life.send("a", "b", "c")
    life.wait(LATE_MS)
    for _ in range(3):
        life.kafka.report(TIMED_OUT)
        life.wait()
        assert ["a"] == [one.key for one, _ in life.kafka.queue]
        life.wait(60_000)
        assert 1 == len(life.kafka.queue)
    life.settle()
    assert ["a", "b", "c"] == life.kafka.taken
    assert [] == life.lost
    assert 5 == life.telemetry.value(Metric.ERRORS, kind="delivery")


def test_a_failure_keeps_the_record_and_all_behind_it(born: Born) -> None:
    life = born()
    life.send("a", "b")
    life.kafka.report(TIMED_OUT, records=1)
    assert ["a"] == life.safe
    life.send("c")
    assert ["a", "b", "c"] == life.safe
    life.settle()
    assert {"a", "b", "c"} == set(life.kafka.taken)
    assert 3 == len(life.kafka.taken)


def test_what_the_queue_has_no_room_for_is_on_disk_alone(born: Born) -> None:
    life = born()
    life.kafka.room = 2
    assert life.send("a", "b")
    assert not life.send("c")  # Kafka is not late yet: the caller waits
    life.wait(LATE_MS)
    assert life.send("c", "d")
    life.kafka.report()
    life.kafka.room = 1_000
    life.settle()
    assert ["a", "b", "c", "d"] == life.kafka.taken


def test_fresh_records_are_not_held_up_by_a_place_that_is_away(born: Born) -> None:
    life = born()
    life.send("a")
    life.wait(LATE_MS)
    life.send("b", place=OTHER)
    assert ["a"] == life.safe
    assert ["a", "b"] == [one.key for one, _ in life.kafka.queue]


def backlog_of(life: Life, records: int, nbytes: int) -> None:
    life.send("old", nbytes=nbytes)
    life.wait(LATE_MS)
    life.kafka.report(TIMED_OUT)
    life.send(*["old"] * (records - 1), nbytes=nbytes)
    assert records == len(life.safe)


def test_a_backlog_has_a_quarter_of_what_is_fresh(born: Born) -> None:
    life = born()
    backlog_of(life, records=300, nbytes=20_000)
    life.wait()
    life.kafka.report()  # the one that was tried
    for number in range(400):
        life.send(f"fresh {number}", nbytes=20_000)
        life.wait()
        life.kafka.report()
    assert 100 <= life.kafka.taken.count("old") <= 102  # with the one that was tried
    assert [f"fresh {number}" for number in range(400)] == [
        one for one in life.kafka.taken if one != "old"
    ]
    for _ in range(150):  # nothing is fresh any more: 5 s of patience, then 4 MB/s
        life.wait()
        life.kafka.report()
    assert 300 == life.kafka.taken.count("old")


def test_changes_keep_their_order(born: Born) -> None:
    life, numbers = born(), count()

    def change(times: int = 1) -> None:
        life.send(*(f"{next(numbers):03d}" for _ in range(times)), place=CHANGES, nbytes=100_000)

    change(2)
    life.wait(LATE_MS)
    change(50)
    life.kafka.report(TIMED_OUT)
    change(50)
    for _ in range(200):
        life.wait()
        change()
        life.kafka.report()
    assert sorted(life.kafka.taken) == life.kafka.taken
    life.settle()
    assert [f"{number:03d}" for number in range(next(numbers))] == life.kafka.taken
    assert life.safe == sorted(life.safe)


def test_a_record_that_kafka_will_never_take_is_lost_and_told(born: Born) -> None:
    life = born()
    too_big = Failed(ValueError("too big"), forever=True)
    life.send("a", "b")
    life.kafka.report(too_big, records=1)
    life.kafka.report()
    assert (["b"], ["a"]) == (life.safe, life.lost)
    assert 1 == life.telemetry.value(Metric.RECORDS_DROPPED, reason="refused")
    life.kafka.refusal = too_big
    with pytest.raises(Failed, match="too big"):
        life.send("c")
    assert (["b"], ["a"]) == (life.safe, life.lost)


def test_a_record_in_the_spool_that_kafka_will_never_take_holds_up_no_other(born: Born) -> None:
    life = born()
    backlog_of(life, records=3, nbytes=10)
    life.wait()
    life.kafka.report(Failed(ValueError("too big"), forever=True))
    life.settle()
    assert ["old", "old"] == life.kafka.taken
    assert 1 == life.telemetry.value(Metric.RECORDS_DROPPED, reason="refused")
    assert 0 == life.telemetry.value(Metric.SPOOL_BYTES)


def test_a_producer_that_takes_nothing_any_more_leaves_records_to_the_next_process(
    born: Born,
) -> None:
    life = born()
    life.kafka.refusal = Failed(RuntimeError("fatal"), forever=False)
    assert life.send("a", "b")
    assert ["a", "b"] == life.safe
    life.wait()
    after = born()
    after.settle()
    assert ["a", "b"] == after.kafka.taken


def test_where_the_spool_is_full_too_a_sender_hears_that_its_record_is_lost(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path / "spool", bytes_max=60)
    life.send("a", place=CHANGES)
    life.wait(LATE_MS)
    assert ["a"] == life.safe
    assert life.send("b", place=CHANGES)  # into the queue
    life.kafka.report(TIMED_OUT)
    assert (["a"], ["b"]) == (life.safe, life.lost)
    assert 1 == life.telemetry.value(Metric.RECORDS_DROPPED, reason="not_acknowledged")
    life.settle()
    assert ["a"] == life.kafka.taken


def test_a_scrape_that_was_given_up_for_newer_ones_is_counted(tmp_path: Path) -> None:
    life = Life(tmp_path / "spool", bytes_max=60)
    life.send("a")
    life.wait(LATE_MS)
    life.send("b", "c")  # one record at a time has room
    life.kafka.report(TIMED_OUT)
    assert 2 == life.telemetry.value(Metric.RECORDS_DROPPED, reason="spool_full")
    life.settle()
    assert ["c"] == life.kafka.taken


def test_a_mistake_of_one_sender_hides_no_report_from_another(born: Born) -> None:
    life = born()

    def fail(_: Exception | None) -> None:
        raise KeyError("uid")

    life.deliveries.send(SCRAPES, Outgoing(TopicName.SCRAPES, "c", "k", b""), fail, 0)
    life.send("a")
    life.kafka.report()
    assert ["a"] == life.safe
    assert 1 == life.telemetry.value(Metric.ERRORS, kind="on_delivery")


happenings = st.lists(
    st.tuples(
        st.sampled_from(
            ["send", "change", "wait", "long wait", "take", "time out", "full", "kill"]
        ),
        st.integers(1, 5),
    ),
    max_size=60,
)


@given(happenings)
@settings(max_examples=200)
def test_whatever_happens_kafka_has_what_is_safe(happened: list[tuple[str, int]]) -> None:
    """And has it once, unless a process was killed."""
    numbers, safe, lost, taken, kills = count(), list[str](), list[str](), list[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder))
        for what, times in [*happened, ("kill", 1), ("settle", 1)]:
            if what in {"send", "change"}:
                place = SCRAPES if what == "send" else CHANGES
                life.send(*(str(next(numbers)) for _ in range(times)), place=place)
            elif what in {"wait", "long wait"}:
                life.wait(100 * times if what == "wait" else LATE_MS)
            elif what in {"take", "time out"}:
                life.kafka.report(TIMED_OUT if what == "time out" else None, records=times)
            elif what == "full":
                life.kafka.room = len(life.kafka.queue) if life.kafka.room == 1_000 else 1_000
            elif what == "settle":
                life.settle()
            if what in {"kill", "settle"}:
                safe, lost, taken = safe + life.safe, lost + life.lost, taken + life.kafka.taken
                kills += what == "kill"
                left = life.telemetry.value(Metric.SPOOL_BYTES)
                life = Life(Path(folder))
    assert 0 == left
    assert [] == lost
    assert set(safe) <= set(taken)
    assert [1] * len(safe) == [*Counter(safe).values()]
    assert max(Counter(taken).values(), default=0) <= kills + 1


def test_one_life_doubles_nothing(born: Born) -> None:
    life = born()
    for number in range(30):
        life.send(f"{number}")
        life.wait(1_000)
        life.kafka.report(TIMED_OUT if number % 4 == 3 else None, records=number % 3)
    life.settle()
    assert [1] * 30 == [*Counter(life.kafka.taken).values()]
