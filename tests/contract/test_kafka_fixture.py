"""The broker of the tests keeps what it acknowledged, whatever happens to its process."""

import time

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.services.kafka import KafkaBroker

DEADLINE_S = 30.0


def make_topic(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, num_partitions=1)])[topic].result(DEADLINE_S)


def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    """Return when the broker has acknowledged all values."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0}
    )
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(DEADLINE_S) == 0


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    deadline_s = time.monotonic() + DEADLINE_S
    found: list[Message] = []
    while len(found) < count and time.monotonic() < deadline_s:
        found += consumer.consume(count - len(found), timeout=1.0)
    consumer.close()
    assert all(message.error() is None for message in found)
    return [message.value() or b"" for message in found]


def test_what_is_produced_is_consumed(kafka_bootstrap: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}.greetings.v1"
    make_topic(kafka_bootstrap, topic)
    produce(kafka_bootstrap, topic, b"one", b"two", b"three")
    assert consume(kafka_bootstrap, topic, 3) == [b"one", b"two", b"three"]


def test_an_acknowledged_record_survives_kill_and_restart(kafka_broker: KafkaBroker) -> None:
    make_topic(kafka_broker.bootstrap, "kept")
    produce(kafka_broker.bootstrap, "kept", b"before the crash")
    kafka_broker.kill()
    kafka_broker.start()
    produce(kafka_broker.bootstrap, "kept", b"after it")
    assert consume(kafka_broker.bootstrap, "kept", 2) == [b"before the crash", b"after it"]


def test_an_unknown_topic_is_not_made_by_asking(kafka_bootstrap: str, topic_prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.list_topics(topic_prefix, timeout=DEADLINE_S)
    assert topic_prefix not in admin.list_topics(timeout=DEADLINE_S).topics
