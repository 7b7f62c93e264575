"""Read the captures of real control planes that lie beside the repository.

In: `../shared/fixtures`, or the folder that PLANEWATCH_TEST_FIXTURES names. Out: bodies of
`/metrics` as the components sent them, and the index of the scrapes of one cluster through load,
election and loss of quorum. Rule: captures are read where they are, never copied into the
repository; where the folder is absent, tests that need it say so and skip.
"""

import gzip
import json
import os
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from tests.services.needs import skip_without

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Scrape:
    """One attempt to scrape one process; where it failed, `error` says how and `file` is None."""

    t_ms: int
    phase: str
    instance: str
    format: str
    ms: float
    status: int | None
    error: str | None
    content_type: str | None
    file: Path | None

    def body(self) -> bytes:
        """Return what the process answered, inflated."""
        assert self.file is not None, f"{self.instance} did not answer: {self.error}"
        return gzip.decompress(self.file.read_bytes())


def folder() -> Path:
    """Return the folder of the captures, or skip."""
    named = os.environ.get("PLANEWATCH_TEST_FIXTURES")
    path = Path(named) if named else REPOSITORY.parent / "shared" / "fixtures"
    if not path.is_dir():
        skip_without("../shared/fixtures beside the repository", "tests on captures")
    return path


def metrics_names() -> list[str]:
    """Return the names that `metrics` takes: version and component, such as 1_35-etcd."""
    return sorted(file.name.removesuffix(".txt.gz") for file in folder().glob("metrics/*.txt.gz"))


def metrics(name: str) -> bytes:
    """Return one `/metrics` body of Kubernetes 1.31 or 1.35."""
    return gzip.decompress((folder() / "metrics" / f"{name}.txt.gz").read_bytes())


@cache
def cluster_index() -> tuple[Scrape, ...]:
    """Return all scrapes of the captured 1.36 cluster in the order of time."""
    lines = (folder() / "cluster" / "metrics" / "index.jsonl").read_text().splitlines()
    return tuple(sorted(map(_scrape, lines), key=lambda scrape: (scrape.t_ms, scrape.instance)))


def cluster_phase(phase: str, *, format: str = "text") -> list[Scrape]:
    """Return the scrapes of a phase: idle, load, burst, after-election or quorum-lost."""
    return [each for each in cluster_index() if (each.phase, each.format) == (phase, format)]


def json_lines(name: str) -> list[dict[str, object]]:
    """Return the records of `cluster/watch.jsonl.gz`, `cluster/events.jsonl` and the like."""
    raw = (folder() / name).read_bytes()
    text = gzip.decompress(raw) if name.endswith(".gz") else raw
    return [json.loads(line) for line in text.splitlines()]


def _scrape(line: str) -> Scrape:
    entry = json.loads(line)
    file = entry.get("file")
    return Scrape(
        t_ms=int(datetime.fromisoformat(entry["t"]).timestamp() * 1000),
        phase=entry["phase"],
        instance=entry["instance"],
        format=entry["format"],
        ms=entry["ms"],
        status=entry.get("status"),
        error=entry.get("error"),
        content_type=entry.get("content_type"),
        file=folder() / "cluster" / file if file else None,
    )
