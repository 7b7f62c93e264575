"""Log files reach Kafka: every line once, across rotation, truncation and restarts."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from producers.logs import LogTails, start_logs
from schemas.clock import Clock
from schemas.errors import BrokerError
from schemas.metrics import Metric
from schemas.records import LogBatch
from schemas.settings import ClusterSettings, LogSettings, ProducersSettings, Settings
from schemas.topics import TopicName
from tests.fakes.embedded import Embedded

WAIT_S = 10.0


class Following:
    """The log tails of one cluster, started and stopped like the stage does."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "etcd.log"
        self.embedded = Embedded(folder / "data")
        self._stop = threading.Event()
        self._tails: LogTails | None = None
        self.pattern = self.log

    def start(self, **limits: int) -> None:
        log = LogSettings(job="etcd", instance="etcd-1", path=self.pattern)
        settings = Settings(
            data=self.embedded.settings.data,
            clusters=[ClusterSettings(id="rehearsal", logs=[log])],
            producers=ProducersSettings(**limits),
        )
        self._stop = threading.Event()
        self._tails = start_logs(
            settings, self.embedded.sender, Clock(), self.embedded.telemetry, self._stop
        )

    def stop(self) -> None:
        if self._tails:
            self.embedded.sender.flush(WAIT_S)
            self._stop.set()
            self._tails.join(WAIT_S)
            self._tails = None

    def healthy(self) -> bool:
        """Raise what ended a thread."""
        assert self._tails
        self._tails.check()
        return True

    def write(self, *lines: str, file: Path | None = None) -> None:
        with (file or self.log).open("a", encoding="utf-8") as out:
            out.writelines(f"{line}\n" for line in lines)

    def messages(self, count: int) -> list[str]:
        """The messages of all lines so far, in order, as soon as there are `count`."""
        batches = self.embedded.read(
            TopicName.LOGS,
            LogBatch,
            lambda found: sum(len(batch.lines) for batch in found) >= count,
        )
        return [line.message for batch in batches for line in batch.lines]

    def errors(self) -> float:
        return self.embedded.telemetry.value(Metric.ERRORS, kind="log_file")

    def told(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        """What was logged of files that cannot be used."""
        return [one for one in caplog.messages if one.startswith("cannot")]

    def sent(self) -> float:
        return self.embedded.telemetry.value(Metric.LOG_LINES, cluster="rehearsal", job="etcd")


def until(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not fact():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


@pytest.fixture
def following(tmp_path: Path) -> Iterator[Following]:
    following = Following(tmp_path)
    yield following
    following.stop()
    following.embedded.close()


def test_lines_that_come_later_are_sent_too(following: Following) -> None:
    following.write("one", "two")
    following.start()
    until(lambda: following.sent() == 2)

    following.write("three")

    assert ["one", "two", "three"] == following.messages(3)


def test_a_restart_sends_only_what_is_new(following: Following) -> None:
    following.write("one", "two")
    following.start()
    following.messages(2)
    following.stop()
    following.write("three")
    following.start()

    assert ["one", "two", "three"] == following.messages(3)
    until(lambda: following.sent() == 3)


@pytest.mark.parametrize("pattern", ["etcd.log", "etcd.log*"])
def test_rotation_loses_and_doubles_nothing(following: Following, pattern: str) -> None:
    following.pattern = following.log.with_name(pattern)
    following.write("one")
    following.start()
    until(lambda: following.sent() == 1)
    old = following.log.with_name("etcd.log.1")

    following.log.rename(old)
    following.write("late", file=old)
    following.write("next")
    until(lambda: following.sent() == 3)

    assert ["late", "next", "one"] == sorted(following.messages(3))


def test_rotation_while_nobody_followed_loses_nothing(following: Following) -> None:
    following.write("one")
    following.start()
    following.messages(1)
    following.stop()
    following.write("unread")
    following.log.rename(following.log.with_name("etcd.log.1"))
    following.write("next")
    following.start()

    assert ["one", "unread", "next"] == following.messages(3)


def test_a_truncated_file_begins_again(following: Following) -> None:
    following.write("one", "two")
    following.start()
    until(lambda: following.sent() == 2)

    following.log.write_text("new\n")

    assert ["one", "two", "new"] == following.messages(3)


def test_bytes_that_are_no_text_and_lines_too_long_are_sent(following: Following) -> None:
    following.log.write_bytes(b"\xff\xfe bad\n" + b"x" * 5_000 + b"\nend\n")
    following.start(line_bytes_max=1_000)

    assert ["\ufffd\ufffd bad", "x" * 1_000, "end"] == following.messages(3)
    hits = following.embedded.telemetry.value(Metric.LIMIT_HITS, limit="line_bytes_max")
    assert 1 == hits


def test_a_line_that_no_record_can_hold_is_cut(following: Following) -> None:
    following.log.write_bytes(b"\x01" * 900_000 + b"\nend\n")  # JSON writes six bytes for one
    following.start()

    assert [10_000, 3] == [len(message) for message in following.messages(2)]


def test_a_file_that_appears_later_is_read_from_its_start(following: Following) -> None:
    following.start()
    following.write("one")

    assert ["one"] == following.messages(1)


def test_each_file_that_cannot_be_used_is_told_once_until_it_can(
    following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [following.log.with_name(f"etcd.{number}.log") for number in range(3)]
    for folder in broken:
        folder.mkdir()  # can be opened by nobody, whatever their rights
    following.pattern = following.log.with_name("etcd*.log")
    following.start()
    until(lambda: following.errors() >= 9)

    assert sorted(f"cannot open log={one} error=Is a directory" for one in broken) == sorted(
        following.told(caplog)
    )
    broken[0].rmdir()
    following.write("one", file=broken[0])
    assert ["one"] == following.messages(1)
    broken[0].unlink()
    broken[0].mkdir()
    until(lambda: len(following.told(caplog)) == 4)


def test_a_tail_that_ended_says_what_ended_it(following: Following) -> None:
    following.write("one")
    following.start()
    following.messages(1)
    assert following.healthy()
    following.embedded.sender.close()
    following.write("two")

    with pytest.raises(BrokerError, match="after the sender was closed"):
        until(lambda: not following.healthy())


def test_a_real_log_arrives_line_by_line(following: Following, shared_fixtures: Path) -> None:
    capture = shared_fixtures / "cluster" / "logs" / "etcd1.jsonl.gz"
    raw = gzip.decompress(capture.read_bytes()).decode()
    following.log.write_text(raw)
    following.start()

    batches = following.embedded.read(
        TopicName.LOGS, LogBatch, lambda found: sum(len(one.lines) for one in found) >= 316
    )

    assert raw.splitlines() == [line.raw for batch in batches for line in batch.lines]
    assert {("rehearsal", "etcd", "etcd-1")} == {(b.cluster, b.job, b.instance) for b in batches}
