"""Know up to when a worker has heard everything. In: where a log ended when it was asked, what was
read. Out: moments before which silence was silence.

The rules this file owns:
- Everything that was written before a moment has been heard when the log was asked for its end at
  that moment, or later, and has been read to there. A worker with a backlog knows of no moment.
- Where two moments are far apart, the worker was deaf in between (Kafka was away, the machine was
  paused, partitions were elsewhere), and perhaps nobody could write: silence begins at the later.

    asked     |end=7          |end=9
    read      5  6      7-8   9             the log was read to 9 (7): all up to |end=9 was heard
"""

from dataclasses import dataclass
from typing import Final

DEAF_MS: Final = 5_000
"""On the wall clock, between two moments; the log is asked once a second."""


@dataclass(frozen=True, slots=True)
class Now:
    """The worker's two clocks."""

    wall_ms: int
    event_ms: int


@dataclass(frozen=True, slots=True)
class Moment:
    """All that was written before it has been heard."""

    now: Now
    deaf: bool  # not everything since the moment before it


class Hearing:
    """What one partition's worker knows to have heard."""

    def __init__(self) -> None:
        self._asked: tuple[Now, int] | None = None  # not read to there yet
        self._last_ms: int | None = None

    def asked(self, now: Now, end: int) -> None:
        """Note where the log ended at `now`, or later."""
        if self._asked is None:
            self._asked = (now, end)

    def moment(self, received: int) -> Moment | None:
        """Return the moment that is reached by having read up to the offset `received`."""
        if self._asked is None or received < self._asked[1] - 1:
            return None
        now, self._asked = self._asked[0], None
        deaf = self._last_ms is None or now.wall_ms - self._last_ms > DEAF_MS
        self._last_ms = now.wall_ms
        return Moment(now, deaf)
