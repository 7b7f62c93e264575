"""Report attempts. In: targets and how their scrapes ended. Out: numbered records in `scrapes`.

The rule this file owns: an attempt has its number before it begins, and that number is on disk; one
without a request is reported like any other. A removal is reported once, and again only where Kafka
did not take the record of it.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping

from producers.checkpoint import Checkpoint
from producers.core.attempts import Attempt
from producers.core.chunks import Chunk
from producers.core.turns import Turn
from producers.scrape import Scraper
from producers.sending import Sender
from schemas.errors import BrokerError
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.records import Outcome, ScrapeEnvelope
from schemas.telemetry import Telemetry
from schemas.topics import Header, TopicName

logger = logging.getLogger(__name__)


class Reports:
    """The records of all targets; any thread may report."""

    def __init__(
        self, checkpoint: Checkpoint, scraper: Scraper, sender: Sender, telemetry: Telemetry
    ) -> None:
        self._checkpoint, self._scraper = checkpoint, scraper
        self._sender, self._telemetry = sender, telemetry
        self._generation = uuid.uuid4().hex[:16]
        self._unsaved = False
        self._lock = threading.Lock()
        self._removing: set[Target] = set()  # on their way to Kafka

    def attempt(
        self,
        target: Target,
        labels: Mapping[str, str],
        tick_ms: int,
        interval_ms: int,
        *,
        behind: tuple[str, int] = ("", 0),
    ) -> Attempt:
        """Return the next attempt of a target; call `save` before it begins.

        behind: instance of the address that a process shares, and when that started in ms.
        """
        sequence = self._checkpoint.next_sequence(target, dict(labels), interval_ms, behind)
        return Attempt(target, labels, tick_ms, interval_ms, sequence, self._generation)

    def save(self) -> None:
        """Save numbers; a full disk must not end scraping, they may then come twice."""
        try:
            self._checkpoint.save()
        except OSError as error:
            self._telemetry.count(Metric.ERRORS, kind="checkpoint")
            if not self._unsaved:
                logger.error("sequences not saved error=%s", error)
            self._unsaved = True
        else:
            self._unsaved = False

    def unwatched(self, watched: Iterable[Target]) -> list[Target]:
        """Return the targets that have numbers, are not `watched` and not reported as removed."""
        with self._lock:
            reported = set(self._removing)
        return [one for one in self._checkpoint.removed(watched) if one not in reported]

    def skip(self, turn: Turn) -> None:
        """Report the ticks that passed without a request."""
        for passed in turn.passed:
            self.send(
                passed.attempt,
                self._scraper.unasked(passed.attempt, Outcome.SKIPPED, passed.reason).chunks,
            )

    def remove(self, target: Target, reason: str, now_ms: int) -> None:
        """Report that a target was removed, and forget it once Kafka has that."""
        known = self._checkpoint.known(target)
        if known is None:  # it never came to a tick
            return
        attempt = self.attempt(target, known.labels, now_ms, known.interval_ms)
        self.save()
        with self._lock:
            self._removing.add(target)

        def settle(error: Exception | None) -> None:
            if error is None:
                self._checkpoint.forget(target, attempt.sequence)
            with self._lock:
                self._removing.discard(target)

        logger.info("target=%s outcome=%s reason=%s", target, Outcome.REMOVED, reason)
        removed = self._scraper.unasked(attempt, Outcome.REMOVED, reason)
        self.send(attempt, removed.chunks, settle)

    def send(
        self,
        attempt: Attempt,
        chunks: list[Chunk],
        on_delivery: Callable[[Exception | None], None] | None = None,
    ) -> None:
        """Hand the records of one attempt to Kafka."""
        try:
            for chunk in chunks:
                self._sender.send(
                    TopicName.SCRAPES,
                    cluster=attempt.target.cluster,
                    key=attempt.target.key,
                    value=chunk.value,
                    headers=_headers(chunk.envelope),
                    on_delivery=on_delivery,
                )
        except BrokerError as error:
            self._telemetry.count(Metric.RECORDS_DROPPED, reason="not_queued")
            logger.error("record lost target=%s error=%s", attempt.target, error)


def _headers(envelope: ScrapeEnvelope) -> list[tuple[str, bytes]]:
    return [
        (Header.LAYOUT, f"{envelope.layout:016x}".encode()),
        (Header.CHUNK, f"{envelope.chunk}/{envelope.chunks}".encode()),
        (Header.TICK_MS, str(envelope.tick_ms).encode()),
        (Header.OUTCOME, envelope.outcome.encode()),
    ]
