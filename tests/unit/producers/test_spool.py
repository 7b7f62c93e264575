"""What is in the spool comes out again in order, also for the next process, and has a maximum."""

import errno
import os
from pathlib import Path

import pytest

from producers import lane
from producers.core.backlog import Place
from producers.core.frames import Outgoing, framed
from producers.spool import Kept, Spool
from schemas.metrics import Metric
from schemas.telemetry import Telemetry
from schemas.topics import TopicName

SCRAPES = Place(TopicName.SCRAPES, 0)
CHANGES = Place(TopicName.CHANGES, 0)
BYTES_MAX = 30_000_000


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry("producers")


@pytest.fixture
def spool(tmp_path: Path, telemetry: Telemetry) -> Spool:
    return Spool(tmp_path / "spool", BYTES_MAX, telemetry)


def record(number: int, place: Place = SCRAPES, nbytes: int = 10) -> Outgoing:
    return Outgoing(place.topic, "c", f"c/{number}", bytes(nbytes))


def keep(spool: Spool, *numbers: int, place: Place = SCRAPES, flies: bool = False) -> list[Kept]:
    kept = [spool.keep(place, record(number, place), flies=flies) for number in numbers]
    assert None not in kept
    return [one for one in kept if one]


def drain(spool: Spool, place: Place = SCRAPES) -> list[int]:
    """Take everything that waits, as if Kafka took it."""
    found = []
    while spool.waits(place) and (taken := spool.take(place)):
        found.append(int(taken[1].key.removeprefix("c/")))
        spool.finish(taken[0])
    return found


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool").rglob("*.spool"))


def test_records_come_out_in_order_and_leave_nothing_behind(
    spool: Spool, telemetry: Telemetry, tmp_path: Path
) -> None:
    keep(spool, 1, 2, 3)
    keep(spool, 4, place=CHANGES)
    assert sum(one.stat().st_size for one in files(tmp_path)) == telemetry.value(Metric.SPOOL_BYTES)
    assert 3 == telemetry.value(Metric.RECORDS_SPOOLED, topic="scrapes")

    assert [1, 2, 3] == drain(spool)
    assert [4] == drain(spool, CHANGES)
    assert [] == files(tmp_path)
    assert 0 == telemetry.value(Metric.SPOOL_BYTES)
    keep(spool, 5)
    assert [5] == drain(spool)


def test_nothing_is_written_where_nothing_is_kept(spool: Spool, tmp_path: Path) -> None:
    assert [] == drain(spool)
    assert not (tmp_path / "spool").exists()


def test_the_next_process_sends_what_the_one_before_left(
    spool: Spool, telemetry: Telemetry, tmp_path: Path
) -> None:
    """Also what flew: whether Kafka had it nobody knows any more."""
    keep(spool, 1, 2)
    keep(spool, 3, flies=True)

    after = Spool(tmp_path / "spool", BYTES_MAX, telemetry)
    keep(after, 4)  # into a file of its own
    assert 2 == len(files(tmp_path))
    assert [1, 2, 3, 4] == drain(after)
    assert [] == files(tmp_path)


def test_what_flies_does_not_wait_until_it_comes_back(spool: Spool, tmp_path: Path) -> None:
    one, two = keep(spool, 1, 2, flies=True)
    assert not spool.waits(SCRAPES)
    keep(spool, 3)
    spool.finish(two)
    assert spool.release(one)
    assert [1, 3] == drain(spool)
    assert [] == files(tmp_path)


def test_files_go_one_by_one(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SEGMENT_BYTES", 1)  # one record a file
    flying = keep(spool, 1, 2, 3, flies=True)
    keep(spool, 4)
    for kept, left in ((flying[1], 3), (flying[0], 2)):
        spool.finish(kept)
        assert left == len(files(tmp_path))
    assert spool.release(flying[2])
    assert [3, 4] == drain(spool)
    assert [] == files(tmp_path)


@pytest.mark.parametrize("cut", range(1, len(framed(record(2)))))
def test_a_record_that_was_half_written_is_counted_and_the_others_are_sent(
    spool: Spool, telemetry: Telemetry, tmp_path: Path, cut: int
) -> None:
    keep(spool, 1, 2)
    (file,) = files(tmp_path)
    os.truncate(file, file.stat().st_size - cut)

    after = Spool(tmp_path / "spool", BYTES_MAX, telemetry)
    keep(after, 3)
    assert [1, 3] == drain(after)
    assert 1 == telemetry.value(Metric.ERRORS, kind="spool_damaged")
    assert [] == files(tmp_path)


@pytest.mark.parametrize("at", [0, 5, 9, 30], ids=["mark", "length", "checksum", "body"])
def test_a_damaged_record_is_counted_and_the_others_are_sent(
    spool: Spool, telemetry: Telemetry, tmp_path: Path, at: int
) -> None:
    keep(spool, 1, 2, 3)
    (file,) = files(tmp_path)
    data = bytearray(file.read_bytes())
    data[len(framed(record(1))) + at] ^= 0x40
    file.write_bytes(data)
    assert [1, 3] == drain(spool)
    assert 1 == telemetry.value(Metric.ERRORS, kind="spool_damaged")


def test_a_file_that_somebody_removed_is_counted(
    spool: Spool, telemetry: Telemetry, tmp_path: Path
) -> None:
    keep(spool, 1, 2)
    files(tmp_path)[0].unlink()
    assert spool.keep(SCRAPES, record(3), flies=False) is None
    keep(spool, 4)
    assert [4] == drain(spool)
    assert 1 == telemetry.value(Metric.ERRORS, kind="spool_damaged")
    assert 0 == telemetry.value(Metric.SPOOL_BYTES)


def big(spool: Spool, *numbers: int, place: Place = SCRAPES) -> list[Kept | None]:
    return [spool.keep(place, record(number, place, 1_000_000), flies=False) for number in numbers]


def test_the_oldest_scrapes_make_room(
    spool: Spool, telemetry: Telemetry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    big(spool, *range(4), place=CHANGES)
    flying = keep(spool, 4, flies=True)
    assert None not in big(spool, *range(5, 60))
    assert sum(one.stat().st_size for one in files(tmp_path)) <= BYTES_MAX
    given_up = int(telemetry.value(Metric.RECORDS_DROPPED, reason="spool_full"))
    assert not spool.release(flying[0])  # it was among the first, and its sender counts it
    assert 0 < given_up < 40
    assert [*range(5 + given_up, 60)] == drain(spool)
    assert [*range(4)] == drain(spool, CHANGES)
    assert 1 == sum("gives up" in one.message for one in caplog.records)
    assert 1 <= telemetry.value(Metric.LIMIT_HITS, limit="spool_bytes_max")


def test_what_is_told_once_is_refused_rather_than_given_up(
    spool: Spool, telemetry: Telemetry
) -> None:
    kept = big(spool, *range(40), place=CHANGES)
    fitting = kept.index(None)
    assert set(kept[fitting:]) == {None}
    assert [None] == big(spool, 99)  # there is no scrape that would make room
    assert [*range(fitting)] == drain(spool, CHANGES)
    assert 0 == telemetry.value(Metric.RECORDS_DROPPED, reason="spool_full")
    assert None not in big(spool, 99)


def test_a_record_beyond_all_limits_is_refused(spool: Spool) -> None:
    assert spool.keep(SCRAPES, record(1, nbytes=2_000_001), flies=False) is None
    assert [] == drain(spool)


def test_a_full_disk_costs_the_oldest_scrapes(
    spool: Spool,
    telemetry: Telemetry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No test can fill a disk, so the call that writes to it is told that it is full."""
    monkeypatch.setattr(lane, "SEGMENT_BYTES", 1)
    write = os.write

    def full(handle: int, data: memoryview) -> int:
        if len(files(tmp_path)) <= 3:
            return write(handle, data)
        write(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    keep(spool, 1, 2, 3)
    keep(spool, 4, 5, place=CHANGES)
    assert 2 == telemetry.value(Metric.RECORDS_DROPPED, reason="spool_full")
    keep(spool, 6)
    assert spool.keep(CHANGES, record(7, CHANGES), flies=False)
    assert spool.keep(CHANGES, record(8, CHANGES), flies=False) is None
    assert spool.keep(SCRAPES, record(9), flies=False) is None
    assert [4, 5, 7] == drain(spool, CHANGES)
    keep(spool, 10)
    assert [10] == drain(spool)
    assert 1 == sum("gives up" in one.message for one in caplog.records)


@pytest.mark.parametrize("restarted", [False, True])
def test_half_a_record_for_which_the_disk_had_no_room_costs_no_other(
    spool: Spool,
    telemetry: Telemetry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    restarted: bool,
) -> None:
    """No test can fill a disk, so the call that writes to it is told that it is full."""
    keep(spool, 1, place=CHANGES)
    write, parts = os.write, [10]

    def full(handle: int, data: memoryview) -> int:
        if not parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data[: parts.pop()])

    monkeypatch.setattr(os, "write", full)
    assert spool.keep(CHANGES, record(2, CHANGES), flies=False) is None
    monkeypatch.setattr(os, "write", write)
    keep(spool, 3, place=CHANGES)
    if restarted:
        spool = Spool(tmp_path / "spool", BYTES_MAX, telemetry)
    assert [1, 3] == drain(spool, CHANGES)
    assert int(restarted) == telemetry.value(Metric.ERRORS, kind="spool_damaged")


def test_a_disk_that_cannot_be_written_gives_nothing_up(
    spool: Spool, telemetry: Telemetry, tmp_path: Path
) -> None:
    keep(spool, 1)
    (tmp_path / "spool" / "changes-0").write_text("where a folder should be")
    assert spool.keep(CHANGES, record(2, CHANGES), flies=False) is None
    assert 1 == telemetry.value(Metric.ERRORS, kind="spool_write")
    assert [1] == drain(spool)
