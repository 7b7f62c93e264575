"""Everything runs on a real broker, and every stage is killed at random, again and again.

What Kafka took is in ClickHouse once; what was decoded by nobody but Arrow itself has as many rows.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Message

from schemas.clock import Clock
from schemas.topics import TopicName, full_name
from sinks.query import ask
from tests import fixtures
from tests.services.records import read_all
from tests.services.replay import Answer, Replay, Step
from tests.services.stages import Stages

PARTITIONS = 2
BETWEEN_KILLS_S = (0.5, 3.0)
PATIENCE_S = 90.0
TOPICS = (
    *(TopicName.SCRAPES, TopicName.CHANGES, TopicName.LOGS),
    *(TopicName.INDICATORS, TopicName.ALERTS, TopicName.DEAD_LETTERS),
)


@pytest.fixture
def replay(shared_fixtures: Path) -> Iterator[Replay]:
    """Three etcd members under load, a new capture every 2 s."""
    timelines: dict[str, list[Step]] = {}
    for entry in fixtures.cluster_phase("load"):
        if entry.instance.startswith("etcd"):
            timelines.setdefault(entry.instance, []).append(Step(Answer.BODY, entry.body()))
    clock = Clock()
    served = Replay(timelines, clock, origin_ms=clock.now_ms() + 5_000, step_ms=2_000)
    yield served
    served.close()


@pytest.mark.parametrize(
    "kills", [15, pytest.param(150, marks=pytest.mark.torture)], ids=["15", "150"]
)
def test_what_kafka_took_is_stored_once_whichever_stage_dies(
    kafka_bootstrap: str, topic_prefix: str, replay: Replay, tmp_path: Path, kills: int
) -> None:
    stages = Stages(tmp_path, _settings(kafka_bootstrap, topic_prefix, replay))
    dice = random.Random(topic_prefix)
    try:
        for stage in ("producers", "sinks", "streams"):
            stages.start(stage)
        for _ in range(kills):
            time.sleep(dice.uniform(*BETWEEN_KILLS_S))
            stage = dice.choice(("producers", "sinks", "sinks", "streams"))
            stages.kill(stage)
            stages.start(stage, wait=False)
        for stage in ("producers", "sinks", "streams"):
            stages.wait_until_ready(stage)
        time.sleep(3.0)  # undisturbed, so that each stage has worked after its last start
        assert 0 == stages.stop("producers"), stages.tail("producers")
        assert 0 == stages.stop("streams"), stages.tail("streams")
        wanted = _on_broker(kafka_bootstrap, topic_prefix)
        end = time.monotonic() + PATIENCE_S
        while (stored := _stored(stages)) != wanted and time.monotonic() < end:
            time.sleep(0.3)
        assert wanted == stored
        assert _rows_by_arrow(kafka_bootstrap, topic_prefix) == _rows_stored(stages)
        assert {(TopicName.SCRAPES, partition) for partition in _partitions(wanted)} <= set(wanted)
    finally:
        stages.close()


def _settings(bootstrap: str, prefix: str, replay: Replay) -> dict[str, Any]:
    def targets(job: str) -> list[dict[str, Any]]:
        return [
            {
                "job": job,
                "instance": instance,
                "url": f"http://127.0.0.1:{port}/metrics",
                "interval_s": 1.0,
                "timeout_s": 5.0,
            }
            for instance, port in replay.ports.items()
        ]

    return {
        "kafka": {
            "bootstrap": bootstrap,
            "prefix": prefix,
            "partitions": PARTITIONS,
            "replication": 1,
        },
        "clusters": [{"id": f"c{n}", "targets": targets("etcd")} for n in range(2)],
        "sinks": {"flush_age_s": 0.2},
    }


def _records(bootstrap: str, prefix: str, topic: TopicName) -> Iterator[Message]:
    return read_all(bootstrap, full_name(topic, prefix))


def _on_broker(bootstrap: str, prefix: str) -> Counter[tuple[str, int]]:
    return Counter(
        (str(topic), message.partition() or 0)
        for topic in TOPICS
        for message in _records(bootstrap, prefix, topic)
    )


def _partitions(counts: Counter[tuple[str, int]]) -> set[int]:
    return {partition for topic, partition in counts if topic == TopicName.SCRAPES}


def _stored(stages: Stages) -> Counter[tuple[str, int]]:
    sql = (
        "SELECT topic, bitAnd(_p, 65535) AS partition, count() AS n, uniqExact(_o) AS distinct "
        "FROM records GROUP BY 1, 2"
    )
    found = ask(stages.settings, sql, {}).to_pylist()
    assert all(row["n"] == row["distinct"] for row in found), found
    return Counter({(row["topic"], row["partition"]): row["n"] for row in found})


def _rows_by_arrow(bootstrap: str, prefix: str) -> dict[tuple[int, int], int]:
    """Rows of each scrape record, read by nothing of ours."""
    rows = {}
    for message in _records(bootstrap, prefix, TopicName.SCRAPES):
        with pa.ipc.open_stream(message.value()) as stream:
            rows[message.partition() or 0, message.offset() or 0] = stream.read_all().num_rows
    return {at: n for at, n in rows.items() if n}


def _rows_stored(stages: Stages) -> dict[tuple[int, int], int]:
    sql = (
        "SELECT partition, _o, count() AS n FROM ("
        "SELECT bitAnd(_p, 65535) AS partition, _o FROM samples UNION ALL "
        "SELECT bitAnd(_p, 65535) AS partition, _o FROM histograms) GROUP BY 1, 2"
    )
    return {
        (row["partition"], row["_o"]): row["n"] for row in ask(stages.settings, sql, {}).to_pylist()
    }
