"""An embedded broker with the real sender of the producers, and what arrived.

In: nothing. Out: a Sender to hand to what is tested, and the records of a topic. Rule: nothing of
Kafka is faked; only the broker is librdkafka's own.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from confluent_kafka import Consumer, TopicPartition

from producers.broker import EmbeddedBroker
from producers.sending import Sender
from schemas.codec import decode
from schemas.kafka import EMBEDDED_PARTITIONS, topic_names
from schemas.records import Record
from schemas.run import Broker
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from schemas.topics import TopicName

WAIT_S = 20.0

R = TypeVar("R", bound=Record)


class Embedded:
    """A broker, a sender, and readers of what was sent."""

    def __init__(self, data: Path) -> None:
        self.settings = Settings(data=data)
        self.telemetry = Telemetry("producers")
        self._broker = EmbeddedBroker(self.settings.kafka)
        self.bootstrap = self._broker.bootstrap
        self._names = topic_names(self.settings.kafka)
        where = Broker(self._broker.bootstrap, self._broker.incarnation)
        self.sender = Sender(self.settings, where, None, self.telemetry)
        self._readers: list[Consumer] = []

    def read(self, topic: TopicName, kind: type[R], enough: Callable[[list[R]], bool]) -> list[R]:
        """Return the records of a topic from its beginning, as soon as they are `enough`."""
        found: list[R] = []
        for key, value in self._messages(topic):
            assert key.startswith(b"rehearsal/"), key
            found.append(decode(value, kind))
            if enough(found):
                return found
        raise AssertionError(f"after {WAIT_S} s only {len(found)} records: {found[-5:]}")

    def close(self) -> None:
        """Stop the sender and all readers."""
        self.sender.flush(WAIT_S)
        self.sender.close()
        for reader in self._readers:
            reader.close()

    def _messages(self, topic: TopicName) -> Iterator[tuple[bytes, bytes]]:
        reader = Consumer(
            {
                "bootstrap.servers": self._broker.bootstrap,
                "group.id": "test",
                "fetch.wait.max.ms": 20,
            }
        )
        self._readers.append(reader)
        name = self._names[topic]
        reader.assign([TopicPartition(name, n, 0) for n in range(EMBEDDED_PARTITIONS)])
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            message = reader.poll(0.1)
            if message is None:
                continue
            assert message.error() is None, message.error()
            key, value = message.key(), message.value()
            assert isinstance(key, bytes) and isinstance(value, bytes)
            yield key, value
