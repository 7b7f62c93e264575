"""Write to and read from our topics in tests. In: a broker, records. Out: records.

Rule: the partition is given, as every writer of ours gives it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.kafka import topic_plans
from schemas.settings import Settings
from schemas.topics import TopicName, full_name

TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Read:
    """One record."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: dict[str, bytes]


def create_topics(bootstrap: str, settings: Settings) -> None:
    """Make every topic of the registry."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    plans = topic_plans(settings.kafka)
    made = admin.create_topics(
        [
            NewTopic(
                one.name,
                num_partitions=one.partitions,
                replication_factor=one.replication,
                config=one.config,
            )
            for one in plans
        ]
    )
    for future in made.values():
        future.result(TIMEOUT_S)


class KafkaLog:
    """The topics of one prefix."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap, self._prefix = bootstrap, prefix
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})

    def write(self, topic: TopicName, partition: int, values: Sequence[bytes | None]) -> None:
        """Append records; return when they are acknowledged."""
        name = full_name(topic, self._prefix)
        for value in values:
            self._producer.produce(name, value, b"key", partition)
        assert not self._producer.flush(TIMEOUT_S)

    def delete(self, topic: TopicName, partition: int, *, before: int) -> None:
        """Take away the records before an offset, as retention does."""
        at = TopicPartition(full_name(topic, self._prefix), partition, before)
        for future in self._admin.delete_records([at]).values():
            future.result(TIMEOUT_S)

    def remake(self, topic: TopicName, partitions: int) -> None:
        """Delete a topic and make it again."""
        name = full_name(topic, self._prefix)
        for future in self._admin.delete_topics([name], operation_timeout=TIMEOUT_S).values():
            future.result(TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            made = self._admin.create_topics([NewTopic(name, partitions, 1)])
            try:
                made[name].result(TIMEOUT_S)
                return
            except KafkaException:  # the deleted one is not gone yet
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def committed(self, topic: TopicName, partition: int, group: str) -> int:
        """Return where a group reads next; -1 where it never said."""
        at = TopicPartition(full_name(topic, self._prefix), partition)
        name = f"{self._prefix}-{group}"
        asked = ConsumerGroupTopicPartitions(name, [at])
        (future,) = self._admin.list_consumer_group_offsets([asked]).values()
        (found,) = future.result(TIMEOUT_S).topic_partitions
        return int(found.offset)

    def read(self, topic: TopicName) -> list[Read]:
        """Return all records that the topic holds now."""
        name = full_name(topic, self._prefix)
        settings: dict[str, Any] = {"bootstrap.servers": self._bootstrap, "group.id": "unused"}
        consumer = Consumer(settings | {"enable.auto.commit": False})
        try:
            partitions = consumer.list_topics(name, timeout=TIMEOUT_S).topics[name].partitions
            tps = [TopicPartition(name, n, OFFSET_BEGINNING) for n in partitions]
            bounds = [consumer.get_watermark_offsets(tp, timeout=TIMEOUT_S) for tp in tps]
            ends = {tp.partition: high for tp, (low, high) in zip(tps, bounds, strict=True)}
            consumer.assign(tps)
            return self._until(consumer, {n: end for n, end in ends.items() if end})
        finally:
            consumer.close()

    @staticmethod
    def _until(consumer: Consumer, ends: dict[int, int]) -> list[Read]:
        found: list[Read] = []
        deadline = time.monotonic() + TIMEOUT_S
        while ends and time.monotonic() < deadline:
            for one in consumer.consume(500, 0.1):
                assert one.error() is None, one.error()
                partition, offset = one.partition(), one.offset()
                assert partition is not None and offset is not None
                headers: Any = one.headers() or []
                key, value = one.key() or b"", one.value()
                assert isinstance(key, bytes) and not isinstance(value, str)
                found.append(Read(partition, offset, key, value, dict(headers)))
                if offset >= ends.get(partition, offset + 1) - 1:
                    ends.pop(partition, None)
        assert not ends, f"not read in {TIMEOUT_S} s: {ends}"
        return sorted(found, key=lambda one: (one.partition, one.offset))
