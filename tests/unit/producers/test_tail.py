"""A file is followed by what it is, not by its name, and as far as Kafka has it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from producers.tail import OLD_BYTES_MAX, Position, Tail

LINE_BYTES_MAX = 1_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "etcd.log"
    file.write_bytes(b"one\ntwo\n")
    return file


class Follow(Protocol):
    def __call__(
        self, file: Path, position: Position | None = None, *, old: bool = False
    ) -> Tail: ...


@pytest.fixture
def follow() -> Iterator[Follow]:
    opened: list[Tail] = []

    def open_one(file: Path, position: Position | None = None, *, old: bool = False) -> Tail:
        opened.append(Tail(file, position, old=old))
        return opened[-1]

    yield open_one
    for tail in opened:
        tail.close()


def lines(tail: Tail) -> list[bytes]:
    return tail.read(LINE_BYTES_MAX, ended=False).lines


def acknowledged(tail: Tail) -> Position:
    """Let Kafka have all that was read."""
    tail.sent(last=True)(None)
    position = tail.settle()
    assert position is not None
    return position


def test_a_restart_goes_on_where_kafka_is(file: Path, follow: Follow) -> None:
    tail = follow(file)
    assert [b"one", b"two"] == lines(tail)
    position = acknowledged(tail)
    with file.open("ab") as more:
        more.write(b"three\n")

    assert [b"three"] == lines(follow(file, position))


def test_what_kafka_does_not_have_is_read_again_after_a_restart(file: Path, follow: Follow) -> None:
    tail = follow(file)
    lines(tail)
    tail.sent(last=True)

    assert tail.settle() is None
    assert 0 == tail.position().offset


def test_what_kafka_lost_is_read_again_at_once(file: Path, follow: Follow) -> None:
    tail = follow(file)
    lines(tail)
    first, second = tail.sent(last=False), tail.sent(last=True)
    second(None)
    first(RuntimeError("timed out"))

    assert tail.settle() is None
    assert [b"one", b"two"] == lines(tail)


def test_records_of_one_read_count_when_the_last_is_there(file: Path, follow: Follow) -> None:
    tail = follow(file)
    lines(tail)
    first, second = tail.sent(last=False), tail.sent(last=True)
    first(None)
    assert tail.settle() is None

    second(None)
    position = tail.settle()
    assert position is not None
    assert 8 == position.offset


def test_a_truncated_file_is_read_from_its_start(file: Path, follow: Follow) -> None:
    tail = follow(file)
    lines(tail)
    acknowledged(tail)

    file.write_bytes(b"new\n")

    assert [b"new"] == lines(tail)


def test_a_file_truncated_and_grown_beyond_is_read_from_its_start(
    file: Path, follow: Follow
) -> None:
    tail = follow(file)
    lines(tail)
    acknowledged(tail)

    file.write_bytes(b"another\nmuch longer\nthan before\n")

    assert [b"another", b"much longer", b"than before"] == lines(tail)


def test_an_inode_that_is_used_again_is_another_file(file: Path, follow: Follow) -> None:
    tail = follow(file)
    lines(tail)
    position = acknowledged(tail)

    file.write_bytes(b"another\nmuch longer\nthan before\n")

    assert [b"another", b"much longer", b"than before"] == lines(follow(file, position))


def test_a_renamed_file_is_read_on(file: Path, follow: Follow) -> None:
    tail = follow(file)
    lines(tail)
    file.rename(file.with_suffix(".log.1"))
    file.write_bytes(b"of the next file\n")
    with file.with_suffix(".log.1").open("ab") as late:
        late.write(b"late\n")

    assert [b"late"] == lines(tail)
    assert follow(file).file_id != tail.file_id


def test_of_a_big_old_file_only_the_end_is_news(tmp_path: Path, follow: Follow) -> None:
    file = tmp_path / "old.log"
    file.write_bytes(b"x" * 99 + b"\n" + b"y" * OLD_BYTES_MAX + b"\nend\n")

    tail = follow(file, old=True)
    found = [line for _ in range(OLD_BYTES_MAX // 1_000_000 + 2) for line in lines(tail)]

    assert [b"end"] == found
