"""Scrape all targets on their ticks. In: targets, the clock. Out: every attempt as records.

The rule this file owns: one thread plans by event time, a bounded pool scrapes, and at most one
scrape of a target is in flight. Records of a target leave in the order of their ticks: a tick that
passed while a slow scrape ran is reported after that scrape, or its record would come too late.
"""

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from producers.checkpoint import Checkpoint, Removed
from producers.core.attempts import Attempt
from producers.core.schedule import Plan, due, plan
from producers.fetch import Endpoint
from producers.scrape import Scraped, Scraper
from producers.sending import Sender
from schemas.clock import Clock
from schemas.errors import BrokerError
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import Settings, TargetSettings
from schemas.telemetry import Telemetry
from schemas.topics import Header, TopicName

SLEEP_MAX_S: Final = 0.2  # a rehearsal may change the speed of the clock at any moment
BUSY: Final = "the scrape before it still ran"
PAUSED: Final = "the producer was held up"
STOPPED: Final = "the producer stopped"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    """One target while it is scraped. `in_flight` and `passed` are guarded by the lock."""

    target: Target
    settings: TargetSettings
    plan: Plan
    endpoint: Endpoint
    next_tick_ms: int
    in_flight: bool = False
    passed: list[Attempt] = field(default_factory=list)  # ticks that passed during the scrape
    outcome: Outcome | None = None  # of the newest attempt; a change is news


@dataclass(frozen=True, slots=True)
class _Job:
    watched: _Watched
    passed: Sequence[Attempt]  # to be reported before
    attempt: Attempt


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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        count = min(settings.producers.scrape_threads, len(self._watched))
        self._scheduler = _thread("scrape-ticks", self._schedule)
        self._workers = [_thread(f"scrape-{number}", self._work) for number in range(count)]

    def start(self) -> None:
        """Report targets that were removed, and begin to scrape."""
        for removed in self._checkpoint.removed(one.target for one in self._watched):
            self._report_removed(removed)
        for thread in (*self._workers, self._scheduler):
            thread.start()

    def stop(self, *, wait_s: float) -> None:
        """Plan no more; give the scrapes in flight `wait_s` of wall time, then end them."""
        self._stopping.set()
        self._scheduler.join()
        for _ in self._workers:
            self._jobs.put(None)
        until_s = time.monotonic() + wait_s
        for worker in self._workers:
            worker.join(max(0.0, until_s - time.monotonic()))
        if any(worker.is_alive() for worker in self._workers):
            for watched in self._watched:
                watched.endpoint.abort()
            for worker in self._workers:
                worker.join(max(0.1, until_s + 0.5 - time.monotonic()))
        for watched in self._watched:
            if not watched.in_flight:
                watched.endpoint.close()
        self._save()

    def check(self) -> None:
        """Raise AssertionError if nobody plans any more, which only a mistake of ours can cause."""
        if not self._stopping.is_set() and not self._scheduler.is_alive():
            raise AssertionError("the thread that plans scrapes has ended")

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
            ready = [one for one in self._watched if one.next_tick_ms <= now_ms]
            jobs = [job for watched in ready if (job := self._due(watched, now_ms))]
            self._save()
            for job in jobs:
                self._jobs.put(job)
            self._stopping.wait(min(SLEEP_MAX_S, self._until_next_s()))

    def _until_next_s(self) -> float:
        next_ms = min((watched.next_tick_ms for watched in self._watched), default=0)
        return self._clock.wall_s(next_ms - self._clock.now_ms()) if next_ms else SLEEP_MAX_S

    def _due(self, watched: _Watched, now_ms: int) -> _Job | None:
        """Take note of the ticks of one target; return what is to be scraped now."""
        with self._lock:
            found = due(
                watched.plan,
                next_tick_ms=watched.next_tick_ms,
                now_ms=now_ms,
                in_flight=watched.in_flight,
            )
            watched.next_tick_ms = found.next_tick_ms
            passed = [self._attempt(watched, tick_ms) for tick_ms in found.skipped_ms]
            if found.tick_ms is None:
                watched.passed += passed
                return None
            watched.in_flight = True
            return _Job(watched, passed, self._attempt(watched, found.tick_ms))

    def _attempt(self, watched: _Watched, tick_ms: int) -> Attempt:
        target, labels = watched.target, watched.settings.labels
        interval_ms = watched.plan.interval_ms
        sequence = self._checkpoint.next_sequence(target, labels, interval_ms)
        return Attempt(target, labels, tick_ms, interval_ms, sequence, self._generation)

    def _work(self) -> None:
        while job := self._jobs.get():
            try:
                self._run(job)
            except Exception:  # a mistake of ours must not end the scraping of other targets
                self._telemetry.count(Metric.ERRORS, kind="scrape_crashed")
                logger.exception("scrape crashed target=%s", job.watched.target)
            self._land(job.watched)

    def _run(self, job: _Job) -> None:
        watched = job.watched
        for attempt in job.passed:
            self._send(attempt, self._scraper.unasked(attempt, Outcome.SKIPPED, PAUSED))
        if self._stopping.is_set():
            scraped = self._scraper.unasked(job.attempt, Outcome.SKIPPED, STOPPED)
        else:
            timeout_ms = watched.settings.timeout_s * 1000
            scraped = self._scraper.scrape(watched.endpoint, job.attempt, timeout_ms)
        self._note(watched, scraped)
        self._send(job.attempt, scraped)

    def _land(self, watched: _Watched) -> None:
        """Report the ticks that passed meanwhile, then allow the next scrape."""
        while True:
            with self._lock:
                passed, watched.passed = watched.passed, []
                watched.in_flight = bool(passed)
            if not passed:
                return
            for attempt in passed:
                self._send(attempt, self._scraper.unasked(attempt, Outcome.SKIPPED, BUSY))

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


def _thread(name: str, work: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=work, name=name, daemon=True)
