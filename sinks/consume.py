"""Read Kafka into ClickHouse. In: the topics that sinks read. Out: rows, each exactly once.

The rule this file owns: reading begins where the tables end, and whatever goes wrong ends in the
same place: drop what is in memory, start again from the tables. An embedded engine has one writer
by its file lock, which takes all partitions; sinks that share a server share a group.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from schemas import run
from schemas.clock import wall_ms
from schemas.dead_letters import ERROR_CHARS_MAX, dead_letter
from schemas.errors import BrokerError, DecodeError, SinkRefused, SinkRetry
from schemas.kafka import consumer_settings
from schemas.metrics import Metric
from schemas.run import Broker
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from schemas.topics import TopicName
from schemas.undecodable import WINDOW, Undecodable
from sinks.core.batching import Batch, Limits
from sinks.core.messages import Decoded, Fate, Message, coordinate
from sinks.core.rows import decode_message
from sinks.engine import address
from sinks.flush import MEMBER_S, DeadLetters, Flusher
from sinks.kafka import ANSWER_S_MAX, Topics, base_settings, find_topics
from sinks.positions import next_offsets, note_gap, source_numbers, stored
from sinks.store import Store

log = logging.getLogger(__name__)

POLL_S: Final = 0.1
RESTART_S_MAX: Final = 30.0
HEALTHY_S: Final = 60.0

Place = tuple[str, int]
"""A partition of a topic, as librdkafka names it."""


class Restart(Exception):
    """What is in memory is worthless; start again from the tables."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a sinks process is made of. `on_ready` is called each time that reading begins."""

    settings: Settings
    telemetry: Telemetry
    stopping: Event
    on_ready: Callable[[], None]


def consume(stage: Stage) -> None:
    """Store records until the stage is stopping.

    Raises:
        SinkRefused, BrokerError, ConfigError: an operator must act.
    """
    delay_s = 1.0
    while not stage.stopping.is_set():
        began_s = time.monotonic()
        try:
            _session(stage)
        except BrokerError:
            if not stage.stopping.is_set():
                raise
        except (Restart, SinkRetry, KafkaException) as error:
            stage.telemetry.count(Metric.ERRORS, kind=type(error).__name__)
            if time.monotonic() - began_s > HEALTHY_S:
                delay_s = 1.0
            log.warning("starting again from the tables in_s=%.0f error=%s", delay_s, error)
            stage.stopping.wait(delay_s)
            delay_s = min(RESTART_S_MAX, delay_s * 2)


def _session(stage: Stage) -> None:
    broker = run.broker(stage.settings)
    topics = find_topics(stage.settings, broker, stage.stopping)
    store = Store.open(stage.settings)
    try:
        session = Session(stage, broker, topics, store)
        try:
            session.read()
        finally:
            session.close()
    finally:
        store.close()


class Session:
    """One life of a consumer. It ends with the first thing that goes wrong."""

    def __init__(self, stage: Stage, broker: Broker, topics: Topics, store: Store) -> None:
        settings = stage.settings
        limits = settings.sinks
        self._telemetry, self._stopping = stage.telemetry, stage.stopping
        self._on_ready = stage.on_ready
        self._alone = address(settings).folder is not None
        self._topics, self._store = topics, store
        self._short = {topic: name for name, topic in topics.names.items()}
        self._sources = source_numbers(store, topics.identities.values())
        self._limits = Limits(
            limits.flush_rows_max, limits.flush_bytes_max, int(limits.flush_age_s * 1000)
        )
        self._undecodable = Undecodable(limits.undecodable_share_max)
        base = base_settings(settings, broker)
        self._dead_letters = DeadLetters(
            topics.names[TopicName.DEAD_LETTERS], base, stage.telemetry
        )
        self._flusher = Flusher(store, self._dead_letters, stage.telemetry, stage.stopping)
        self._told: set[TopicName] = set()
        self._forget()
        self._consumer = Consumer(
            {
                **consumer_settings(base, "planewatch-sinks", limits.queue_bytes_max),
                "group.id": f"{settings.kafka.prefix}-sinks",
                "partition.assignment.strategy": "range",  # partition n of all topics goes together
                "session.timeout.ms": 10_000,
                "max.poll.interval.ms": int(MEMBER_S * 1000),
                "enable.partition.eof": False,
            },
            logger=log,
        )

    def read(self) -> None:
        """Read, decode and flush until told to stop; then flush what is there."""
        if self._alone:
            places = [
                TopicPartition(topic, partition)
                for topic in self._topics.names.values()
                for partition in range(self._topics.partitions)
            ]
            self._assigned(self._consumer, places)
        else:
            self._consumer.subscribe(
                [*self._topics.names.values()],
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
        while not self._stopping.is_set():
            found = self._consumer.poll(POLL_S)
            if found is not None:
                self._take(found)
            if cause := self._batch.due(wall_ms()):
                self._flush(cause)
        self._flush("stop")

    def close(self) -> None:
        """Leave the group; what was not flushed is read again by whoever comes next."""
        self._forget()
        self._consumer.close()

    def _forget(self) -> None:
        self._batch = Batch(self._limits)
        self._expected: dict[Place, int] = {}
        self._coordinates: dict[Place, int] = {}

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Begin where the tables end."""
        self._forget()
        self._store.settle()
        self._coordinates = {
            (place.topic, place.partition): coordinate(
                self._sources[self._topics.identities[self._short[place.topic]]], place.partition
            )
            for place in places
        }
        ps = [*self._coordinates.values()]
        wanted = next_offsets(self._store, ps)
        self._stored = stored(self._store, ps)
        for place in places:
            p = self._coordinates[place.topic, place.partition]
            place.offset = self._begin(place, p, wanted.get(p))
            self._expected[place.topic, place.partition] = place.offset
        consumer.assign(places)
        log.info("reading partitions=%d alone=%s known=%d", len(places), self._alone, len(wanted))
        self._on_ready()

    def _begin(self, place: TopicPartition, p: int, wanted: int | None) -> int:
        """Return the offset to begin at; what Kafka does not have any more is written down."""
        low, high = self._consumer.get_watermark_offsets(place, timeout=ANSWER_S_MAX)
        where = f"{place.topic}[{place.partition}]"
        if wanted is None:
            return int(low)
        if wanted > high:
            raise SinkRefused(
                f"{where} ends at {high}, but {wanted} records of it are stored: Kafka lost "
                f"records it had acknowledged; make the topic again (it gets a new id), or use "
                f"another database"
            )
        if wanted < low:
            name = self._short[place.topic]
            note_gap(self._store, name, p, begin=wanted, end=low, now_ms=wall_ms())
            self._telemetry.count(Metric.RECORDS_DROPPED, low - wanted, reason="retention")
            log.error(
                "records lost topic=%s offsets=%d..%d: raise the retention of the topic, "
                "or keep sinks running",
                where,
                wanted,
                low - 1,
            )
            return int(low)
        return wanted

    def _revoked(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Flush before another process begins where the tables end."""
        try:
            self._flush("revoke")
        except SinkRetry as error:
            log.warning("dropped unflushed records=%d error=%s", len(self._batch), error)
        self._forget()

    def _lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Another process may already write what we hold: drop it."""
        log.warning("lost partitions=%d dropped_records=%d", len(places), len(self._batch))
        self._forget()

    def _take(self, found: KafkaMessage) -> None:
        if (error := found.error()) is not None:
            raise Restart(_reason(error))
        topic, partition, offset = found.topic(), found.partition(), found.offset()
        assert topic is not None and partition is not None and offset is not None
        place = (topic, partition)
        if offset < self._expected.get(place, offset + 1):
            self._telemetry.count(Metric.RECORDS_DROPPED, reason="not_ours_or_stored")
            return
        message = self._message(found, place, offset)
        self._batch.add(message, self._decode(found, message), self._stored, now_ms=wall_ms())
        self._expected[place] = offset + 1
        self._telemetry.count(Metric.RECORDS_RECEIVED, topic=message.topic)

    def _message(self, found: KafkaMessage, place: Place, offset: int) -> Message:
        return Message(
            topic=self._short[place[0]],
            p=self._coordinates[place],
            offset=offset,
            ts_ms=found.timestamp()[1],
            key=_bytes(found.key()),
            value=_bytes(found.value()),
            headers=dict(_headers(found)),
        )

    def _decode(self, found: KafkaMessage, message: Message) -> Decoded:
        """Return the rows of a record; one that cannot be read becomes a dead letter."""
        try:
            decoded = decode_message(message)
        except DecodeError as error:
            topic, partition = found.topic() or "", found.partition() or 0
            where = f"{topic}[{partition}]@{message.offset}"
            if message.topic not in self._told:  # the first of a topic; the table has them all
                self._told.add(message.topic)
                log.warning("undecodable record=%s error=%s", where, error)
            if self._undecodable.note(message.topic, bad=True):
                raise SinkRefused(
                    f"too many of the last {WINDOW} records of {topic} cannot be read, the newest "
                    f"is {where}: {error}; mend the sender, or raise sinks.undecodable_share_max"
                ) from error
            letter = dead_letter(
                message.value,
                error,
                topic=topic,
                partition=partition,
                offset=message.offset,
                key=message.key,
                stage="sinks",
            )
            self._dead_letters.send(letter, origin=message.topic)
            cluster = letter.key.split(b"/", 1)[0].decode()
            return Decoded(cluster, Fate.UNDECODABLE, {}, str(error)[:ERROR_CHARS_MAX])
        self._undecodable.note(message.topic, bad=False)
        return decoded

    def _flush(self, cause: str) -> None:
        if not len(self._batch):
            return
        batch = self._batch
        self._flusher.flush(batch, cause)
        self._batch = Batch(self._limits)
        now_ms = wall_ms()
        for topic, newest_ms in batch.newest_ms().items():
            self._telemetry.set(Metric.LAG, max(0, now_ms - newest_ms) / 1000, topic=topic)
        self._commit(batch.next_offsets())

    def _commit(self, offsets: dict[int, int]) -> None:
        """Tell lag tools how far we are; nothing here reads it."""
        places = {p: place for place, p in self._coordinates.items()}
        committed = [
            TopicPartition(*places[p], offset) for p, offset in offsets.items() if p in places
        ]
        try:
            self._consumer.commit(offsets=committed, asynchronous=True)
        except KafkaException as error:
            log.debug("offsets not committed error=%s", error)


def _headers(found: KafkaMessage) -> Iterator[tuple[str, bytes]]:
    headers = found.headers() or []
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        yield name, _bytes(value) or b""


def _bytes(found: str | bytes | None) -> bytes | None:
    return found.encode() if isinstance(found, str) else found


def _reason(error: KafkaError) -> str:
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        return f"records left Kafka before they were read: {error.str()}"
    return str(error.str())
