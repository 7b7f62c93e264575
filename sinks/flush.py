"""Write batches. In: a batch of decoded records. Out: rows in ClickHouse, each exactly once.

The rule this file owns: dead letters are acknowledged by Kafka first, then the wide tables are
written, `records` last; an insert whose outcome is unknown is sent again with the same bytes and
the same token. When that does not help, the caller drops everything and starts from the tables.

A flush must not outlive the membership of the group that it was read under: another process begins
where the tables end, and both would write the same rows. So no insert starts after FLUSH_S_MAX, and
a consumer is a member for longer than that without a poll. What is left: on a server that several
sinks share, a process that is stopped in mid-flush (SIGSTOP, a paused machine) for longer than the
group's session, and not for longer than FLUSH_S_MAX, goes on with inserts of a flush that is no
longer its own. Until inserts carry a fence, its rows may be there twice; `verify` finds them.
"""

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import Final, Protocol

import pyarrow as pa
from confluent_kafka import KafkaException, Producer

from schemas.clock import wall_ms
from schemas.dead_letters import DeadLetter
from schemas.errors import SinkRetry
from schemas.kafka import RECORD_BYTES_MAX, ClientSettings, producer_settings
from schemas.metrics import Metric
from schemas.telemetry import Telemetry
from sinks.core.batching import Batch, Insert
from sinks.fault import AFTER_RECORDS, BEFORE_RECORDS, BETWEEN_INSERTS, Faults
from sinks.store import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S

log = logging.getLogger(__name__)

ATTEMPTS_MAX: Final = 5
RETRY_S_MAX: Final = 10.0
ACKNOWLEDGED_S_MAX: Final = 30.0
FLUSH_S_MAX: Final = 120.0
"""No insert starts later, counted from the beginning of a flush."""
MEMBER_S: Final = FLUSH_S_MAX + CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S + 60.0
"""How long a consumer stays a member without a poll: for the longest flush, and a minute."""
DEAD_LETTER_BYTES: Final = 90_000
"""Room for the headers of a dead letter whose value is as large as a record may be."""


class Inserter(Protocol):
    """What a flush needs of a store."""

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """Store all rows or none."""


class Flusher:
    """Writes batches into one store, on the thread of that store."""

    def __init__(
        self,
        store: Inserter,
        dead_letters: "DeadLetters",
        telemetry: Telemetry,
        stopping: Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._dead_letters = store, dead_letters
        self._telemetry, self._stopping, self._clock = telemetry, stopping, clock
        self._faults = Faults()

    def flush(self, batch: Batch, cause: str) -> None:
        """Store `batch`.

        Raises:
            SinkRetry: Kafka or ClickHouse did not confirm in time; some of it may be stored.
            SinkRefused: ClickHouse will never take it.
        """
        began_s = self._clock()
        self._dead_letters.acknowledged()
        *wide, records = batch.inserts(stored_ms=wall_ms())
        for done, insert in enumerate(wide):
            if done:
                self._faults.at(BETWEEN_INSERTS)
            self._insert(insert, began_s)
        self._faults.at(BEFORE_RECORDS)
        self._insert(records, began_s)
        self._faults.at(AFTER_RECORDS)
        self._telemetry.count(Metric.FLUSHES, cause=cause)
        self._telemetry.observe(Metric.BATCH_DURATION, self._clock() - began_s)

    def _insert(self, insert: Insert, began_s: float) -> None:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            if self._clock() - began_s > FLUSH_S_MAX:
                raise SinkRetry(f"a flush took more than {FLUSH_S_MAX:.0f} s", retry_after_s=1.0)
            try:
                self._store.insert(insert.table, insert.rows, token=insert.token)
                break
            except SinkRetry as error:
                self._telemetry.count(Metric.ERRORS, kind="SinkRetry")
                if attempt == ATTEMPTS_MAX or self._stopping.is_set():
                    raise
                log.warning("insert not confirmed attempt=%d error=%s", attempt, error)
                self._stopping.wait(min(RETRY_S_MAX, error.retry_after_s * 2 ** (attempt - 1)))
        self._telemetry.count(Metric.ROWS_INSERTED, insert.rows.num_rows, table=insert.table)


class DeadLetters:
    """Writes to the topic of dead letters; the producer starts with the first one."""

    def __init__(
        self,
        topic: str,
        settings: ClientSettings,
        telemetry: Telemetry,
        produce: Callable[[ClientSettings], Producer] = Producer,
    ) -> None:
        self._topic, self._settings, self._telemetry = topic, settings, telemetry
        self._produce = produce
        self._producer: Producer | None = None
        self._failed: list[str] = []

    def send(self, letter: DeadLetter, *, origin: str) -> None:
        """Send a dead letter; `acknowledged` waits for it."""
        if self._producer is None:
            settings = producer_settings(self._settings, "planewatch-sinks", 16_000_000)
            settings["message.max.bytes"] = RECORD_BYTES_MAX + DEAD_LETTER_BYTES
            self._producer = self._produce(settings)
        try:
            self._write(letter)
        except BufferError:  # the queue is full of dead letters: wait until Kafka has them
            self.acknowledged()
            self._write(letter)
        self._telemetry.count(Metric.DEAD_LETTERS, topic=origin)

    def acknowledged(self) -> None:
        """Return when Kafka has every dead letter.

        Raises:
            SinkRetry: it does not.
        """
        if self._producer is None:
            return
        left = self._producer.flush(ACKNOWLEDGED_S_MAX)
        failed, self._failed = self._failed, []
        if left or failed:
            why = failed[0] if failed else f"no answer within {ACKNOWLEDGED_S_MAX:.0f} s"
            raise SinkRetry(f"{left + len(failed)} dead letters: {why}", retry_after_s=1.0)

    def _write(self, letter: DeadLetter) -> None:
        assert self._producer is not None
        try:
            self._producer.produce(
                self._topic,
                value=letter.value,
                key=letter.key,
                partition=letter.partition,
                headers=list(letter.headers),
                on_delivery=self._delivered,
            )
        except KafkaException as error:
            raise SinkRetry(f"dead letters: {error}", retry_after_s=1.0) from error

    def _delivered(self, error: object, message: object) -> None:
        if error is not None:
            self._failed.append(str(error))
