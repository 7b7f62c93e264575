"""Every record is in ClickHouse exactly once, whatever dies, and whenever."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from producers.broker import EmbeddedBroker
from schemas import run
from schemas.kafka import topic_plans
from schemas.settings import KafkaSettings, Settings
from schemas.topics import TopicName, full_name
from sinks.query import ask
from tests.services import process
from tests.services.clickhouse import ClickHouse
from tests.services.stages import Stages
from tests.stored import dead_letters_missing, differences, records_wanted
from tests.traffic import Traffic, mixed, scrape

KILLED = 137
PARTITIONS = 4
FLUSHES = {"flush_age_s": 0.1, "flush_rows_max": 5_000}
FAULTS = (
    *("between-inserts", "between-inserts@2", "between-inserts@5", "between-inserts@9"),
    *("between-inserts@14", "before-records", "before-records@3", "after-records@2"),
)
STALL_S_MAX = 60.0
SENDS_PER_KILL = 60  # a slow machine takes longer for a kill, but gets no more work


def make_topics(bootstrap: str, prefix: str) -> None:
    plans = topic_plans(KafkaSettings(prefix=prefix, partitions=PARTITIONS, replication=1))
    admin = AdminClient({"bootstrap.servers": bootstrap})
    made = admin.create_topics(
        [NewTopic(one.name, one.partitions, one.replication, config=one.config) for one in plans]
    )
    for future in made.values():
        future.result(30.0)


@contextmanager
def stages(data: Path, tree: dict[str, Any]) -> Iterator[Stages]:
    made = Stages(data, {"sinks": FLUSHES, **tree})
    try:
        yield made
    finally:
        made.close()


@contextmanager
def flowing(traffic: Traffic, *, seed: int, sends_max: int = 1_200) -> Iterator[None]:
    """Send records all the time, but no more than `sends_max` times."""
    stop = threading.Event()

    def flow() -> None:
        for number in range(seed, seed + sends_max):
            if stop.wait(0.05):
                break
            traffic.send(*mixed(number, 20, series=60))

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def question(settings: Settings) -> Any:
    def answer(sql: str) -> pa.Table:
        return ask(settings, sql, {})

    return answer


def records_stored(settings: Settings) -> int:
    rows = ask(settings, "SELECT count() AS n FROM records WHERE outcome != 'gap'", {})
    return int(rows["n"][0].as_py())


def run_until_all_is_stored(running: Stages, traffic: Traffic) -> None:
    """Let a process that nobody kills finish the work, as long as it goes on; it stops cleanly."""
    running.start("sinks")
    wanted, stored = records_wanted(traffic), -1
    end_s = time.monotonic() + STALL_S_MAX
    while time.monotonic() < end_s:
        time.sleep(0.3)
        before, stored = stored, records_stored(running.settings)
        if stored != before:
            end_s = time.monotonic() + STALL_S_MAX
        # Dead letters that sinks write make the log longer.
        if stored >= wanted and wanted == (wanted := records_wanted(traffic)):
            break
    assert 0 == running.stop("sinks"), running.tail("sinks")


def kill_again_and_again(running: Stages, traffic: Traffic, *, kills: int, seed: int) -> None:
    """Kill by a fault point and at random moments in turn, from the first moment of a process."""
    dice = random.Random(seed)
    for number in range(kills):
        traffic.send(*mixed(seed + 1_000 + number, 60, series=60))
        if number < len(FAULTS):
            started = running.start("sinks", wait=False, PLANEWATCH_TEST_FAULT=FAULTS[number])
            assert KILLED == started.wait(60.0), f"{FAULTS[number]}: {running.tail('sinks')}"
            process.kill(started)
            continue
        running.start("sinks", wait=False)
        time.sleep(dice.uniform(0.3, 2.5))
        running.kill("sinks")


def assert_stored_once(settings: Settings, traffic: Traffic) -> None:
    answer = question(settings)
    assert [] == differences(answer, traffic)[:20]
    assert set() == dead_letters_missing(answer, traffic)


@pytest.mark.parametrize(
    "kills", [20, pytest.param(200, marks=pytest.mark.torture)], ids=["20", "200"]
)
def test_kills_on_a_real_broker(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, kills: int
) -> None:
    make_topics(kafka_bootstrap, topic_prefix)
    traffic = Traffic(kafka_bootstrap, topic_prefix, PARTITIONS)
    kafka = {"bootstrap": kafka_bootstrap, "prefix": topic_prefix}
    with stages(tmp_path, {"kafka": kafka}) as running:
        with flowing(traffic, seed=50_000, sends_max=SENDS_PER_KILL * kills):
            kill_again_and_again(running, traffic, kills=kills, seed=1)
        run_until_all_is_stored(running, traffic)
        assert_stored_once(running.settings, traffic)


def test_kills_on_the_embedded_broker(tmp_path: Path) -> None:
    with stages(tmp_path, {}) as running:
        settings = running.settings
        embedded = EmbeddedBroker(settings.kafka)
        run.announce(
            settings, run.BROKER, bootstrap=embedded.bootstrap, incarnation=embedded.incarnation
        )
        traffic = Traffic(embedded.bootstrap, settings.kafka.prefix, PARTITIONS)
        kill_again_and_again(running, traffic, kills=4, seed=2)
        run_until_all_is_stored(running, traffic)
        assert_stored_once(settings, traffic)


def test_sinks_that_share_a_server_share_the_work(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """One leaves, one is killed, the server dies and returns: nothing is lost or doubled."""
    make_topics(kafka_bootstrap, topic_prefix)
    traffic = Traffic(kafka_bootstrap, topic_prefix, PARTITIONS)
    kafka = {"bootstrap": kafka_bootstrap, "prefix": topic_prefix}
    with ClickHouse() as server:
        tree = {"kafka": kafka, "clickhouse": {"dsn": f"{server.url}shared"}}
        with (
            stages(tmp_path / "a", tree) as a,
            stages(tmp_path / "b", tree) as b,
            flowing(traffic, seed=60_000),
        ):
            a.start("sinks")
            b.start("sinks")
            time.sleep(2.0)
            assert 0 == a.stop("sinks"), a.tail("sinks")
            a.start("sinks")
            time.sleep(1.0)
            server.kill()
            server.start()
            time.sleep(1.0)
            b.kill("sinks")
            time.sleep(1.0)
            a.stop("sinks")
        with stages(tmp_path / "c", tree) as c:
            run_until_all_is_stored(c, traffic)
            assert_stored_once(c.settings, traffic)


def test_what_left_kafka_unread_is_written_down(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    make_topics(kafka_bootstrap, topic_prefix)
    traffic = Traffic(kafka_bootstrap, topic_prefix, PARTITIONS)
    topic = full_name(TopicName.SCRAPES, topic_prefix)
    kafka = {"bootstrap": kafka_bootstrap, "prefix": topic_prefix}
    with stages(tmp_path, {"kafka": kafka}) as running:
        traffic.send(*(scrape("prod-eu-1", 1_000 * i, sequence=i) for i in range(10)))
        run_until_all_is_stored(running, traffic)
        traffic.send(*(scrape("prod-eu-1", 1_000 * i, sequence=i) for i in range(10, 30)))
        partition = next(at[1] for at in traffic.sent)
        admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
        deleted = admin.delete_records([TopicPartition(topic, partition, 25)])
        for future in deleted.values():
            future.result(30.0)
        run_until_all_is_stored(running, traffic)
        answer = question(running.settings)
    gaps = answer("SELECT missing, _o, error FROM records WHERE outcome = 'gap'").to_pylist()
    assert [(15, 24)] == [(row["missing"], row["_o"]) for row in gaps]
    assert "offsets 10 to 24" in gaps[0]["error"]
    offsets = answer("SELECT _o FROM scrapes ORDER BY _o")["_o"].to_pylist()
    assert [*range(10), *range(25, 30)] == offsets


def test_a_topic_that_was_made_again_is_another_source(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    kafka = {"bootstrap": kafka_bootstrap, "prefix": topic_prefix}
    with stages(tmp_path, {"kafka": kafka}) as running:
        for life in range(2):
            make_topics(kafka_bootstrap, topic_prefix)
            traffic = Traffic(kafka_bootstrap, topic_prefix, PARTITIONS)
            traffic.send(*(scrape("prod-eu-1", i, sequence=life) for i in range(5)))
            run_until_all_is_stored(running, traffic)
            names = [one.name for one in topic_plans(KafkaSettings(prefix=topic_prefix))]
            for future in admin.delete_topics(names).values():
                future.result(30.0)
        answer = question(running.settings)
    assert [{"rows": 10, "sources": 2}] == answer(
        "SELECT count() AS rows, uniqExact(intDiv(_p, 65536)) AS sources FROM scrapes"
    ).to_pylist()
