"""`planewatch up` as a newcomer runs it: ready soon, gone without a trace, twice on one folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import run
from schemas.settings import Settings
from sinks.query import ask
from tests.services import process
from tests.services.stages import clean_environment

READY_S_MAX = 60.0
GONE_S_MAX = 15.0
CHILDREN = (run.BROKER, run.REHEARSAL, run.SINKS, run.STREAMS, run.PRODUCERS)


class Up:
    """One `planewatch up` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.settings = folder, Settings(data=folder / "data")
        self.log = folder / "up.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it; return when it says that it is ready."""
        command = [str(Path(sys.executable).with_name("planewatch")), "up", "--data", "data"]
        self.log.unlink(missing_ok=True)
        self.process = process.start(
            [*command, *options], log=self.log, env=clean_environment(), cwd=self.folder
        )
        end = time.monotonic() + READY_S_MAX
        while "planewatch is ready after" not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < end, self.text
            time.sleep(0.1)

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.log.read_text() if self.log.exists() else ""

    def children(self) -> list[int]:
        """The process ids of what it started."""
        found = [run.find(self.settings, name) for name in CHILDREN]
        return [int(one["pid"]) for one in found if one]

    def end(self, number: signal.Signals) -> int:
        """Send a signal to it alone; return its exit code."""
        assert self.process is not None
        os.kill(self.process.pid, number)
        code = self.process.wait(60)
        process.kill(self.process)
        return code

    def records(self) -> dict[str, int]:
        """Records stored, by topic."""
        sql = "SELECT topic, count() AS n FROM records GROUP BY topic"
        return {row["topic"]: row["n"] for row in ask(self.settings, sql, {}).to_pylist()}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    one = Up(tmp_path)
    yield one
    if one.process:
        process.kill(one.process)


def wait_until_gone(pids: list[int]) -> None:
    """Wait until none of the processes runs."""
    end = time.monotonic() + GONE_S_MAX
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, f"still running: {alive}"
        time.sleep(0.1)


def test_ctrl_c_leaves_nothing_behind_and_a_second_run_keeps_the_rows(up: Up) -> None:
    up.start()
    assert "http://127.0.0.1:" in up.text
    children = up.children()
    assert len(CHILDREN) == len(children)
    time.sleep(6.0)  # a round of scrapes, and a flush
    assert 0 == up.end(signal.SIGINT), up.text
    wait_until_gone(children)
    assert not list(up.settings.run.glob("*.json"))
    before = up.records()
    assert before["scrapes"] >= 3

    up.start("--rehearse", "list-storm")
    time.sleep(6.0)
    assert 0 == up.end(signal.SIGTERM), up.text
    after = up.records()
    assert all(after[topic] >= n for topic, n in before.items())
    assert after["scrapes"] > before["scrapes"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=["SIGKILL", "SIGHUP"])
def test_children_end_with_it_however_it_ends(up: Up, number: signal.Signals) -> None:
    up.start()
    children = up.children()
    up.end(number)
    wait_until_gone(children)


def test_a_second_on_the_same_folder_is_refused(up: Up) -> None:
    up.start()
    second = Up(up.folder)
    second.log = up.folder / "second.log"
    with pytest.raises(AssertionError, match="already runs on"):
        second.start()
    assert 0 == up.end(signal.SIGTERM), up.text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("kafka: {bootstrap: 'kafka-1:9092'}", "kafka.bootstrap"),
        ("clickhouse: {dsn: 'http://clickhouse:8123/planewatch'}", "clickhouse.dsn"),
        ("clusters: [{id: prod}]", "clusters"),
    ],
)
def test_a_rehearsal_never_mixes_with_what_is_real(up: Up, text: str, path: str) -> None:
    (up.folder / "planewatch.yaml").write_text(text)
    with pytest.raises(AssertionError, match=f"{path}: a rehearsal does not mix"):
        up.start("--rehearse", "list-storm")
    assert up.process is not None
    assert 2 == up.process.returncode
    assert not up.settings.run.exists()
