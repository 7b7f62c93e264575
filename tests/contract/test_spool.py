"""What producers accepted is in Kafka, though the broker was away and the process was killed."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from producers.sending import Sender
from producers.topics import Topics
from schemas.arrow import decode_scrape
from schemas.kafka import topic_names
from schemas.metrics import Metric
from schemas.run import Broker
from schemas.settings import KafkaSettings, ProducersSettings, Settings
from schemas.telemetry import Telemetry
from schemas.topics import TopicName
from tests.services.kafka import KafkaBroker
from tests.services.misbehaving import Server, answering, response
from tests.services.records import read_all
from tests.services.stages import Stages

PARTITIONS = 3
LATE_S = 0.5
WAIT_S = 30.0


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(answering(response("200 OK", b"x 1\n")))
    yield server
    server.close()


def wait_until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def settings_of(broker: KafkaBroker, data: Path) -> Settings:
    return Settings(
        data=data,
        kafka=KafkaSettings(bootstrap=broker.bootstrap, partitions=PARTITIONS, replication=1),
        producers=ProducersSettings(spool_after_s=LATE_S),
    )


def stages_of(broker: KafkaBroker, data: Path, server: Server) -> Stages:
    """Producers that scrape one server, fast."""
    url = f"http://127.0.0.1:{server.port}/metrics"
    target = {"job": "etcd", "instance": "i", "url": url, "interval_s": 0.2}
    tree = settings_of(broker, data).model_dump(mode="json", include={"kafka", "producers"})
    return Stages(data, tree | {"clusters": [{"id": "c1", "targets": [target]}]})


def sequences(broker: KafkaBroker, settings: Settings) -> set[int]:
    """The numbers of all attempts that Kafka has, our own series left out."""
    records = read_all(broker.bootstrap, scrapes_name(settings))
    envelopes = [decode_scrape(record.value()).envelope for record in records]
    return {one.sequence for one in envelopes if one.job == "etcd"}


def has_said(stages: Stages, text: str) -> bool:
    """Tell whether producers logged a text; librdkafka logs much beside it."""
    return text in stages.log("producers").read_text(errors="replace")


def scrapes_name(settings: Settings) -> str:
    return topic_names(settings.kafka)[TopicName.SCRAPES]


def test_every_accepted_scrape_is_in_kafka_though_both_were_killed(
    kafka_broker: KafkaBroker, tmp_path: Path, server: Server
) -> None:
    stages = stages_of(kafka_broker, tmp_path / "data", server)
    settings = stages.settings
    spooled = settings.data / "producers" / "spool"
    try:
        stages.start("producers")
        wait_until(lambda: len(server.requests) >= 5)
        kafka_broker.kill()
        wait_until(lambda: any(spooled.rglob("*.spool")))
        asked = len(server.requests)
        wait_until(lambda: len(server.requests) >= asked + 10)
        stages.kill("producers")
        known = json.loads((settings.data / "producers" / "targets" / "c1.json").read_text())
        (newest,) = (one["sequence"] for one in known["targets"] if one["job"] == "etcd")

        kafka_broker.start()
        stages.start("producers")
        wait_until(lambda: not any(spooled.rglob("*.spool")))
        assert 0 == stages.stop("producers"), stages.tail("producers")
    finally:
        stages.close()
    found = sequences(kafka_broker, settings)
    assert newest >= 15
    assert set() == set(range(1, newest)) - found  # the newest may have been under way


def test_a_start_while_kafka_is_away_observes_at_once(
    kafka_broker: KafkaBroker, tmp_path: Path, server: Server
) -> None:
    """Where it has seen the topics before; elsewhere it waits."""
    stages = stages_of(kafka_broker, tmp_path / "data", server)
    spooled = stages.data / "producers" / "spool"
    try:
        stages.start("producers")
        wait_until(lambda: len(server.requests) >= 3)
        assert 0 == stages.stop("producers")
        kafka_broker.kill()
        stages.start("producers")
        asked = len(server.requests)
        wait_until(lambda: len(server.requests) >= asked + 10)
        wait_until(lambda: any(spooled.rglob("*.spool")))
        assert has_said(stages, "observing into the spool")

        kafka_broker.start()
        wait_until(lambda: has_said(stages, "kafka is there again"))
        wait_until(lambda: not any(spooled.rglob("*.spool")))
        assert 0 == stages.stop("producers"), stages.tail("producers")
    finally:
        stages.close()
    found = sequences(kafka_broker, stages.settings)
    assert len(found) >= 13
    assert set(range(1, max(found) + 1)) == found


def test_a_start_ends_where_topics_are_others_than_they_were(
    kafka_broker: KafkaBroker, tmp_path: Path, server: Server
) -> None:
    stages = stages_of(kafka_broker, tmp_path / "data", server)
    seen = stages.data / "producers" / "topics.json"
    try:
        stages.start("producers")
        assert 0 == stages.stop("producers")
        told = seen.read_text()
        assert f'"partitions":{PARTITIONS}' in told
        seen.write_text(told.replace(f":{PARTITIONS}}}", f":{PARTITIONS + 1}}}"))
        kafka_broker.kill()
        started = stages.start("producers")
        kafka_broker.start()
        assert 1 == started.wait(WAIT_S)
        assert has_said(stages, "when Kafka was last there: start producers again")
    finally:
        stages.close()


def test_a_short_outage_doubles_nothing_and_changes_no_order(
    kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    settings, telemetry = settings_of(kafka_broker, tmp_path), Telemetry("producers")
    broker = Broker(kafka_broker.bootstrap)
    Topics(settings.kafka, broker, None).create_missing()
    sender = Sender(settings, broker, None, telemetry)
    safe: list[Exception | None] = []
    sent: dict[str, list[int]] = defaultdict(list)

    def send(*numbers: int) -> None:
        for number in numbers:
            cluster = f"cluster-{number % 5}"
            sent[cluster].append(number)
            sender.send(
                TopicName.SCRAPES,
                cluster=cluster,
                key=cluster,
                value=str(number).encode(),
                on_delivery=safe.append,
            )

    send(*range(20))
    assert 0 == sender.flush(WAIT_S)
    kafka_broker.kill()
    send(*range(20, 60))
    wait_until(lambda: len(safe) == 60)
    send(*range(60, 80))
    assert [None] * 80 == safe  # on disk before `send` returned
    assert telemetry.value(Metric.SPOOL_BYTES) > 0

    kafka_broker.start()
    wait_until(lambda: telemetry.value(Metric.SPOOL_BYTES) == 0)
    send(*range(80, 100))
    assert 0 == sender.flush(WAIT_S)
    sender.close()
    found: dict[str, list[int]] = defaultdict(list)
    for record in read_all(kafka_broker.bootstrap, scrapes_name(settings)):
        key, value = record.key(), record.value()
        assert key and value
        found[key.decode()].append(int(value))
    assert sent == found
    assert [None] * 100 == safe
    assert 100 == telemetry.value(Metric.RECORDS_SENT, topic="scrapes")
