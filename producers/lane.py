"""Keep the records of one place on disk. In: frames. Out: files in its folder, and the frames again
in the order in which they came.

The rule this file owns: a file is written at its end only, and removed when Kafka has everything in
it. Which of its records Kafka has, or is being sent, is known in memory only: a process that
begins again begins at the oldest file, so up to one file of records (SEGMENT_BYTES) that Kafka has
already is sent again. Frames go to the page cache and are not synced: they survive any end of the
process, `kill -9` too; a machine that loses power loses what its kernel had not written, under
Linux the last 30 s.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from producers.core.frames import (
    HEAD_BYTES,
    Outgoing,
    body_bytes,
    frame_end,
    next_frame,
    outgoing_of,
)
from schemas.errors import DecodeError

SEGMENT_BYTES: Final = 8_000_000  # a file takes one more record beyond this
SUFFIX: Final = ".spool"


class Spot(NamedTuple):
    """Where a record begins."""

    segment: int
    offset: int


@dataclass(slots=True)
class _Segment:
    """One file."""

    path: Path
    nbytes: int
    ends: dict[int, int] = field(default_factory=dict)  # of records that fly or are done, by offset
    flying: set[int] = field(default_factory=set)


class Lane:
    """The files of one place; one thread at a time may use it."""

    def __init__(self, folder: Path) -> None:
        """Find what an earlier process left.

        Raises:
            OSError: the folder cannot be read.
        """
        self._folder = folder
        self._segments: dict[int, _Segment] = {}  # ascending
        self._open: int | None = None  # what is appended to; never a file of an earlier process
        self._next = Spot(0, 0)  # nothing before it waits
        self.damaged = 0  # stretches of bytes that are no records
        files = folder.glob(f"*{SUFFIX}") if folder.exists() else ()
        for path in sorted(
            (one for one in files if one.stem.isdigit()), key=lambda one: int(one.stem)
        ):
            self._segments[int(path.stem)] = _Segment(path, path.stat().st_size)

    @property
    def nbytes(self) -> int:
        """How much lies on the disk."""
        return sum(one.nbytes for one in self._segments.values())

    @property
    def segments(self) -> list[int]:
        """The numbers of all files, the oldest first."""
        return list(self._segments)

    def append(self, frame: bytes, number: int, *, flies: bool) -> Spot:
        """Write a record; `number` is for a new file, `flies`: it is being sent already.

        Raises:
            OSError: it is not on the disk.
        """
        segment = self._segments.get(self._open) if self._open is not None else None
        if segment is None or segment.nbytes >= SEGMENT_BYTES:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{number:012d}{SUFFIX}"
            path.touch(mode=0o600, exist_ok=False)
            self._open, segment = number, _Segment(path, 0)
            self._segments[number] = segment
        assert self._open is not None
        spot = Spot(self._open, segment.nbytes)
        try:
            _write(segment.path, frame)
        except OSError:
            self._open = None  # half a record may be at its end
            if not segment.nbytes:
                self._remove(spot.segment)
            raise
        segment.nbytes += len(frame)
        if flies:
            segment.ends[spot.offset] = segment.nbytes
            segment.flying.add(spot.offset)
        return spot

    def waits(self) -> bool:
        """Tell whether there is something that is not being sent."""
        return self._skip() is not None

    def take(self) -> tuple[Spot, Outgoing] | None:
        """Return the oldest record that waits, which flies from now on."""
        while segment := self._skip():
            spot = self._next
            outgoing, segment.ends[spot.offset] = _read(segment, spot.offset)
            if outgoing:
                segment.flying.add(spot.offset)
                return spot, outgoing
            self.damaged += 1
        return None

    def finish(self, spot: Spot) -> None:
        """Take note that Kafka has a record, or never will."""
        if segment := self._segments.get(spot.segment):
            segment.flying.discard(spot.offset)
            self._skip()

    def release(self, spot: Spot) -> bool:
        """Let a record that flew wait again; return False where it was given up meanwhile."""
        segment = self._segments.get(spot.segment)
        if segment is None:
            return False
        segment.flying.discard(spot.offset)
        segment.ends.pop(spot.offset, None)
        self._next = min(self._next, spot)
        return True

    def drop(self, number: int) -> int:
        """Remove a file; return how many of its records waited."""
        segment = self._segments[number]
        try:
            waiting = sum(offset not in segment.ends for offset in _offsets(segment))
        except OSError:
            waiting = 0
        self._remove(number)
        return waiting

    def _skip(self) -> _Segment | None:
        """Go on to what waits and return its file; remove files in which nothing waits or flies."""
        for number, segment in list(self._segments.items()):
            offset = self._next.offset if number == self._next.segment else 0
            if number >= self._next.segment:
                while (end := segment.ends.get(offset)) is not None:
                    offset = end
                self._next = Spot(number, offset)
                if offset < segment.nbytes:
                    return segment
            if not segment.flying:
                self._remove(number)
        return None

    def _remove(self, number: int) -> None:
        segment = self._segments.pop(number)
        if number == self._open:
            self._open = None
        with suppress(OSError):  # a file that stays is sent again by the next process, no more
            segment.path.unlink()


def _write(path: Path, frame: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


def _read(segment: _Segment, at: int) -> tuple[Outgoing | None, int]:
    """Return the record at `at` and where it ends; none, and where the next begins, if damaged."""
    try:
        with segment.path.open("rb") as file:
            file.seek(at)
            frame = file.read(HEAD_BYTES)
            frame += file.read(body_bytes(frame) or 0)
            if frame_end(frame) is not None and (outgoing := _outgoing(frame)):
                return outgoing, at + len(frame)
            file.seek(at)
            rest = file.read(segment.nbytes - at)
    except OSError:  # a bad disk, or somebody removed the file
        return None, segment.nbytes
    return None, at + next_frame(rest, 1) if rest else segment.nbytes


def _outgoing(frame: bytes) -> Outgoing | None:
    try:
        return outgoing_of(frame)
    except DecodeError:
        return None


def _offsets(segment: _Segment) -> Iterator[int]:
    """Yield where records begin."""
    data = segment.path.read_bytes()[: segment.nbytes]
    at = next_frame(data, 0)
    while at < len(data):
        yield at
        at = next_frame(data, frame_end(data, at) or len(data))
