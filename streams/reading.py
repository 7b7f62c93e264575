"""Read a topic for people. In: settings, a topic. Out: what it holds now, then what comes.

The rule this file owns: it reads without a group and commits nothing, so looking changes nothing.
"""

import logging
from collections.abc import Iterator
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from schemas import run
from schemas.config import kafka_password
from schemas.errors import BrokerError
from schemas.kafka import client_settings, consumer_settings
from schemas.settings import Settings
from schemas.topics import TopicName, full_name

QUEUE_BYTES_MAX: Final = 8_000_000
TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.2

logger = logging.getLogger(__name__)


class Reader:
    """Reads all partitions of one topic."""

    def __init__(
        self, settings: Settings, topic: TopicName, *, since_ms: int | None = None
    ) -> None:
        """since_ms: what was written before is left out, where the broker looks times up."""
        broker = run.broker(settings)
        base = client_settings(settings.kafka, broker.bootstrap, kafka_password(settings.kafka))
        name = f"planewatch-{topic}"
        self._topic = full_name(topic, settings.kafka.prefix)
        self._bootstrap = broker.bootstrap
        self._since_ms = None if broker.embedded else since_ms
        self._consumer = Consumer(
            consumer_settings(base, name, QUEUE_BYTES_MAX)
            | {"group.id": name, "auto.offset.reset": "earliest"},
            logger=logger,
        )

    def until_now(self) -> Iterator[Message]:
        """Yield what the topic holds now."""
        try:
            ends = self._assign()
        except KafkaException as error:
            raise BrokerError(f"Kafka at {self._bootstrap} does not answer: {error}") from error
        while ends:
            yield from self.poll()
            for one in self._consumer.position([TopicPartition(self._topic, n) for n in ends]):
                if one.offset >= ends[one.partition]:
                    del ends[one.partition]

    def poll(self) -> list[Message]:
        """Return what came since."""
        messages = self._consumer.consume(500, POLL_S)
        for message in messages:
            if (error := message.error()) and error.fatal():
                raise BrokerError(f"cannot read {self._topic}: {error}")
        return [message for message in messages if message.error() is None]

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _assign(self) -> dict[int, int]:
        """Begin to read; return where those partitions end in which there is anything to read."""
        found = self._consumer.list_topics(self._topic, timeout=TIMEOUT_S).topics[self._topic]
        if not found.partitions:
            raise BrokerError(
                f"{self._bootstrap} lacks {self._topic}: "
                "create it with `planewatch topics --create`"
            )
        begins = [TopicPartition(self._topic, n, OFFSET_BEGINNING) for n in found.partitions]
        if self._since_ms is not None:
            asked = [TopicPartition(self._topic, n, self._since_ms) for n in found.partitions]
            begins = self._consumer.offsets_for_times(asked, timeout=TIMEOUT_S)
        self._consumer.assign(begins)
        bounds = {
            one.partition: self._consumer.get_watermark_offsets(one, timeout=TIMEOUT_S)
            for one in begins
        }
        # Where nothing is that new, the lookup says the end, by a number below 0.
        first = {one.partition: one.offset for one in begins}
        return {
            partition: high
            for partition, (low, high) in bounds.items()
            if high > low and (first[partition] == OFFSET_BEGINNING or 0 <= first[partition] < high)
        }
