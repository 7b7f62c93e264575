"""Send records to Kafka. In: topic, cluster, key, value. Out: records that Kafka or the spool has,
or a count of those that neither has.

The rule this file owns: every record goes to the partition of its cluster, named explicitly, by an
idempotent producer with acks=all; where neither its queue nor the spool has room the caller waits.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from producers.core.backlog import Place
from producers.core.frames import Outgoing
from producers.deliveries import Deliveries
from producers.flights import Failed, OnDelivery, OnReport
from producers.spool import Spool
from producers.supervised import Supervised
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
REPORTS_S: Final = 0.5  # a report ends the wait for it; only a stop waits as long
TEND_S: Final = 0.25  # a record is late after seconds
VISIBLE_S: Final = 3.0  # a topic just made may not be known to the broker that we ask
REFUSED: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError._INVALID_ARG,
    }
)
"""What is wrong with the record itself. All else may be mended: missing topics, rights, a full
disk, a producer that must begin again."""

logger = logging.getLogger(__name__)


class Sender:
    """A producer that all threads of the stage share."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        password: str | None,
        telemetry: Telemetry,
        *,
        partitions: int | None = None,
    ) -> None:
        """`partitions`: of each topic, where Kafka cannot be asked now."""
        base = client_settings(settings.kafka, broker.bootstrap, password)
        limits = settings.producers
        self._producer = Producer(
            {
                **producer_settings(base, CLIENT_ID, limits.queue_bytes_max),
                "error_cb": self._on_error,
            },
            logger=logger,
        )
        self._broker = broker
        self._telemetry = telemetry
        self._names = topic_names(settings.kafka)
        self._deliveries = Deliveries(
            self._produce,
            Spool(settings.data / "producers" / "spool", limits.spool_bytes_max, telemetry),
            late_ms=round(limits.spool_after_s * 1000),
            telemetry=telemetry,
        )
        self._partitions = partitions
        self._partitions_lock = threading.Lock()
        self._closing = threading.Event()
        self._fatal: KafkaError | None = None
        self._threads = (
            Supervised("kafka-delivery", self._poll, self._closing),
            Supervised("kafka-spool", self._tend, self._closing),
        )
        for thread in self._threads:
            thread.start()

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
        """Take one record; wait while there is no room for it. Any thread may call it.

        `on_delivery` is called once, before this returns or on a thread of ours, with None when
        Kafka or the spool has the record, or with the reason why neither has it; it must not block.

        Raises:
            BrokerError: Kafka does not have our topics, will never take the record, or the sender
                is closed.
        """
        place = Place(topic, partition_of(cluster, self.partitions()))
        listed = tuple((str(header), text) for header, text in headers)
        outgoing = Outgoing(topic, cluster, key, value, listed)
        waited = False
        while not self._closing.is_set():
            try:
                if self._deliveries.send(place, outgoing, on_delivery, _now_ms()):
                    return
            except Failed as failed:
                raise BrokerError(
                    f"Kafka refuses records for {self._names[topic]}: {failed}"
                ) from failed
            if not waited:
                self._telemetry.count(Metric.LIMIT_HITS, limit="queue_bytes_max")
            waited = True
            self._closing.wait(POLL_S)  # reports make room, or the spool takes it when it is late
        raise BrokerError(f"a record for {self._names[topic]} came after the sender was closed")

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

    def confirm_partitions(self) -> None:
        """Ask Kafka whether topics have as many partitions as we were told.

        Raises:
            BrokerError: they have not, or cannot be used.
        """
        found = self._ask_partitions()
        if found != self.partitions():
            raise BrokerError(
                f"topics have {found} partitions, and had {self.partitions()} when Kafka was last "
                "there: start producers again, records in the spool go to the right ones then"
            )

    def check(self) -> None:
        """Raise BrokerError if the producer has failed for good and the process must restart."""
        if error := self._fatal:
            raise BrokerError(f"the Kafka producer cannot go on, a restart mends it: {error}")
        for thread in self._threads:
            thread.check()

    def flush(self, timeout_s: float) -> int:
        """Wait until all queued records are reported; return how many are left."""
        return int(self._producer.flush(timeout_s))

    def close(self) -> None:
        """Stop; what was not flushed is in the spool, or lost and counted."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        if left := self._deliveries.close():
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
            self._producer.poll(REPORTS_S)

    def _tend(self) -> None:
        while not self._closing.wait(TEND_S):
            if self._partitions is not None:
                self._deliveries.tend(_now_ms())

    def _produce(self, outgoing: Outgoing, on_report: OnReport) -> None:
        def report(error: KafkaError | None, _: Message) -> None:
            on_report(_failed(KafkaException(error)) if error else None)

        try:
            self._producer.produce(
                self._names[outgoing.topic],
                outgoing.value,
                outgoing.key.encode(),
                partition_of(outgoing.cluster, self.partitions()),
                on_delivery=report,
                headers=list(outgoing.headers),
            )
        except KafkaException as error:
            raise _failed(error) from error

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error


def _failed(error: KafkaException) -> Failed:
    return Failed(error, forever=error.args[0].code() in REFUSED)


def _now_ms() -> int:
    return int(time.monotonic() * 1000)
