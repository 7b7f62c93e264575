"""The process of the sinks: its verbs, its errors, its end. On the embedded broker, over chDB."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.ipc
import pyarrow.parquet
import pytest

from producers.broker import EmbeddedBroker
from schemas import run
from schemas.partition import partition_of
from schemas.topics import TopicName
from sinks.query import ask
from tests.fixtures import REPOSITORY
from tests.services.stages import Stages, clean_environment
from tests.traffic import Made, Traffic, mixed, scrape

PARTITIONS = 4
DONE_S_MAX = 30.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """A running sinks process that has stored 100 records."""
    made = Stages(tmp_path_factory.mktemp("data"), {"sinks": {"flush_age_s": 0.1}})
    held = announce_broker(made)
    Traffic(held.bootstrap, made.settings.kafka.prefix, PARTITIONS).send(*mixed(1, 100))
    made.start("sinks")
    wait_for_records(made, 100)
    yield made
    made.close()


def announce_broker(stages: Stages) -> EmbeddedBroker:
    """Start an embedded broker that lives as long as the result."""
    settings = stages.settings
    made = EmbeddedBroker(settings.kafka)
    run.announce(settings, run.BROKER, bootstrap=made.bootstrap, incarnation=made.incarnation)
    return made


def wait_for_records(stages: Stages, count: int) -> None:
    end_s = time.monotonic() + DONE_S_MAX
    while time.monotonic() < end_s:
        if ask(stages.settings, "SELECT count() AS n FROM records", {})["n"][0].as_py() >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"fewer than {count} records: {stages.tail('sinks')}")


def sinks(stages: Stages, *arguments: str) -> subprocess.CompletedProcess[str]:
    verb, *others = arguments
    return subprocess.run(
        [sys.executable, "-P", "-m", "sinks", verb, "--config", str(stages.config), *others],
        capture_output=True,
        text=True,
        env=clean_environment(),
        cwd=REPOSITORY,
        check=False,
    )


def test_query_without_arguments_lists_names_and_questions(running: Stages) -> None:
    done = sinks(running, "query")
    assert 0 == done.returncode, done.stderr
    assert "failed_scrapes\n    Which scrapes did not answer" in done.stdout
    assert "--param limit=...  UInt32 = 50: rows at most" in done.stdout


def test_query_answers_through_the_running_process(running: Stages) -> None:
    done = sinks(running, "query", "--sql", "SELECT count() AS n FROM records", "--format", "json")
    assert 0 == done.returncode, done.stderr
    assert json.loads(done.stdout)[0]["n"] >= 100


def test_a_named_query_takes_parameters_and_a_time_range(running: Stages) -> None:
    arguments = ("failed_scrapes", "--param", "limit=1", "--from", "2025-11-01", "--to", "now")
    done = sinks(running, "query", *arguments, "--format", "csv")
    assert 0 == done.returncode, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.startswith("tick,cluster,job")
    assert 1 == len(rows)
    assert ",refused," in rows[0]


def test_every_format_has_the_same_rows(running: Stages, tmp_path: Path) -> None:
    sql = (
        "SELECT number AS n, toDateTime(number) AS at, if(number = 1, NULL, toString(number)) AS "
        "text FROM numbers({rows:UInt32})"
    )
    read: dict[str, Callable[[Path], int]] = {
        "csv": lambda file: len(file.read_text().splitlines()) - 1,
        "json": lambda file: len(json.loads(file.read_text())),
        "parquet": lambda file: pyarrow.parquet.read_table(file).num_rows,
        "arrow": lambda file: pyarrow.ipc.open_stream(file.read_bytes()).read_all().num_rows,
    }
    for form, rows in read.items():
        for count in (0, 3, 200_000):
            file = tmp_path / f"{form}{count}"
            arguments = ("--format", form, "--output", str(file), "--param", f"rows={count}")
            done = sinks(running, "query", "--sql", sql, *arguments)
            assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
            assert count == rows(file)
    stored = pyarrow.parquet.read_table(tmp_path / "parquet3")
    assert "timestamp[ms, tz=UTC]" == str(stored.schema.field("at").type)
    assert ["0", None, "2"] == stored["text"].to_pylist()
    assert ["n,at,text", "0,1970-01-01T00:00:00Z,0", "1,1970-01-01T00:00:01Z,"] == (
        (tmp_path / "csv3").read_text().splitlines()[:3]
    )


def test_a_file_that_could_not_be_finished_is_not_there(running: Stages, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    file.write_text("what was there")
    arguments = ("--sql", "SELECT unhex('FF') AS raw", "--format", "parquet", "--output", str(file))
    done = sinks(running, "query", *arguments)
    assert 1 == done.returncode
    assert "select hex(raw)" in done.stderr
    assert ["what was there"] == [one.read_text() for one in tmp_path.iterdir()]
    done = sinks(running, "query", "--sql", "SELECT 1", "--output", str(tmp_path / "no" / "x"))
    assert 1 == done.returncode
    assert "cannot write" in done.stderr


def test_who_reads_only_the_beginning_gets_it(running: Stages) -> None:
    command = [sys.executable, "-P", "-m", "sinks", "query", "--config", str(running.config)]
    with subprocess.Popen(
        [*command, "--sql", "SELECT number FROM numbers(900000)", "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        cwd=REPOSITORY,
    ) as asking:
        assert asking.stdout is not None
        assert asking.stderr is not None
        assert b"number" == asking.stdout.readline().strip()
        asking.stdout.close()
        assert b"Traceback" not in asking.stderr.read()


def test_a_table_says_what_it_does_not_show(running: Stages) -> None:
    done = sinks(running, "query", "--sql", "SELECT number FROM numbers(10001)")
    assert 10_001 == len(done.stdout.splitlines())  # and the names
    assert "only 10000 rows are shown" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nothing"], 2, "no query 'nothing'; there are alert_history"),
        (["targets", "--sql", "SELECT 1"], 2, "exclude each other"),
        (["targets", "--param", "cluster"], 2, "expected NAME=VALUE"),
        (["targets", "--param", "x=1"], 2, "has no parameter x"),
        (["failed_scrapes", "--param", "limit=many"], 2, "limit='many' is no UInt32"),
        (["targets", "--param", "cluster=a", "--param", "cluster=b"], 2, "given twice"),
        (["--sql", "SELECT {n:UInt8}"], 2, "needs a value for n"),
        (["--sql", "SELECT {n:UInt8}", "--param", "n=256"], 2, "is no UInt8"),
        (["--sql", "SELECT {a:Array(String)}", "--param", "a=[1"], 2, "is no JSON array"),
        (["targets", "--from", "now", "--to", "-1h"], 2, "is not before"),
        (["targets", "--from", "soon"], 2, "'soon' is no time"),
        (["--sql", "DROP TABLE samples"], 1, "only reading statements"),
        (["--sql", "SELECT file('/etc/hostname')"], 1, "file() may not be used"),
        (["--sql", "SELECT * FROM nothing"], 1, "Unknown table expression identifier"),
        (["--sql", "SELECT 1 FORMAT CSV"], 1, "Syntax error"),
        (["--sql", "SELECT )"], 1, "(SYNTAX_ERROR)"),
        (["--sql", "SELECT $__nothing"], 1, "unknown macro"),
        (["--sql", "SELECT number FROM numbers(10000000)"], 1, "Limit for result exceeded"),
    ],
)
def test_a_wrong_question_is_answered_with_what_is_wrong(
    running: Stages, arguments: list[str], code: int, says: str
) -> None:
    done = sinks(running, "query", *arguments)
    assert code == done.returncode
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "formatQuery" not in done.stderr  # how the guard looks is no news


@pytest.mark.parametrize("verb", ["run", "migrate"])
def test_a_second_process_on_a_data_folder_says_who_is_there(running: Stages, verb: str) -> None:
    done = sinks(running, verb)
    assert 1 == done.returncode
    assert "another process has it open" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["run", "migrate", "query"])
def test_every_verb_shows_an_example(running: Stages, verb: str) -> None:
    done = sinks(running, verb, "--help")
    assert (0, True) == (done.returncode, "planewatch " in done.stdout)


def test_a_configuration_that_is_wrong_ends_with_2(tmp_path: Path) -> None:
    stages = Stages(tmp_path, {"sinks": {"flush_rows_max": 0}, "nothing": 1})
    done = sinks(stages, "run")
    assert 2 == done.returncode
    assert "sinks.flush_rows_max" in done.stderr
    assert "nothing" in done.stderr


def test_without_kafka_the_operator_is_told(tmp_path: Path) -> None:
    done = sinks(Stages(tmp_path, {}), "run")
    assert 2 == done.returncode
    assert "kafka.bootstrap: not set" in done.stderr


def test_migrate_says_what_it_did_and_does_it_once(tmp_path: Path) -> None:
    stages = Stages(tmp_path, {})
    planned, done, again = (
        sinks(stages, "migrate", *arguments) for arguments in (["--dry-run"], [], ["--dry-run"])
    )
    assert [0] * 3 == [one.returncode for one in (planned, done, again)]
    assert "would apply 0001 records" in planned.stdout
    assert "applied 0004 judgements" in done.stdout
    assert "the tables are those of this release\n" == again.stdout


def test_a_process_ends_cleanly_with_everything_stored_and_is_asked_without_one(
    tmp_path: Path,
) -> None:
    stages = Stages(tmp_path, {"sinks": {"flush_age_s": 600}})
    held = announce_broker(stages)
    stages.start("sinks")
    traffic = Traffic(held.bootstrap, stages.settings.kafka.prefix, PARTITIONS)
    traffic.send(*(scrape("c1", i, sequence=i, plain=5) for i in range(20)))
    time.sleep(1.0)
    began_s = time.monotonic()
    assert 0 == stages.stop("sinks"), stages.tail("sinks")
    assert time.monotonic() - began_s < 5.0
    assert run.find(stages.settings, run.SINKS) is None
    assert run.find(stages.settings, run.FRONT) is None
    done = sinks(stages, "query", "--sql", "SELECT count() AS n FROM samples", "--format", "json")
    assert [{"n": 100}] == json.loads(done.stdout), done.stderr
    assert [] == [*(tmp_path / "sinks" / "tmp").iterdir()]


def test_a_topic_that_cannot_be_read_stops_the_stage_and_says_why(tmp_path: Path) -> None:
    stages = Stages(tmp_path, {})
    held = announce_broker(stages)
    traffic = Traffic(held.bootstrap, stages.settings.kafka.prefix, PARTITIONS)
    traffic.send(*(Made(TopicName.LOGS, "c1", "c1/x", b"{}", {}) for _ in range(60)))
    started = stages.start("sinks", wait=False)
    assert 1 == started.wait(60.0)
    where = f"planewatch.logs.v1[{partition_of('c1', PARTITIONS)}]@50"
    assert "too many of the last 100 records of planewatch.logs.v1" in stages.tail("sinks")
    assert where in stages.tail("sinks")
    assert "sinks.undecodable_share_max" in stages.tail("sinks")
