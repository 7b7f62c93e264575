"""Scrape one target once. In: an attempt. Out: the records of it, whatever happened.

The rule this file owns: every attempt ends in records. Times of the watched world come from the
clock: `start_ms` is when the request was sent, and the time-out runs in event time.
"""

import threading
from dataclasses import asdict, dataclass, replace
from typing import Final, Protocol

from producers import own
from producers.core import probing
from producers.core.attempts import (
    Attempt,
    Ending,
    envelope,
    kubernetes_version,
    process_start_ms,
)
from producers.core.chunks import Chunk, encode_chunks
from producers.core.columns import NO_ROWS, Columns
from producers.core.ended import Known, compared
from producers.core.exposition import Exposition
from producers.core.families import Families, Profiles
from producers.core.formats import BodyReader
from producers.core.kept import Kept
from producers.core.keys import Keys
from producers.core.outcomes import Verdict, of_body, of_status, verdict
from producers.core.repeated import compile_now
from producers.core.stretch import Went, own_waits
from producers.fetch import Answer, FetchError, Source
from producers.probe import Probe
from schemas.clock import Clock
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.records import Outcome
from schemas.settings import Settings
from schemas.telemetry import Telemetry

SCRAPE: Final = "scrape"  # owners of requests
PROBE: Final = "probe"


@dataclass(frozen=True, slots=True)
class Scraped:
    """The records of one attempt, and of the process that answered where that is another target."""

    chunks: list[Chunk]
    verdict: Verdict
    went: Went
    process: tuple[Attempt, list[Chunk]] | None = None


class Addresses(Protocol):
    """What tells processes behind one address apart."""

    def reader(self, target: Target, body: bytes, header_s: str | None) -> Target:
        """Return whose bodies this one is probably like."""

    def whose(self, attempt: Attempt, start_ms: int, now_ms: int) -> tuple[Attempt, str]:
        """Return the attempt to which an answer belongs, and what the address says then."""


class Scraper:
    """What all scrapes of a process share: limits, clock, and what was read before."""

    def __init__(self, settings: Settings, clock: Clock, telemetry: Telemetry) -> None:
        self._limits, self._clock, self._telemetry = settings.producers, clock, telemetry
        self._keys = Keys(self._limits.parsed_keys_max)
        self._profiles = Profiles(settings.clusters, self._limits.node)
        self._readers: dict[Target, BodyReader] = {}
        self._known: dict[Target, Known] = {}
        self._kept: dict[Target, Kept] = {}
        self._bounded: set[Target] = set()  # those of which series are left out
        self._parsing = threading.Lock()  # the keys are shared, and Python parses on one core
        compile_now()

    def scrape(
        self,
        source: Source | Probe,
        attempt: Attempt,
        timeout_ms: float,
        addresses: Addresses | None = None,
    ) -> Scraped:
        """Ask the target once and return the records of it."""
        start_ms = self._clock.now_ms()
        whose, said = attempt, ""
        if isinstance(source, Probe):
            ending, columns = self._probe(source, start_ms, timeout_ms)
        else:
            ending, columns = self._ask(
                source, attempt.target, start_ms, timeout_ms, addresses=addresses
            )
            if addresses and ending.verdict.keeps_rows:
                whose, said = addresses.whose(attempt, ending.process_start_ms, ending.end_ms)
        self._count(attempt, ending, PROBE if isinstance(source, Probe) else SCRAPE)
        went = Went(ending.verdict.outcome, ending.end_ms - start_ms)
        if not said:
            went = replace(went, waits=own_waits(columns))
            return Scraped(self._encoded(attempt, ending, columns), ending.verdict, went)
        process = None
        if whose is not attempt:
            process = whose, self._encoded(whose, ending, columns)
        answers = replace(ending, verdict=verdict(Outcome.OK, said), samples=0, process_start_ms=0)
        # Waits of one process and of another do not compare.
        return Scraped(self._encoded(attempt, answers, NO_ROWS), answers.verdict, went, process)

    def _encoded(self, attempt: Attempt, ending: Ending, columns: Columns) -> list[Chunk]:
        chunks = encode_chunks(envelope(attempt, ending), columns)
        if left_out := len(columns) - chunks[0].envelope.rows:
            self._telemetry.count(Metric.LIMIT_HITS, left_out, limit="chunk_bytes_max")
        return chunks

    def unasked(self, attempt: Attempt, outcome: Outcome, reason: str) -> Scraped:
        """Return the record of an attempt that sent no request: skipped, removed."""
        now_ms = self._clock.now_ms()
        ending = Ending(verdict(outcome, reason), now_ms, now_ms)
        if outcome is Outcome.REMOVED:
            self._readers.pop(attempt.target, None)
            self._known.pop(attempt.target, None)
            self._kept.pop(attempt.target, None)
            self._note_left_out(attempt.target, 0)
        job, cluster = attempt.target.job, attempt.target.cluster
        self._telemetry.count(Metric.SCRAPES, cluster=cluster, job=job, outcome=outcome)
        chunks = encode_chunks(envelope(attempt, ending), NO_ROWS)
        return Scraped(chunks, ending.verdict, Went(outcome, 0))

    def _ask(
        self,
        source: Source,
        target: Target,
        start_ms: int,
        timeout_ms: float,
        *,
        addresses: Addresses | None,
    ) -> tuple[Ending, Columns]:
        try:
            answer = source.get(
                timeout_s=self._clock.wall_s(timeout_ms), body_bytes_max=self._limits.body_bytes_max
            )
        except FetchError as failed:
            return Ending(failed.verdict, start_ms, self._clock.now_ms()), NO_ROWS
        end_ms = self._clock.now_ms()
        if answer.status != 200:
            said = of_status(answer.status, answer.phrase, answer.body)
            return Ending(said, start_ms, end_ms, answer.status), NO_ROWS
        families = self._profiles.of(target)  # an address and all who answer there have the same
        if addresses:
            target = addresses.reader(target, answer.body, answer.process_start_s)
        return self._read(answer, target, start_ms, end_ms, families=families)

    def _probe(self, probe: Probe, start_ms: int, timeout_ms: float) -> tuple[Ending, Columns]:
        timeout_s, speed = self._clock.wall_s(timeout_ms), self._clock.speed
        seen = probe.look(timeout_s=timeout_s, speed=speed)
        columns = probing.columns(probe.name, seen)
        ending = Ending(
            probing.judged(seen),
            start_ms,
            self._clock.now_ms(),
            http_status=seen.status,
            body_bytes=len(seen.body),
            samples=len(columns),
            unanswered=None if seen.status else seen.verdict.outcome,
        )
        return ending, columns

    def _read(
        self, answer: Answer, target: Target, start_ms: int, end_ms: int, *, families: Families
    ) -> tuple[Ending, Columns]:
        exposition = self._parse(answer, target, families)
        for hit, limit in ((not answer.whole, "body_bytes_max"), (exposition.more, "series_max")):
            if hit:
                self._telemetry.count(Metric.LIMIT_HITS, limit=limit)
        self._note_left_out(target, sum(samples for _, samples in exposition.left_out))
        said = of_body(exposition, body_bytes=len(answer.body), whole=answer.whole)
        if said.outcome is Outcome.OK:
            self._known[target], cut = compared(self._known.get(target), exposition.columns)
            said = verdict(Outcome.TRUNCATED, cut) if cut else said
        columns = exposition.columns if said.keeps_rows else NO_ROWS
        ending = Ending(
            said,
            start_ms,
            end_ms,
            http_status=answer.status,
            body_bytes=len(answer.body),
            samples=exposition.samples if said.keeps_rows else 0,
            process_start_ms=process_start_ms(columns, answer.process_start_s),
            kubernetes_version=kubernetes_version(columns.layout),
            family_filter=families.name,
        )
        return ending, self._kept.setdefault(target, Kept(families)).of(columns)

    def _note_left_out(self, target: Target, series: int) -> None:
        """Tell how many series of a target are left out, while there are any."""
        if series:
            self._bounded.add(target)
            self._telemetry.set(Metric.SERIES_LEFT_OUT, series, **asdict(target))
        elif target in self._bounded:
            self._bounded.discard(target)
            self._telemetry.forget(Metric.SERIES_LEFT_OUT, **asdict(target))

    def _parse(self, answer: Answer, target: Target, families: Families) -> Exposition:
        with self._parsing:
            reader = self._readers.get(target)
            if reader is None:
                reader = self._readers[target] = BodyReader(families)
            if self._keys.trim():
                self._telemetry.count(Metric.LIMIT_HITS, limit="parsed_keys_max")
            return reader.read(
                answer.body,
                answer.content_type,
                self._keys,
                samples_max=self._limits.series_max,
                whole=answer.whole,
            )

    def _count(self, attempt: Attempt, ending: Ending, owner: str) -> None:
        cluster, job = attempt.target.cluster, attempt.target.job
        outcome = ending.verdict.outcome
        self._telemetry.count(Metric.SCRAPES, cluster=cluster, job=job, outcome=outcome)
        self._telemetry.observe(
            Metric.SCRAPE_DURATION, (ending.end_ms - ending.start_ms) / 1000, job=job
        )
        if job != own.JOB:
            code = str(ending.http_status or ending.unanswered or outcome)
            self._telemetry.count(Metric.REQUESTS, cluster=cluster, owner=owner, code=code)
