"""Tell event time. In: a mapped file, or nothing. Out: milliseconds since 1970 UTC, as the watched
world counts them.

The rule this file owns: event time is (wall time - wall origin) x speed + event origin, the same in
all processes of a rehearsal. Ticks, request timeouts, back-off, lease ages, `for` and the console's
"now" read it; our own plumbing (Kafka, flush age, user interface) reads wall time.
"""

import mmap
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_LAYOUT: Final = struct.Struct(
    "<Qddd"
)  # version (odd while written), wall origin ms, event origin ms, speed


def wall_ms() -> int:
    """Return the wall clock in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


class Clock:
    """A clock of the watched world. Without a file it is the wall clock at speed 1."""

    def __init__(self, file: Path | None = None, *, wall: Callable[[], int] = wall_ms) -> None:
        self._wall = wall
        self._map = _open(file, writable=False) if file else None

    def now_ms(self) -> int:
        """Return event time in milliseconds since 1970 UTC."""
        wall_origin, event_origin, speed = self._read()
        return int(event_origin + (self._wall() - wall_origin) * speed)

    @property
    def speed(self) -> float:
        """Event seconds per wall second."""
        return self._read()[2]

    def wall_s(self, event_ms: float) -> float:
        """Return how many wall seconds `event_ms` of event time take now: for sleeps, timeouts."""
        return max(0.0, event_ms / 1000 / self.speed)

    def _read(self) -> tuple[float, float, float]:
        if self._map is None:
            return 0.0, 0.0, 1.0
        while True:
            before, wall_origin, event_origin, speed = _LAYOUT.unpack_from(self._map)
            if before % 2 == 0 and struct.unpack_from("<Q", self._map)[0] == before:
                return wall_origin, event_origin, speed


class ClockWriter:
    """Sets the clock of a rehearsal; one process owns the file."""

    def __init__(
        self, file: Path, *, event_ms: int, speed: float, wall: Callable[[], int] = wall_ms
    ) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_LAYOUT.pack(0, wall(), event_ms, speed))
        self._map = _open(file, writable=True)
        self._wall = wall
        self._version = 0
        self._origin = (float(wall()), float(event_ms), speed)

    def set_speed(self, speed: float) -> None:
        """Go on at another speed from the present moment; event time never jumps."""
        if not speed > 0:
            raise AssertionError(f"a clock cannot run at speed {speed}")
        wall_origin, event_origin, old = self._origin
        now = float(self._wall())
        self._origin = (now, event_origin + (now - wall_origin) * old, speed)
        struct.pack_into("<Q", self._map, 0, self._version + 1)
        struct.pack_into("<ddd", self._map, 8, *self._origin)
        self._version += 2
        struct.pack_into("<Q", self._map, 0, self._version)


def _open(file: Path, *, writable: bool) -> mmap.mmap:
    with file.open("r+b" if writable else "rb") as opened:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return mmap.mmap(opened.fileno(), _LAYOUT.size, access=access)
