"""`planewatch verify --scrapes` finds a planted loss and a planted double, and nothing else."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from schemas.arrow import SCRAPE_SCHEMA, empty_rows, encode_scrape
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import Settings
from schemas.topics import TopicName
from sinks.core.messages import Message
from sinks.core.rows import decode_message
from sinks.core.tables import COORDINATES, Table
from sinks.migrate import migrate
from sinks.store import Store
from tests.fixtures import REPOSITORY
from tests.services.stages import clean_environment

PLANEWATCH = Path(sys.executable).parent / "planewatch"
T0_MS = 1_764_000_000_000
STEP_MS = 1_000
SOURCE = 65_536
RANGE = ("--from", "2025-11-24", "--to", "2025-11-26")


def attempt(
    cluster: str,
    number: int,
    generation: str = "a",
    *,
    at: int | None = None,
    outcome: Outcome = Outcome.OK,
    instance: str = "cp-1",
    chunk: int = 0,
) -> ScrapeEnvelope:
    """Make the envelope of an attempt; `at`: the step of its tick."""
    tick_ms = T0_MS + (number if at is None else at) * STEP_MS
    return ScrapeEnvelope(
        cluster=cluster,
        job="apiserver",
        instance=instance,
        path="/metrics",
        scrape_id=f"{generation}-{number}",
        chunk=chunk,
        chunks=2,
        tick_ms=tick_ms,
        start_ms=tick_ms + 3,
        end_ms=tick_ms + 50,
        interval_ms=STEP_MS,
        sequence=number,
        outcome=outcome,
        generation=generation,
    )


def attempts(cluster: str, numbers: Sequence[int], generation: str = "a") -> list[ScrapeEnvelope]:
    return [attempt(cluster, number, generation) for number in numbers]


PLANTED = {
    # Late ones, a stop, other chunks, another target, a silent record: all in order.
    "whole": [
        *attempts("whole", [1, 2, 5, 6, 3, 4]),
        *attempts("whole", [7, 8], "b"),
        attempt("whole", 8, "b", chunk=1),
        attempt("whole", 8, "b", chunk=1),
        *(attempt("whole", number, instance="cp-2") for number in (70, 71)),
        attempt("whole", 8, "streams", at=11, outcome=Outcome.SILENT),
        attempt("whole", 8, "streams", at=14, outcome=Outcome.SILENT),
        *(attempt("whole", number, "b", outcome=Outcome.TIMEOUT) for number in (9, 10)),
    ],
    "killed": [*attempts("killed", [1, 2, 3]), *attempts("killed", [6, 7], "b")],
    "repeated": [*attempts("repeated", [1, 2, 3]), *attempts("repeated", [2, 3, 4])],
    "lost": attempts("lost", [1, 2, 3, 6, 7]),
    "twice": [*attempts("twice", [1, 2, 3]), *attempts("twice", [3, 4], "b")],
    "twice-by-one": [*attempts("twice-by-one", [1, 2, 3]), attempt("twice-by-one", 2, at=9)],
    "back": [
        *attempts("back", [1, 2]),
        attempt("back", 3, outcome=Outcome.REMOVED),
        *(attempt("back", number, at=number + 10) for number in (1, 2, 3, 4, 5)),
    ],
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with the planted scrapes, each cluster in a partition of its own."""
    data = tmp_path_factory.mktemp("data")
    settings = Settings(data=data)
    migrate(settings)
    store = Store.open(settings)
    rows = [
        row
        for partition, envelopes in enumerate(PLANTED.values())
        for offset, envelope in enumerate(envelopes)
        for row in located(envelope, partition, offset)
    ]
    store.insert(Table.SCRAPES, pa.Table.from_batches(rows), token="planted")
    store.close()
    yield data


def located(envelope: ScrapeEnvelope, partition: int, offset: int) -> Iterator[pa.RecordBatch]:
    """Yield the row of `scrapes` that a record becomes; only a first chunk becomes one."""
    value = encode_scrape(envelope, empty_rows(SCRAPE_SCHEMA))
    message = Message(TopicName.SCRAPES, SOURCE + partition, offset, T0_MS, b"k", value, {})
    for row in filter(None, [decode_message(message).rows.get(Table.SCRAPES)]):
        today = int(time.time()) // 86_400  # or they would expire at once
        where = (SOURCE + partition, offset, today)
        arrays = [
            pa.array([one], pa.int32()).cast(field.type)
            if pa.types.is_date(field.type)
            else pa.array([one], field.type)
            for one, field in zip(where, COORDINATES, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(
            [*row.columns, *arrays], schema=pa.schema([*row.schema, *COORDINATES])
        )


def verify(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PLANEWATCH, "verify", "--data", str(data), *options],
        capture_output=True,
        text=True,
        env=clean_environment(),
        cwd=REPOSITORY,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("cluster", "expected", "says"),
    [
        (
            "whole",
            0,
            ["verified 12 scrapes of 2 targets", "left out 0 numbers in 0 gaps", "findings: 0"],
        ),
        ("killed", 0, ["a process was killed", " 4-5 ", "left out 2 numbers in 1 gaps"]),
        ("repeated", 0, ["verified 4 scrapes of 1 targets", "everything: 2 records"]),
        ("back", 0, ["verified 8 scrapes of 1 targets", "findings: 0"]),
        ("lost", 1, ["LOST", "lost/apiserver/cp-1", " 4-5 ", " 3/2..3", "findings: 1"]),
        ("twice", 1, ["TWICE", "twice/apiserver/cp-1", " 3 ", " by b", "findings: 1"]),
        ("twice-by-one", 1, ["TWICE", " 2 ", "findings: 1"]),
        ("nobody", 1, ["nothing was proved", "2025-11-24T00:00:00.000Z"]),
    ],
    ids=str,
)
def test_what_was_planted_is_found(
    stored: Path, cluster: str, expected: int, says: list[str]
) -> None:
    done = verify(stored, "--scrapes", *RANGE, "--cluster", cluster)
    assert expected == done.returncode, done.stdout + done.stderr
    assert [] == [text for text in says if text not in done.stdout], done.stdout


def test_all_clusters_are_verified_and_findings_come_first(stored: Path) -> None:
    done = verify(stored, "--scrapes", *RANGE)
    assert 1 == done.returncode, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert ["what", "LOST", "TWICE", "TWICE", "a"] == [line.split()[0] for line in lines[:5]]
    assert "findings: 3" == lines[-1]
    assert "of 8 targets" in done.stdout
    assert "2025-11-24T16:00:01.000Z to 2025-11-24T16:01:11.000Z" in done.stdout


def test_a_range_limits_what_is_judged(stored: Path) -> None:
    after = ("--from", "2025-11-24T16:00:05", "--to", "2025-11-26")
    done = verify(stored, "--scrapes", *after, "--cluster", "lost")
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [((), "verify needs --scrapes"), (("--scrapes", "--from", "soon"), "'soon' is no time")],
    ids=["nothing to verify", "no time"],
)
def test_wrong_usage_is_told(stored: Path, options: Sequence[str], says: str) -> None:
    done = verify(stored, *options)
    assert (2, "") == (done.returncode, done.stdout)
    assert says in done.stderr


def test_help_shows_an_example(stored: Path) -> None:
    done = verify(stored, "--help")
    assert 0 == done.returncode
    assert "planewatch verify --scrapes --from -6h" in done.stdout
