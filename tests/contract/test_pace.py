"""A rehearsal knows how far its readers are behind."""

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from producers.broker import EmbeddedBroker
from producers.rehearsal.pace import BEHIND_RECORDS, CAUGHT_UP_RECORDS, Readers, behind
from schemas.kafka import EMBEDDED_PARTITIONS
from schemas.partition import partition_of
from schemas.settings import KafkaSettings
from schemas.topics import TopicName, full_name

CLUSTER = "rehearsal"
TOPIC = full_name(TopicName.SCRAPES, "planewatch")
PARTITION = partition_of(CLUSTER, EMBEDDED_PARTITIONS)
WAIT_S = 10.0


@pytest.fixture
def broker() -> EmbeddedBroker:
    return EmbeddedBroker(KafkaSettings())


@pytest.fixture
def readers(broker: EmbeddedBroker) -> Iterator[Readers]:
    readers = Readers(KafkaSettings(), {"bootstrap.servers": broker.bootstrap}, CLUSTER)
    yield readers
    readers.close()


def write(broker: EmbeddedBroker, count: int) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for _ in range(count):
        producer.produce(TOPIC, b"value", b"key", PARTITION)
    assert 0 == producer.flush(WAIT_S)


def commit(broker: EmbeddedBroker, group: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(TOPIC, PARTITION, offset)], asynchronous=False)
    consumer.close()


def test_the_slowest_reader_counts(broker: EmbeddedBroker, readers: Readers) -> None:
    write(broker, 10)
    commit(broker, "planewatch-streams", 9)
    commit(broker, "planewatch-sinks", 4)

    assert 6 == readers.lag()


def test_a_group_that_never_committed_is_no_reader(
    broker: EmbeddedBroker, readers: Readers
) -> None:
    write(broker, 10)

    assert 0 == readers.lag()


def test_slow_and_fast_have_different_limits() -> None:
    assert not behind(BEHIND_RECORDS, before=False)
    assert behind(BEHIND_RECORDS + 1, before=False)
    assert behind(CAUGHT_UP_RECORDS + 1, before=True)
    assert not behind(CAUGHT_UP_RECORDS, before=True)
