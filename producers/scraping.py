"""Scrape all targets on their ticks. In: targets, the clock. Out: every attempt as records.

The rule this file owns: one thread plans by event time; each target has a thread, so that one which
hangs holds up nobody, and beyond a maximum they share them; at most one scrape of a target is in
flight. Records of a target leave in the order of their ticks: a tick that passed while a slow
scrape ran is reported after that scrape, or its record would come too late.
"""

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from producers.checkpoint import Checkpoint, Removed
from producers.core.attempts import Attempt
from producers.core.schedule import Plan, due, plan
from producers.core.turns import IDLE, RUNNING, Turn, called
from producers.fetch import Endpoint
from producers.scrape import Scraped, Scraper
from producers.sending import Sender
from producers.supervised import Supervised
from schemas.clock import Clock
from schemas.errors import BrokerError
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import Settings, TargetSettings
from schemas.telemetry import Telemetry
from schemas.topics import Header, TopicName

SLEEP_MAX_S: Final = 0.2  # a rehearsal may change the speed of the clock at any moment
STOPPED: Final = "the producer stopped"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    """One target while it is scraped. `turn` is guarded by the lock."""

    target: Target
    settings: TargetSettings
    plan: Plan
    endpoint: Endpoint
    next_tick_ms: int
    turn: Turn = IDLE
    outcome: Outcome | None = None  # of the newest attempt; a change is news


class Scraping:
    """All targets of the configuration, scraped until `stop`."""

    def __init__(
        self, settings: Settings, sender: Sender, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._sender, self._clock, self._telemetry = sender, clock, telemetry
        self._scraper = Scraper(settings.producers, clock, telemetry)
        self._checkpoint = Checkpoint(settings.data)
        self._unsaved = False
        self._generation = uuid.uuid4().hex[:16]
        now_ms = clock.now_ms()
        self._watched = [
            _watched(cluster.target(target), target, now_ms)
            for cluster in settings.clusters
            for target in cluster.targets
        ]
        self._waiting: queue.SimpleQueue[_Watched | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        count = min(settings.producers.scrape_threads, len(self._watched))
        self._scheduler = Supervised("scrape-ticks", self._schedule, self._stopping)
        self._workers = [
            Supervised(f"scrape-{number}", self._work, self._stopping) for number in range(count)
        ]

    def start(self) -> None:
        """Report targets that were removed, and begin to scrape."""
        if len(self._workers) < len(self._watched):
            logger.warning(
                "targets share threads targets=%d scrape_threads=%d",
                len(self._watched),
                len(self._workers),
            )
        for removed in self._checkpoint.removed(one.target for one in self._watched):
            self._report_removed(removed)
        for thread in (*self._workers, self._scheduler):
            thread.start()

    def stop(self, *, wait_s: float) -> None:
        """Plan no more; give the scrapes in flight `wait_s` of wall time, then end them."""
        self._stopping.set()
        self._scheduler.join()
        for _ in self._workers:
            self._waiting.put(None)
        until_s = time.monotonic() + wait_s
        ended = [worker.join(max(0.0, until_s - time.monotonic())) for worker in self._workers]
        if not all(ended):
            for watched in self._watched:
                watched.endpoint.abort()
            for worker in self._workers:
                worker.join(max(0.1, until_s + 0.5 - time.monotonic()))
        for watched in self._watched:
            if not watched.turn.running:
                watched.endpoint.close()
        self._save()

    def check(self) -> None:
        """Raise what ended one of the threads before `stop` was called."""
        for thread in (self._scheduler, *self._workers):
            thread.check()

    def _save(self) -> None:
        """Save sequences; a full disk must not end scraping, numbers may then come twice."""
        try:
            self._checkpoint.save()
        except OSError as error:
            self._telemetry.count(Metric.ERRORS, kind="checkpoint")
            if not self._unsaved:
                logger.error("sequences not saved error=%s", error)
            self._unsaved = True
        else:
            self._unsaved = False

    def _schedule(self) -> None:
        while not self._stopping.is_set():
            now_ms = self._clock.now_ms()
            found = [(one, self._due(one, now_ms)) for one in self._watched]
            self._save()
            for watched, attempts in found:
                if attempts:
                    self._call(watched, attempts)
            self._stopping.wait(min(SLEEP_MAX_S, self._until_next_s()))

    def _until_next_s(self) -> float:
        next_ms = min((watched.next_tick_ms for watched in self._watched), default=0)
        return self._clock.wall_s(next_ms - self._clock.now_ms()) if next_ms else SLEEP_MAX_S

    def _due(self, watched: _Watched, now_ms: int) -> list[Attempt]:
        """Return the attempts of the ticks of one target that have come, numbered."""
        found = due(watched.plan, next_tick_ms=watched.next_tick_ms, now_ms=now_ms)
        watched.next_tick_ms = found.next_tick_ms
        return [self._attempt(watched, tick_ms) for tick_ms in found.ticks_ms]

    def _call(self, watched: _Watched, attempts: list[Attempt]) -> None:
        """Let a target wait for a thread, or take note that it waits or runs already."""
        with self._lock:
            before, watched.turn = watched.turn, called(watched.turn, attempts)
        if before.idle:
            self._waiting.put(watched)
        elif before.attempt:
            self._telemetry.count(Metric.LIMIT_HITS, limit="scrape_threads")

    def _attempt(self, watched: _Watched, tick_ms: int) -> Attempt:
        target, labels = watched.target, watched.settings.labels
        interval_ms = watched.plan.interval_ms
        sequence = self._checkpoint.next_sequence(target, labels, interval_ms)
        return Attempt(target, labels, tick_ms, interval_ms, sequence, self._generation)

    def _work(self) -> None:
        while watched := self._waiting.get():
            with self._lock:
                turn, watched.turn = watched.turn, RUNNING
            try:
                self._run(watched, turn)
            except Exception:  # a mistake of ours must not end the scraping of other targets
                self._telemetry.count(Metric.ERRORS, kind="scrape_crashed")
                logger.exception("scrape crashed target=%s", watched.target)
            self._land(watched)

    def _run(self, watched: _Watched, turn: Turn) -> None:
        self._skip(turn)
        if turn.attempt is None:
            raise AssertionError(f"{watched.target} waited for nothing")
        if self._stopping.is_set():
            scraped = self._scraper.unasked(turn.attempt, Outcome.SKIPPED, STOPPED)
        else:
            timeout_ms = watched.settings.timeout_s * 1000
            scraped = self._scraper.scrape(watched.endpoint, turn.attempt, timeout_ms)
        self._note(watched, scraped)
        self._send(turn.attempt, scraped)

    def _land(self, watched: _Watched) -> None:
        """Report the ticks that passed meanwhile, then allow the next scrape."""
        while True:
            with self._lock:
                turn, watched.turn = watched.turn, RUNNING if watched.turn.passed else IDLE
            if not turn.passed:
                return
            self._skip(turn)

    def _skip(self, turn: Turn) -> None:
        """Report the ticks that passed without a request."""
        for passed in turn.passed:
            scraped = self._scraper.unasked(passed.attempt, Outcome.SKIPPED, passed.reason)
            self._send(passed.attempt, scraped)

    def _note(self, watched: _Watched, scraped: Scraped) -> None:
        outcome = scraped.verdict.outcome
        if outcome is not watched.outcome:
            watched.outcome = outcome
            level = logging.INFO if outcome is Outcome.OK else logging.WARNING
            reason = scraped.verdict.reason
            logger.log(level, "target=%s outcome=%s reason=%s", watched.target, outcome, reason)

    def _report_removed(self, removed: Removed) -> None:
        target, known = removed.target, removed.known
        sequence = self._checkpoint.next_sequence(target, known.labels, known.interval_ms)
        self._save()
        now_ms = self._clock.now_ms()
        attempt = Attempt(
            target, known.labels, now_ms, known.interval_ms, sequence, self._generation
        )
        scraped = self._scraper.unasked(attempt, Outcome.REMOVED, "no longer configured")

        def forget(error: Exception | None) -> None:
            if error is None:
                self._checkpoint.forget(target)

        logger.info("target=%s outcome=%s", target, Outcome.REMOVED)
        self._send(attempt, scraped, forget)

    def _send(
        self,
        attempt: Attempt,
        scraped: Scraped,
        on_delivery: Callable[[Exception | None], None] | None = None,
    ) -> None:
        try:
            for chunk in scraped.chunks:
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


def _watched(target: Target, settings: TargetSettings, now_ms: int) -> _Watched:
    planned = plan(target, round(settings.interval_s * 1000))
    return _Watched(target, settings, planned, Endpoint(settings), planned.next_tick_ms(now_ms))
