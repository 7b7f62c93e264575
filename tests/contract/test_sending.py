"""Records reach the partition of their cluster, or their sender hears why not, on a real broker."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from producers.sending import Sender
from producers.topics import Topics
from schemas.errors import BrokerError
from schemas.kafka import topic_names
from schemas.metrics import Metric
from schemas.partition import partition_of
from schemas.run import Broker
from schemas.settings import KafkaSettings, ProducersSettings, Settings
from schemas.telemetry import Telemetry
from schemas.topics import Header, TopicName, full_name
from tests.services.records import read_all

PARTITIONS = 3
WAIT_S = 20.0


@pytest.fixture
def kafka(topic_prefix: str, kafka_bootstrap: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=kafka_bootstrap, prefix=topic_prefix, partitions=PARTITIONS)


@pytest.fixture
def topics(kafka: KafkaSettings) -> Topics:
    return Topics(kafka, Broker(str(kafka.bootstrap)), None)


def make(kafka: KafkaSettings, topic: TopicName, partitions: int) -> None:
    """Make one topic by hand, as somebody might have; return when the broker tells of it."""
    admin = AdminClient({"bootstrap.servers": str(kafka.bootstrap)})
    name = full_name(topic, kafka.prefix)
    for future in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        future.result(WAIT_S)
    end_s = time.monotonic() + WAIT_S
    while name not in admin.list_topics(timeout=WAIT_S).topics:
        assert time.monotonic() < end_s, f"{name} does not show up"


def sender(kafka: KafkaSettings, telemetry: Telemetry, data: Path) -> Sender:
    settings = Settings(kafka=kafka, data=data)
    return Sender(settings, Broker(str(kafka.bootstrap)), None, telemetry)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry("producers")


@pytest.fixture
def sending(
    topics: Topics, kafka: KafkaSettings, telemetry: Telemetry, tmp_path: Path
) -> Iterator[Sender]:
    topics.create_missing()
    sending = sender(kafka, telemetry, tmp_path)
    yield sending
    sending.close()


def test_a_record_goes_to_the_partition_of_its_cluster_and_is_counted(
    sending: Sender, kafka: KafkaSettings, telemetry: Telemetry
) -> None:
    told: list[Exception | None] = []
    clusters = [f"cluster-{number}" for number in range(10)]
    for cluster in clusters:
        sending.send(
            TopicName.SCRAPES,
            cluster=cluster,
            key=f"{cluster}/etcd/i",
            value=b"value",
            headers=[(Header.CHUNK, b"0/1")],
            on_delivery=told.append,
        )
    assert 0 == sending.flush(WAIT_S)
    assert [None] * len(clusters) == told
    found = list(read_all(str(kafka.bootstrap), topic_names(kafka)[TopicName.SCRAPES]))
    assert {
        f"{cluster}/etcd/i".encode(): partition_of(cluster, PARTITIONS) for cluster in clusters
    } == {record.key(): record.partition() for record in found}
    assert {("chunk", b"0/1")} == {header for record in found for header in record.headers() or ()}
    assert len(clusters) == telemetry.value(Metric.RECORDS_SENT, topic="scrapes")
    assert 5 * len(clusters) == telemetry.value(Metric.BYTES_SENT, topic="scrapes")


def test_nothing_is_sent_where_a_topic_is_missing(
    kafka: KafkaSettings, telemetry: Telemetry, tmp_path: Path
) -> None:
    make(kafka, TopicName.SCRAPES, PARTITIONS)
    sending = sender(kafka, telemetry, tmp_path)
    with pytest.raises(BrokerError, match=r"lacks .*`planewatch topics --create`"):
        sending.send(TopicName.SCRAPES, cluster="c", key="c", value=b"")
    sending.close()
    known = (
        AdminClient({"bootstrap.servers": str(kafka.bootstrap)}).list_topics(timeout=WAIT_S).topics
    )
    assert 1 == sum(name.startswith(kafka.prefix) for name in known)  # none came by being asked for


def test_nothing_is_sent_where_topics_differ(
    topics: Topics, kafka: KafkaSettings, telemetry: Telemetry, tmp_path: Path
) -> None:
    make(kafka, TopicName.LOGS, PARTITIONS + 1)
    for topic in TopicName:
        if topic is not TopicName.LOGS:
            make(kafka, topic, PARTITIONS)
    sending = sender(kafka, telemetry, tmp_path)
    with pytest.raises(BrokerError, match="the same number of partitions"):
        sending.partitions()
    sending.close()


def test_a_full_queue_makes_the_caller_wait_until_the_sender_is_closed(
    kafka: KafkaSettings, topics: Topics, telemetry: Telemetry, tmp_path: Path
) -> None:
    """Also: a closed sender refuses, and loses nothing that it took."""
    topics.create_missing()
    limits = ProducersSettings(queue_bytes_max=1_000_000, spool_after_s=600)
    settings = Settings(kafka=kafka, producers=limits, data=tmp_path)
    sending = Sender(settings, Broker(str(kafka.bootstrap)), None, telemetry)
    sending.partitions()
    hold = threading.Event()  # reports are not heard while this callback blocks the poller

    def block(_: Exception | None) -> None:
        hold.wait(WAIT_S)

    sending.send(TopicName.LOGS, cluster="c", key="c", value=b"", on_delivery=block)
    refused: list[BrokerError] = []

    def fill() -> None:
        try:
            while True:
                sending.send(TopicName.LOGS, cluster="c", key="c", value=bytes(200_000))
        except BrokerError as error:
            refused.append(error)

    filling = threading.Thread(target=fill)
    filling.start()
    filling.join(3)
    assert filling.is_alive()
    assert 1 == telemetry.value(Metric.LIMIT_HITS, limit="queue_bytes_max")
    closing = threading.Thread(target=sending.close)
    closing.start()
    filling.join(WAIT_S)
    assert "after the sender was closed" in str(refused[0])
    hold.set()
    closing.join(WAIT_S)
    assert 0 == telemetry.value(Metric.RECORDS_DROPPED, reason="unsent_at_stop")
