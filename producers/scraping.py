"""Scrape all targets on their ticks. In: targets, the clock. Out: every attempt as records.

The rule this file owns: one thread plans by event time; each target has a thread, so that one which
hangs holds up nobody, and beyond a maximum they share them; at most one scrape of a target is in
flight. Records of a target leave in the order of their ticks: a tick that passed while a slow
scrape ran is reported after that scrape, or its record would come too late.

Discovered targets come and go while others are scraped. One is removed when the API server said
that it is gone, and reported so after its last scrape; what is only not known any more is not.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from producers.addresses import Addresses
from producers.checkpoint import Checkpoint
from producers.core.attempts import Attempt
from producers.core.turns import IDLE, RUNNING, Turn, called
from producers.fetch import Credentials
from producers.own import OwnSeries
from producers.reporting import Reports
from producers.scrape import Scraped, Scraper
from producers.sending import Sender
from producers.supervised import Supervised
from producers.watched import Watched
from schemas.clock import Clock
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.records import Outcome
from schemas.settings import Settings, TargetSettings
from schemas.telemetry import Telemetry

SLEEP_MAX_S: Final = 0.2  # a rehearsal may change the speed of the clock at any moment
STOPPED: Final = "the producer stopped"
UNCONFIGURED: Final = "no longer configured"
GONE: Final = "the API server no longer lists it"
# TLS: the kubeconfig may hold another CA by now, or another client certificate.
REFUSED: Final = frozenset({Outcome.UNAUTHORIZED, Outcome.FORBIDDEN, Outcome.TLS})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Discovered:
    """All targets of one job of one cluster; `certain`: the API server has just said so.

    What was known before a restart is not certain: a target beside it may be there or not.
    """

    cluster: str
    job: str
    targets: tuple[TargetSettings, ...]
    certain: bool
    credentials: Credentials | None = None  # of the kubeconfig; None: they are in the settings


class Scraping:
    """All targets of the configuration, and those that are discovered, scraped until `stop`."""

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        clock: Clock,
        telemetry: Telemetry,
        *,
        owns: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`owns`: which clusters are ours, also of those that the settings no longer name."""
        self._clock, self._telemetry = clock, telemetry
        first = clock.now_ms if settings.producers.shared else lambda: 1  # core/handover.py
        self._scraper = Scraper(settings, clock, telemetry)
        checkpoint = Checkpoint(settings.data, owns, first)
        self._reports = Reports(checkpoint, self._scraper, sender, telemetry)
        self._addresses = Addresses(checkpoint, self._reports, telemetry)
        now_ms, node = clock.now_ms(), settings.producers.node
        configured = [
            Watched.of_settings(cluster.target(target, node), target, now_ms)
            for cluster in settings.clusters
            for target in cluster.targets
        ]
        series = OwnSeries(telemetry.registry)
        configured += [Watched.ourselves(one, node, series, now_ms) for one in settings.clusters]
        self._watched = {one.target: one for one in configured}  # changed by the scheduler only
        self._leaving: dict[Target, Watched] = {}  # guarded by the lock
        self._discovered: queue.SimpleQueue[Discovered] = queue.SimpleQueue()
        self._uncertain: set[tuple[str, str]] = set()  # cluster and job: not all may be known
        self._waiting: queue.SimpleQueue[Watched | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._scheduler = Supervised("scrape-ticks", self._schedule, self._stopping)
        self._threads_max = settings.producers.scrape_threads
        self._interval_ms_max = round(settings.producers.interval_s_max * 1000)
        self._workers: list[Supervised] = []

    def discover(self, discovered: Discovered) -> None:
        """Take the discovered targets of one job in place of those before; from any thread."""
        self._discovered.put(discovered)

    def start(self) -> None:
        """Report targets that were removed, and begin to scrape."""
        self._take_discovered()
        for target in self._reports.unwatched(self._watched):
            if (target.cluster, target.job) not in self._uncertain:
                self._reports.remove(target, UNCONFIGURED, self._clock.now_ms())
        self._staff()
        self._scheduler.start()

    def stop(self, *, wait_s: float) -> None:
        """Plan no more; give the scrapes in flight `wait_s` of wall time, then end them."""
        self._stopping.set()
        until_s = time.monotonic() + wait_s
        self._scheduler.join(wait_s)  # it waits for Kafka where it reports a removal
        for _ in self._workers:
            self._waiting.put(None)
        ended = [worker.join(max(0.0, until_s - time.monotonic())) for worker in self._workers]
        if not all(ended):
            with self._lock:
                leaving = list(self._leaving.values())
            for watched in (*self._watched.values(), *leaving):
                watched.source.abort()
            for worker in self._workers:
                worker.join(max(0.1, until_s + 0.5 - time.monotonic()))
        for watched in self._watched.values():
            if not watched.turn.running:
                watched.source.close()
        self._reports.save()

    def check(self) -> None:
        """Raise what ended one of the threads before `stop` was called."""
        for thread in (self._scheduler, *self._workers):
            thread.check()

    def _staff(self) -> None:
        """Start a thread for each target that has none, up to the maximum."""
        wanted = min(self._threads_max, len(self._watched))
        while len(self._workers) < wanted:
            worker = Supervised(f"scrape-{len(self._workers)}", self._work, self._stopping)
            worker.start()
            self._workers.append(worker)
        if wanted < len(self._watched):
            logger.warning(
                "targets share threads targets=%d scrape_threads=%d", len(self._watched), wanted
            )

    def _schedule(self) -> None:
        while not self._stopping.is_set():
            if self._take_discovered():
                self._staff()
            now_ms = self._clock.now_ms()
            found = [(one, self._due(one, now_ms)) for one in self._watched.values()]
            self._reports.save()
            for watched, attempts in found:
                if attempts:
                    self._call(watched, attempts)
            self._stopping.wait(min(SLEEP_MAX_S, self._until_next_s()))

    def _until_next_s(self) -> float:
        next_ms = min((watched.next_tick_ms for watched in self._watched.values()), default=0)
        return self._clock.wall_s(next_ms - self._clock.now_ms()) if next_ms else SLEEP_MAX_S

    def _take_discovered(self) -> bool:
        """Add and drop targets as they were discovered; tell whether that changed any."""
        before = set(self._watched)
        while not self._discovered.empty():
            found = self._discovered.get()
            there = {
                Target(found.cluster, one.job, one.instance, one.path): one for one in found.targets
            }
            self._add(there, found.credentials)
            if found.certain:
                self._uncertain.discard((found.cluster, found.job))
                self._drop(found, there)
            else:
                self._uncertain.add((found.cluster, found.job))
        return set(self._watched) != before

    def _add(self, there: dict[Target, TargetSettings], credentials: Credentials | None) -> None:
        """Begin to scrape what is new; what is still leaving is new when it is told again."""
        now_ms = self._clock.now_ms()
        with self._lock:
            new = [one for one in there if one not in self._watched and one not in self._leaving]
        for target in new:
            logger.info("target=%s discovered", target)
            self._watched[target] = Watched.of_settings(
                target, there[target], now_ms, credentials, configured=False
            )

    def _drop(self, found: Discovered, there: Iterable[Target]) -> None:
        """Remove what the API server no longer lists, also what an earlier run left behind."""
        now_ms = self._clock.now_ms()
        with self._lock:
            busy = set(self._leaving)
        for target in self._reports.unwatched({*self._watched, *busy}):
            if (target.cluster, target.job) == (found.cluster, found.job):
                self._reports.remove(target, GONE, now_ms)
        for target, watched in list(self._watched.items()):
            ours = (target.cluster, target.job) == (found.cluster, found.job)
            if not ours or watched.configured or target in there:
                continue
            del self._watched[target]
            with self._lock:
                idle = watched.turn.idle
                if not idle:
                    self._leaving[target] = watched
            if idle:
                self._part(watched)

    def _part(self, watched: Watched) -> None:
        """Report that a target was removed; nobody works on it any more."""
        watched.source.close()
        self._addresses.remove(watched.target, GONE, self._clock.now_ms())
        self._telemetry.forget(Metric.SCRAPE_INTERVAL, **_labels(watched.target))
        with self._lock:
            self._leaving.pop(watched.target, None)

    def _due(self, watched: Watched, now_ms: int) -> list[Attempt]:
        """Return the attempts of the ticks of one target that have come, numbered."""
        return [self._attempt(watched, tick_ms) for tick_ms in watched.ticks_ms(now_ms)]

    def _call(self, watched: Watched, attempts: list[Attempt]) -> None:
        """Let a target wait for a thread, or take note that it waits or runs already."""
        with self._lock:
            before, watched.turn = watched.turn, called(watched.turn, attempts)
        if before.idle:
            self._waiting.put(watched)
        elif before.attempt:
            self._telemetry.count(Metric.LIMIT_HITS, limit="scrape_threads")

    def _attempt(self, watched: Watched, tick_ms: int) -> Attempt:
        interval_ms = watched.plan.interval_ms
        return self._reports.attempt(watched.target, watched.labels, tick_ms, interval_ms)

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

    def _run(self, watched: Watched, turn: Turn) -> None:
        self._reports.skip(turn)
        if turn.attempt is None:
            raise AssertionError(f"{watched.target} waited for nothing")
        if self._stopping.is_set():
            scraped = self._scraper.unasked(turn.attempt, Outcome.SKIPPED, STOPPED)
        else:
            scraped = self._scraper.scrape(
                watched.source, turn.attempt, watched.timeout_ms, self._addresses
            )
        self._note(watched, scraped)
        self._reports.send(turn.attempt, scraped.chunks)
        if scraped.process:
            self._reports.send(*scraped.process)

    def _land(self, watched: Watched) -> None:
        """Report the ticks that passed meanwhile, then allow the next scrape."""
        while True:
            with self._lock:
                turn, watched.turn = watched.turn, RUNNING if watched.turn.passed else IDLE
                leaves = self._leaving.get(watched.target) is watched
            if not turn.passed:
                break
            self._reports.skip(turn)
        if leaves:
            self._part(watched)

    def _note(self, watched: Watched, scraped: Scraped) -> None:
        outcome = scraped.verdict.outcome
        changed = watched.note(scraped.went, self._interval_ms_max)
        interval_s = watched.interval_ms / 1000
        self._telemetry.set(Metric.SCRAPE_INTERVAL, interval_s, **_labels(watched.target))
        if changed:
            logger.log(
                logging.WARNING if watched.stretch.factor > 1 else logging.INFO,
                "target=%s is scraped each %.1f s: its server %s",
                watched.target,
                interval_s,
                "is slow" if watched.stretch.factor > 1 else "recovered",
            )
        if watched.credentials and outcome in REFUSED:
            watched.credentials.refused()
        if outcome is not watched.outcome:
            watched.outcome = outcome
            level = logging.INFO if outcome is Outcome.OK else logging.WARNING
            reason = scraped.verdict.reason
            logger.log(level, "target=%s outcome=%s reason=%s", watched.target, outcome, reason)


def _labels(target: Target) -> dict[str, str]:
    return {
        "cluster": target.cluster,
        "job": target.job,
        "instance": target.instance,
        "path": target.path,
    }
