"""Make scrapes for the rule engine. In: expositions as a server writes them. Out: streams' scrapes.

Rule: tests write what a server would answer; the producers' parser, which has its own tests, makes
the rows.
"""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa

from producers.core.attempts import kubernetes_version, process_start_ms
from producers.core.exposition import parse
from producers.core.keys import Keys
from schemas.arrow import SCRAPE_SCHEMA, empty_rows
from schemas.records import Outcome, ScrapeEnvelope
from streams.core.samples import Scrape
from tests import fixtures

CLUSTER = "c1"
STEP_MS = 5_000
_KEYS = Keys(5_000_000)
_ERRORS = {"refused": Outcome.REFUSED, "deadline": Outcome.TIMEOUT}


@dataclass(frozen=True, slots=True)
class Body:
    """An exposition, parsed."""

    rows: pa.RecordBatch
    layout: int
    samples: int
    process_start_ms: int
    kubernetes_version: str


def read(text: str | bytes) -> Body:
    """Return the rows of an exposition."""
    body = text.encode() if isinstance(text, str) else text
    found = parse(body if body.endswith(b"\n") else body + b"\n", _KEYS, samples_max=10**9)
    assert not found.unreadable, found.example
    return Body(
        found.columns.batch(),
        found.columns.layout.id,
        found.samples,
        process_start_ms(found.columns, None),
        kubernetes_version(found.columns.layout),
    )


def scrape(
    text: str | bytes | Body,
    t_ms: int,
    *,
    job: str = "apiserver",
    instance: str = "a",
    outcome: Outcome = Outcome.OK,
    interval_ms: int = STEP_MS,
    path: str = "/metrics",
    labels: dict[str, str] | None = None,
    started_ms: int | None = None,
    version: str | None = None,
    family_filter: str = "all",
    duration_ms: int = 40,
) -> Scrape:
    """Return the scrape of an exposition that began at `t_ms`."""
    body = text if isinstance(text, Body) else read(text)
    envelope = ScrapeEnvelope(
        cluster=CLUSTER,
        job=job,
        instance=instance,
        path=path,
        target_labels=labels or {},
        scrape_id=f"{job}-{instance}-{t_ms}",
        tick_ms=t_ms,
        start_ms=t_ms,
        end_ms=t_ms + duration_ms,
        interval_ms=interval_ms,
        sequence=t_ms // interval_ms,
        outcome=outcome,
        series=body.samples,
        rows=body.rows.num_rows,
        layout=body.layout,
        process_start_ms=body.process_start_ms if started_ms is None else started_ms,
        kubernetes_version=body.kubernetes_version if version is None else version,
        family_filter=family_filter,
    )
    return Scrape(envelope, body.rows, body.layout)


def failed(t_ms: int, outcome: Outcome = Outcome.REFUSED, **more: str) -> Scrape:
    """Return a scrape that brought nothing."""
    return scrape(
        Body(empty_rows(SCRAPE_SCHEMA), 0, 0, 0, ""),
        t_ms,
        outcome=outcome,
        job=more.get("job", "apiserver"),
        instance=more.get("instance", "a"),
    )


def captured(phases: Iterable[str]) -> list[Scrape]:
    """Return the scrapes of the captured 1.36 cluster in these phases, in the order of time."""
    wanted = tuple(phases)
    found = [
        one for one in fixtures.cluster_index() if one.phase in wanted and one.format == "text"
    ]
    return [_captured(one) for one in found]


def job_of(instance: str) -> str:
    """Return the job of a captured process."""
    name = instance.rstrip("0123456789")
    return {"apiserver": "apiserver", "etcd": "etcd"}.get(name, f"kube-{name}")


def _captured(one: fixtures.Scrape) -> Scrape:
    job, instance = job_of(one.instance), one.instance
    if one.file is None:
        outcome = next(kind for text, kind in _ERRORS.items() if text in (one.error or ""))
        return failed(one.t_ms, outcome, job=job, instance=instance)
    return scrape(_body(one.file), one.t_ms, job=job, instance=instance)


@cache
def _body(file: Path) -> Body:
    return read(gzip.decompress(file.read_bytes()))


def rule_folder() -> Path:
    """Return the folder of the shipped rule files."""
    return fixtures.REPOSITORY / "streams" / "rules"
