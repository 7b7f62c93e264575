"""Write batches. In: a batch of decoded records. Out: rows in ClickHouse, each exactly once.

The rule this file owns: dead letters are acknowledged by Kafka first, then the wide tables are
written, `records` last; an insert whose outcome is unknown is sent again with the same bytes and
the same token. When that does not help, the caller drops everything and starts from the tables.
"""

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import Final

from confluent_kafka import KafkaException, Producer

from schemas.clock import wall_ms
from schemas.dead_letters import DeadLetter
from schemas.errors import SinkRetry
from schemas.kafka import RECORD_BYTES_MAX, ClientSettings, producer_settings
from schemas.metrics import Metric
from schemas.telemetry import Telemetry
from sinks.core.batching import Batch, Insert
from sinks.fault import AFTER_RECORDS, BEFORE_RECORDS, BETWEEN_INSERTS, Faults
from sinks.store import Store

log = logging.getLogger(__name__)

ATTEMPTS_MAX: Final = 5
RETRY_S_MAX: Final = 10.0
ACKNOWLEDGED_S_MAX: Final = 30.0
DEAD_LETTER_BYTES: Final = 90_000
"""Room for the headers of a dead letter whose value is as large as a record may be."""


class Flusher:
    """Writes batches into one store, on the thread of that store."""

    def __init__(
        self, store: Store, dead_letters: "DeadLetters", telemetry: Telemetry, stopping: Event
    ) -> None:
        self._store, self._dead_letters = store, dead_letters
        self._telemetry, self._stopping = telemetry, stopping
        self._faults = Faults()

    def flush(self, batch: Batch, cause: str) -> None:
        """Store `batch`.

        Raises:
            SinkRetry: Kafka or ClickHouse did not confirm in time; some of it may be stored.
            SinkRefused: ClickHouse will never take it.
        """
        began_s = time.monotonic()
        self._dead_letters.acknowledged()
        *wide, records = batch.inserts(stored_ms=wall_ms())
        for done, insert in enumerate(wide):
            if done:
                self._faults.at(BETWEEN_INSERTS)
            self._insert(insert)
        self._faults.at(BEFORE_RECORDS)
        self._insert(records)
        self._faults.at(AFTER_RECORDS)
        self._telemetry.count(Metric.FLUSHES, cause=cause)
        self._telemetry.observe(Metric.BATCH_DURATION, time.monotonic() - began_s)

    def _insert(self, insert: Insert) -> None:
        for attempt in range(1, ATTEMPTS_MAX + 1):
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
