"""Describe one attempt to scrape. In: who, when, how it ended, what was read. Out: the envelope of
its record.

The rule this file owns: every attempt is a record, the failed ones too; the envelope tells
everything about it but the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import xxhash

from producers.core.columns import Columns, Layout
from producers.core.outcomes import Verdict
from producers.core.times import holds
from schemas.identity import Target
from schemas.records import Outcome, ScrapeEnvelope

PROCESS_START: Final = "process_start_time_seconds"
BUILD_INFO: Final = "kubernetes_build_info"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One planned tick of one target, numbered."""

    target: Target
    labels: Mapping[str, str]
    tick_ms: int
    interval_ms: int
    sequence: int
    generation: str

    @property
    def scrape_id(self) -> str:
        """16 hex digits that no other attempt has: a target that comes back counts from 1 again."""
        text = f"{self.target}\n{self.generation}\n{self.sequence}\n{self.tick_ms}"
        return f"{xxhash.xxh3_64_intdigest(text.encode()):016x}"


@dataclass(frozen=True, slots=True)
class Ending:
    """What happened in an attempt. Times are event time."""

    verdict: Verdict
    start_ms: int
    end_ms: int
    http_status: int = 0
    body_bytes: int = 0
    samples: int = 0
    process_start_ms: int = 0
    kubernetes_version: str = ""
    family_filter: str = "all"
    unanswered: Outcome | None = None  # how a probe ended that got no answer; its verdict is OK


def envelope(attempt: Attempt, ending: Ending) -> ScrapeEnvelope:
    """Return the envelope of the whole scrape; chunks fill in their part."""
    return ScrapeEnvelope(
        cluster=attempt.target.cluster,
        job=attempt.target.job,
        instance=attempt.target.instance,
        path=attempt.target.path,
        target_labels=dict(attempt.labels),
        scrape_id=attempt.scrape_id,
        tick_ms=attempt.tick_ms,
        start_ms=ending.start_ms,
        end_ms=ending.end_ms,
        interval_ms=attempt.interval_ms,
        sequence=attempt.sequence,
        outcome=ending.verdict.outcome,
        reason=ending.verdict.reason,
        http_status=ending.http_status,
        bytes=ending.body_bytes,
        series=ending.samples,
        process_start_ms=ending.process_start_ms,
        kubernetes_version=ending.kubernetes_version,
        family_filter=ending.family_filter,
        generation=attempt.generation,
    )


def process_start_ms(columns: Columns, header_s: str | None) -> int:
    """Return when the scraped process started, from its metrics or the header.

    0 if it is unknown, or told in another unit than seconds.
    """
    told = columns.value(PROCESS_START)
    if told is None:
        try:
            told = float(header_s or 0)
        except ValueError:
            told = 0.0
    return round(told * 1000) if holds(told * 1000) else 0


def kubernetes_version(layout: Layout) -> str:
    """Return git_version of kubernetes_build_info, or ""."""
    row = layout.first.get(BUILD_INFO)
    info = "" if row is None else layout.series[row].labels
    labels = msgspec.json.decode(info) if info else {}
    return str(labels.get("git_version", ""))
