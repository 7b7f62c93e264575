"""Send records to Kafka. In: topic, cluster, key, value. Out: acknowledged records, or a count of
those that were not.

The rule this file owns: every record goes to the partition of its cluster, named explicitly, by an
idempotent producer with acks=all; a full queue makes the caller wait, it never drops.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import BrokerError
from schemas.kafka import (
    client_settings,
    producer_settings,
    topic_names,
)
from schemas.metrics import Metric
from schemas.partition import partition_of
from schemas.run import Broker
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from schemas.topics import TopicName

CLIENT_ID: Final = "planewatch-producers"
METADATA_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.1
VISIBLE_S: Final = 3.0  # a topic just made may not be known to the broker that we ask

OnDelivery = Callable[[Exception | None], None]

logger = logging.getLogger(__name__)


class Sender:
    """A producer that all threads of the stage share."""

    def __init__(
        self, settings: Settings, broker: Broker, password: str | None, telemetry: Telemetry
    ) -> None:
        base = client_settings(settings.kafka, broker.bootstrap, password)
        queue_bytes_max = settings.producers.queue_bytes_max
        self._producer = Producer(
            {**producer_settings(base, CLIENT_ID, queue_bytes_max), "error_cb": self._on_error},
            logger=logger,
        )
        self._broker = broker
        self._telemetry = telemetry
        self._names = topic_names(settings.kafka)
        self._partitions: int | None = None
        self._partitions_lock = threading.Lock()
        self._closing = threading.Event()
        self._failing = False
        self._fatal: KafkaError | None = None
        self._poller = threading.Thread(target=self._poll, name="kafka-delivery", daemon=True)
        self._poller.start()

    def send(
        self,
        topic: TopicName,
        *,
        cluster: str,
        key: str,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Queue one record; wait while the queue is full. Any thread may call it.

        `on_delivery` is called once, on a thread of ours, with None when Kafka has the record, or
        with the reason why it has not; it must not block.

        Raises:
            BrokerError: Kafka does not have our topics, or the sender is closed or has failed for
                good.
        """
        partition = partition_of(cluster, self.partitions())
        name = self._names[topic]
        waited = False
        while not self._closing.is_set():
            try:
                self._producer.produce(
                    name,
                    value,
                    key.encode(),
                    partition,
                    on_delivery=self._report(topic, len(value), on_delivery),
                    headers=[(str(header), text) for header, text in headers],
                )
                return
            except BufferError:
                if not waited:
                    self._telemetry.count(Metric.LIMIT_HITS, limit="queue_bytes_max")
                waited = True
                self._closing.wait(POLL_S)  # the poller makes room
            except KafkaException as error:
                raise BrokerError(f"Kafka refuses records for {name}: {error}") from error
        raise BrokerError(f"a record for {name} came after the sender was closed")

    def partitions(self) -> int:
        """Return how many partitions each topic has; asked from the broker once.

        Raises:
            BrokerError: the broker does not answer, lacks a topic, or its topics differ.
        """
        with self._partitions_lock:
            if self._partitions is None:
                self._partitions = self._ask_partitions()
            return self._partitions

    def touch(self) -> None:
        """Create every topic on the embedded broker, which makes those that are asked for."""
        for name in self._names.values():
            try:
                self._producer.list_topics(name, timeout=METADATA_TIMEOUT_S)
            except KafkaException as error:
                raise self._away(error) from error

    def check(self) -> None:
        """Raise BrokerError if the producer has failed for good and the process must restart."""
        if error := self._fatal:
            raise BrokerError(f"the Kafka producer cannot go on, a restart mends it: {error}")

    def flush(self, timeout_s: float) -> int:
        """Wait until all queued records are reported; return how many are left."""
        return int(self._producer.flush(timeout_s))

    def close(self) -> None:
        """Stop; what was not flushed is lost, and counted."""
        self._closing.set()
        self._poller.join()
        if left := len(self._producer):
            self._telemetry.count(Metric.RECORDS_DROPPED, left, reason="unsent_at_stop")
            logger.warning("closed with records left count=%d", left)

    def _ask_partitions(self) -> int:
        if self._broker.embedded:
            self.touch()
        names = set(self._names.values())
        until_s = time.monotonic() + VISIBLE_S
        while missing := names - (counts := self._ask_counts()).keys():
            if time.monotonic() > until_s:
                raise BrokerError(
                    f"{self._broker.bootstrap} lacks {', '.join(sorted(missing))}: "
                    "create them with `planewatch topics --create`"
                )
            time.sleep(POLL_S)
        if len(set(counts.values())) != 1:
            listed = ", ".join(f"{name} has {n}" for name, n in sorted(counts.items()))
            raise BrokerError(f"all topics need the same number of partitions: {listed}")
        return next(iter(counts.values()))

    def _ask_counts(self) -> dict[str, int]:
        """Return the partitions of each topic that exists; asking for all topics makes none."""
        try:
            found = self._producer.list_topics(timeout=METADATA_TIMEOUT_S).topics
        except KafkaException as error:
            raise self._away(error) from error
        return {
            name: len(found[name].partitions)
            for name in self._names.values()
            if name in found and found[name].partitions
        }

    def _away(self, error: KafkaException) -> BrokerError:
        return BrokerError(f"Kafka at {self._broker.bootstrap} does not answer: {error}")

    def _poll(self) -> None:
        while not self._closing.is_set():
            try:
                self._producer.poll(POLL_S)
            except Exception:  # of a caller's on_delivery; the other reports must still be heard
                self._telemetry.count(Metric.ERRORS, kind="on_delivery")
                logger.exception("a delivery callback failed")

    def _report(
        self, topic: TopicName, value_bytes: int, on_delivery: OnDelivery | None
    ) -> Callable[[KafkaError | None, Message], None]:
        def report(error: KafkaError | None, _: Message) -> None:
            self._count(topic, value_bytes, error)
            if on_delivery:
                on_delivery(KafkaException(error) if error else None)

        return report

    def _count(self, topic: TopicName, value_bytes: int, error: KafkaError | None) -> None:
        if error is None:
            self._telemetry.count(Metric.RECORDS_SENT, topic=topic)
            self._telemetry.count(Metric.BYTES_SENT, value_bytes, topic=topic)
        else:
            self._telemetry.count(Metric.ERRORS, kind="delivery")
            self._telemetry.count(Metric.RECORDS_DROPPED, reason="not_acknowledged")
        if self._failing != (error is not None):
            self._failing = error is not None
            if error:
                logger.error("kafka acknowledges nothing topic=%s error=%s", topic, error)
            else:
                logger.info("kafka acknowledges again topic=%s", topic)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
