"""Follow one growing file. In: its path, where to begin. Out: whole lines, and how far Kafka is.

The rule this file owns: a file is known by device, inode and how it begins, not by its name. One
that was renamed is read to its end before the new one begins; one that became shorter or begins
otherwise is read from its start.
"""

import os
import time
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from producers.core.tailing import Cut, cut

CHUNK_BYTES: Final = 1_000_000
HEAD_BYTES: Final = 256
OLD_BYTES_MAX: Final = 10_000_000  # of a file that nobody followed before; what is older is history

FileId = tuple[int, int]  # device, inode
OnDelivery = Callable[[Exception | None], None]


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far Kafka has a file, which begins with bytes of this checksum."""

    device: int
    inode: int
    head_bytes: int
    head_crc: int
    offset: int
    folder: str  # where it was seen last

    @property
    def file_id(self) -> FileId:
        """What a file keeps when it is renamed."""
        return self.device, self.inode


class _Step:
    """One record on its way to Kafka; `offset`: how far the file is done with it, if it is."""

    def __init__(self, offset: int | None) -> None:
        self.offset, self.done, self.lost = offset, False, False


class Tail:
    """One open file, read by one thread; any thread may acknowledge."""

    def __init__(self, path: Path, position: Position | None, *, old: bool) -> None:
        """Go on at `position`, if it is one of this file; else begin at the start.

        `old`: the file was there before anybody followed it, so of a big one only the end is news.

        Raises:
            OSError: the file cannot be opened.
        """
        self.path = path
        self._file: BinaryIO = path.open("rb")
        status = os.fstat(self._file.fileno())
        self.file_id: FileId = status.st_dev, status.st_ino
        self._head = self._read_head(HEAD_BYTES)
        begin, self._skipping = 0, False
        if position and self._continues(position, status.st_size):
            begin = position.offset
        elif old and status.st_size > OLD_BYTES_MAX:
            begin, self._skipping = status.st_size - OLD_BYTES_MAX, True
        self._offset = self._acknowledged = begin
        self._steps: deque[_Step] = deque()
        self._renamed_s: float | None = None

    def renamed_for_s(self) -> float:
        """Return for how long the path has not led to this file; 0 while it does."""
        now_s = time.monotonic()
        if file_id(self.path) == self.file_id:
            self._renamed_s = None
        elif self._renamed_s is None:
            self._renamed_s = now_s
        return now_s - (self._renamed_s or now_s)

    @property
    def settled(self) -> bool:
        """Tell whether Kafka has all that was read."""
        return not self._steps

    def read(self, line_bytes_max: int, *, ended: bool) -> Cut:
        """Return the next lines; none when there is nothing new. `ended`: it will not grow.

        Raises:
            OSError: the file cannot be read.
        """
        size = os.fstat(self._file.fileno()).st_size
        if size < self._offset or self._read_head(len(self._head)) != self._head:  # truncated
            self._restart(0)
            self._head = b""
        if len(self._head) < HEAD_BYTES:
            self._head = self._read_head(HEAD_BYTES)
        wanted = max(CHUNK_BYTES, line_bytes_max + 1)
        self._file.seek(self._offset)
        data = self._file.read(wanted)
        at_end = ended and len(data) < wanted
        found = cut(data, skipping=self._skipping, line_bytes_max=line_bytes_max, ended=at_end)
        self._offset += found.consumed
        self._skipping = found.skipping
        return found

    def sent(self, *, last: bool) -> OnDelivery:
        """Take note of a record; `last`: all that was read is now on its way.

        Return what Kafka must call.
        """
        step = _Step(self._offset if last else None)
        self._steps.append(step)

        def acknowledge(error: Exception | None) -> None:
            step.lost, step.done = error is not None, error is None

        return acknowledge

    def settle(self) -> Position | None:
        """Return how far Kafka is, if that is news; where it lost a record, read on from there."""
        before = self._acknowledged
        while self._steps and self._steps[0].done:
            offset = self._steps.popleft().offset
            self._acknowledged = self._acknowledged if offset is None else offset
        if any(step.lost for step in self._steps):
            self._restart(self._acknowledged)
        return self.position() if self._acknowledged != before else None

    def position(self) -> Position:
        """Return how far Kafka is."""
        device, inode = self.file_id
        return Position(
            device=device,
            inode=inode,
            head_bytes=len(self._head),
            head_crc=zlib.crc32(self._head),
            offset=self._acknowledged,
            folder=str(self.path.parent),
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _continues(self, position: Position, size: int) -> bool:
        """Inodes are used again: the file must begin as it did and be as long as it was."""
        head = self._head[: position.head_bytes]
        return (
            position.file_id == self.file_id
            and size >= position.offset
            and len(head) == position.head_bytes
            and zlib.crc32(head) == position.head_crc
        )

    def _read_head(self, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, 0)

    def _restart(self, offset: int) -> None:
        self._offset = self._acknowledged = offset
        self._skipping = False
        self._steps.clear()


def file_id(path: Path) -> FileId | None:
    """Return the identity of the file that `path` leads to, or None."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
