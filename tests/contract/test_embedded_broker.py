"""What we rely on in librdkafka's mock cluster, the broker of a demonstration."""

import itertools
import os
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from producers.broker import EmbeddedBroker
from schemas.kafka import EMBEDDED_PARTITIONS, producer_settings, topic_names
from schemas.settings import KafkaSettings
from schemas.topics import TopicName

TOPICS = topic_names(KafkaSettings())
TOPIC = TOPICS[TopicName.SCRAPES]
WAIT_S = 10.0
PARTITION_BYTES = 5 * 1024 * 1024
RECORD_BYTES = 400_000


@pytest.fixture
def broker() -> EmbeddedBroker:
    return EmbeddedBroker(KafkaSettings())


@pytest.fixture
def producer(broker: EmbeddedBroker) -> Producer:
    return Producer(producer_settings({"bootstrap.servers": broker.bootstrap}, "test", 64_000_000))


@pytest.fixture
def consumer(broker: EmbeddedBroker) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "test",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
    yield consumer
    consumer.close()


def write(producer: Producer, partition: int, count: int) -> None:
    """Write `count` incompressible records, each a batch of its own, and see them acknowledged."""
    errors: list[KafkaError | None] = []
    for _ in range(count):
        producer.produce(
            TOPIC,
            os.urandom(RECORD_BYTES),
            b"key",
            partition,
            on_delivery=lambda error, _: errors.append(error),
        )
        producer.flush(WAIT_S)
    assert [None] * count == errors


def read(consumer: Consumer, count: int) -> list[Message]:
    """Read until `count` messages came, errors among them."""
    found: list[Message] = []
    end = time.monotonic() + WAIT_S
    while len(found) < count and time.monotonic() < end:
        if message := consumer.poll(0.1):
            found.append(message)
    return found


def test_every_topic_of_the_registry_is_there_when_it_starts(producer: Producer) -> None:
    topics = producer.list_topics(timeout=WAIT_S).topics

    assert dict.fromkeys(TOPICS.values(), EMBEDDED_PARTITIONS) == {
        name: len(topics[name].partitions) for name in TOPICS.values()
    }


def test_an_idempotent_producer_writes_to_the_partition_it_names(
    producer: Producer, consumer: Consumer
) -> None:
    write(producer, 2, 3)

    consumer.assign([TopicPartition(TOPIC, 2, 0)])
    assert [0, 1, 2] == [message.offset() for message in read(consumer, 3)]


def test_committed_offsets_of_a_group_are_kept(producer: Producer, consumer: Consumer) -> None:
    write(producer, 1, 3)

    consumer.commit(offsets=[TopicPartition(TOPIC, 1, 2)], asynchronous=False)

    (committed,) = consumer.committed([TopicPartition(TOPIC, 1)], timeout=WAIT_S)
    assert 2 == committed.offset


def test_a_full_partition_forgets_its_oldest_records_and_says_so(
    producer: Producer, consumer: Consumer
) -> None:
    kept = PARTITION_BYTES // RECORD_BYTES
    write(producer, 3, kept + 7)

    low, high = consumer.get_watermark_offsets(TopicPartition(TOPIC, 3), timeout=WAIT_S)

    assert (7, kept + 7) == (low, high)
    consumer.assign([TopicPartition(TOPIC, 3, 0)])
    (message,) = itertools.islice(read(consumer, 1), 1)
    error = message.error()
    assert error is not None
    assert KafkaError._AUTO_OFFSET_RESET == error.code()
