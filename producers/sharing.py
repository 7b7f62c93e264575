"""Share clusters with other processes. In: the partitions of `targets` that a consumer group gives
us. Out: the clusters on them, observed by us and nobody else.

The rule this file owns: one owner a partition. An owner ends its clusters before it lets a
partition go, and tells in `targets` what the next one goes on with; the next one reads that first,
and begins when Kafka has its own word. All of it is in Kafka, so clusters change hands while their
API servers are down.
"""

import logging
import threading
import time
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from producers.cluster_files import ClusterFiles
from producers.core import ownership
from producers.core.handover import TARGETS, Handover, adopted, decode, encode
from producers.observation import Observation
from producers.sending import Sender
from producers.supervised import Supervised
from schemas.clock import Clock
from schemas.errors import BrokerError, DecodeError
from schemas.kafka import ClientSettings, consumer_settings, producer_settings
from schemas.metrics import Metric
from schemas.partition import partition_of
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from schemas.topics import TopicName, full_name

CLIENT_ID: Final = "planewatch-producers-targets"
SESSION_S: Final = 10.0  # after so long without a word from its owner a cluster gets another
POLL_S: Final = 0.2
PUBLISH_S: Final = 30.0
PUBLISH_TIMEOUT_S: Final = 5.0
LAST_FLUSH_S: Final = 0.8
QUEUE_BYTES_MAX: Final = 16_000_000
FORBIDDEN: Final = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
)

logger = logging.getLogger(__name__)


class Sharing:
    """Our share of the configured clusters, from `start` to `stop`."""

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        *,
        kafka: ClientSettings,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """Join nothing yet. `kafka`: address, TLS and SASL.

        Raises:
            ConfigError: the data folder cannot be used.
        """
        self._settings, self._sender = settings, sender
        self._clock, self._telemetry = clock, telemetry
        self._files = ClusterFiles(settings.data / "producers")
        self._topic = full_name(TopicName.TARGETS, settings.kafka.prefix)
        self._consumer = Consumer(_group(kafka, settings.kafka.prefix), logger=logger)
        publishing = producer_settings(kafka, CLIENT_ID, QUEUE_BYTES_MAX)
        publishing["delivery.timeout.ms"] = round(PUBLISH_TIMEOUT_S * 1000)
        self._producer = Producer(publishing, logger=logger)
        self._owned = ownership.Owned()
        self._told: dict[int, dict[str, Handover]] = {}  # by partition and cluster
        self._read: set[int] = set()  # partitions of which we know all that was told
        self._new: set[int] = set()  # given to us, and not looked at since
        self._observed: dict[int, Observation] = {}
        self._published_s: dict[int, float] = {}
        self._stopping = threading.Event()
        self._thread = Supervised("targets-group", self._run, self._stopping)

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def check(self) -> None:
        """Raise what ended it, or a part of what it observes, before `stop` was called."""
        self._thread.check()
        for one in list(self._observed.values()):
            one.check()

    def stop(self) -> None:
        """End what is observed, and leave the group, so that others need not wait."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        self._consumer.subscribe(
            [self._topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        try:
            while not self._stopping.is_set():
                if message := self._consumer.poll(POLL_S):
                    self._hear(message)
                self._end(self._observed.keys() - self._owned.observed)  # others have them
                for partition in sorted(self._owned.sure & self._read):
                    self._tend(partition)
        finally:
            self._end(self._observed.keys() & self._owned.unsure)
            self._end(set(self._observed), hand_over=True)
            self._consumer.close()

    # --- the group; its callbacks come within `poll` and `close` ---

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [one.partition for one in partitions]
        self._owned = ownership.assigned(self._owned, numbers)
        for number in numbers:  # read from the beginning, whatever we knew
            self._told[number] = {}
            self._read.discard(number)
            self._new.add(number)
        logger.info("clusters of partitions=%s are ours", sorted(self._owned.sure))

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = {one.partition for one in partitions}
        self._owned = ownership.revoked(self._owned, numbers)
        self._end(numbers & self._observed.keys(), hand_over=True)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._owned = ownership.lost(self._owned, (one.partition for one in partitions))
        logger.warning("lost touch with the group; going on with what was ours")

    def _hear(self, message: Message) -> None:
        """Take note of what an owner told."""
        partition, error = message.partition() or 0, message.error()
        if error and error.code() == KafkaError._PARTITION_EOF:
            self._read.add(partition)
        elif error and (error.fatal() or error.code() in FORBIDDEN):
            raise BrokerError(f"cannot share clusters by {self._topic}: {error}")
        elif error:
            self._telemetry.count(Metric.ERRORS, kind="targets_group")
            logger.warning("group of %s error=%s", self._topic, error)
        else:
            self._note(partition, message)

    def _note(self, partition: int, message: Message) -> None:
        cluster, value = (message.key() or b"").decode(errors="replace"), message.value()
        told = self._told.setdefault(partition, {})
        if value is None:
            told.pop(cluster, None)
            return
        try:
            told[cluster] = decode(value)
        except DecodeError as error:
            self._telemetry.count(Metric.ERRORS, kind="handover")
            logger.warning("cluster=%s begins anew offset=%s: %s", cluster, message.offset(), error)

    # --- clusters ---

    def _is_on(self, cluster: str, partition: int) -> bool:
        return partition_of(cluster, self._sender.partitions()) == partition

    def _clusters_on(self, partition: int) -> set[str]:
        """Return the clusters of a partition, also those that only others know."""
        configured = {one.id for one in self._settings.clusters}
        known = configured | self._told.get(partition, {}).keys()
        return {one for one in known if self._is_on(one, partition)}

    def _tend(self, partition: int) -> None:
        """Begin what is ours and not observed yet; tell others how far it is."""
        if not self._clusters_on(partition):
            return
        if partition in self._new:
            self._settle(partition)
            self._new.discard(partition)
        begins = partition not in self._observed
        if not begins and time.monotonic() - self._published_s[partition] < PUBLISH_S:
            return
        if self._publish(partition, final=False, timeout_s=PUBLISH_TIMEOUT_S) and begins:
            self._begin(partition)

    def _settle(self, partition: int) -> None:
        """Go on where the owner before us ended, though we may have gone on ourselves meanwhile."""
        told = self._told[partition].items()
        foreign = [(cluster, one) for cluster, one in told if one.owner != self._files.owner]
        if foreign:
            self._end({partition} & self._observed.keys())
        for cluster, handover in foreign:
            self._files.adopt(cluster, adopted(handover, self._clock.now_ms()))

    def _begin(self, partition: int) -> None:
        ours = [one for one in self._settings.clusters if self._is_on(one.id, partition)]
        observation = Observation(
            self._settings.model_copy(update={"clusters": ours}),
            self._sender,
            clock=self._clock,
            telemetry=self._telemetry,
            owns=lambda cluster: self._is_on(cluster, partition),
        )
        self._observed[partition] = observation
        observation.start()
        self._count()

    def _end(self, partitions: Set[int], *, hand_over: bool = False) -> None:
        """End what is observed on partitions, all at the same time.

        `hand_over`: they are still ours, so ours is the last word on where they stand.
        """
        if not partitions:
            return
        observations = [self._observed[one] for one in partitions]
        with ThreadPoolExecutor(len(observations)) as pool:
            list(pool.map(Observation.stop, observations))
        self._sender.flush(LAST_FLUSH_S)  # or the records of the next owner come before ours
        for partition in partitions:
            del self._observed[partition]
            if hand_over:
                self._publish(partition, final=True, timeout_s=LAST_FLUSH_S)
        self._count()

    def _count(self) -> None:
        ids = [one.id for one in self._settings.clusters]
        ours = sum(self._is_on(one, number) for one in ids for number in self._observed)
        self._telemetry.set(Metric.CLUSTERS, ours)

    def _publish(self, partition: int, *, final: bool, timeout_s: float) -> bool:
        """Tell what the next owner goes on with; return whether Kafka has it."""
        self._published_s[partition] = time.monotonic()
        configured = {one.id for one in self._settings.clusters}
        for cluster in sorted(self._clusters_on(partition)):
            files, value = self._files.read(cluster), None
            if cluster in configured or TARGETS in files:
                value = encode(Handover(owner=self._files.owner, final=final, files=files))
            # Else it left the configuration, and all its removals are on record: forget it.
            self._producer.produce(self._topic, value, cluster.encode(), partition)
        left = self._producer.flush(timeout_s)
        if left:
            self._producer.purge()
            logger.warning("handovers not published partition=%d count=%d", partition, left)
        return not left


def _group(base: ClientSettings, prefix: str) -> ClientSettings:
    return consumer_settings(base, CLIENT_ID, QUEUE_BYTES_MAX) | {
        "group.id": f"{prefix}-producers",
        "auto.offset.reset": "earliest",  # nothing is committed: all of a partition is read
        "enable.partition.eof": True,
        "partition.assignment.strategy": "cooperative-sticky",  # moves as few as it can
        "session.timeout.ms": round(SESSION_S * 1000),
        "heartbeat.interval.ms": round(SESSION_S * 1000 / 4),
    }
