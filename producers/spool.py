"""Keep on disk what Kafka does not take. In: records by place. Out: the same records, later.

The rule this file owns: what is in `<data>/producers/spool` never exceeds a maximum. When there is
no room, by that maximum or on the disk, the oldest scrapes are given up, and counted; where none
are left a record is refused, and its sender hears so. Bytes that are no whole records, as a killed
process or a bad disk leaves them, are counted and passed over.

A record comes to be in Kafka twice where the process ended after Kafka took it and before its file
was removed, or where Kafka took it and its report was lost. The two are equal byte by byte. Streams
drop the second scrape by its id and tick (uncounted as a repetition of the newest, else counted
`late`); a change sets its object to what it was; lines of a log are counted twice. Sinks store each
record of Kafka, so both are in the tables, told apart by their coordinates and equal in scrape id
and sequence.

A record that is sent late comes after newer ones. Streams take no scrape that is older than the
newest of its target: it is counted `late` and no rule sees it, but sinks store it under the time of
its request. A scrape whose first chunks Kafka had before an outage may be half to streams, and is
counted (`incomplete_scrape`). Facts fold late lines and changes into the step that is open.
"""

import errno
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producers.core.backlog import Place, first_given_up, lane_name, lane_place
from producers.core.frames import FRAME_BYTES_MAX, Outgoing, framed
from producers.lane import Lane, Spot
from schemas.errors import ConfigError, Problem
from schemas.metrics import Metric
from schemas.telemetry import Telemetry

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a record is."""

    place: Place
    spot: Spot


class Spool:
    """All records that wait on disk; one thread at a time may use it."""

    def __init__(self, folder: Path, bytes_max: int, telemetry: Telemetry) -> None:
        """Find what an earlier process left.

        Raises:
            ConfigError: the folder cannot be read.
        """
        self._folder, self._bytes_max, self._telemetry = folder, bytes_max, telemetry
        self._lanes: dict[Place, Lane] = {}
        self._troubled = False  # by a full or failing disk: told once, until it is over
        try:
            for path in sorted(folder.iterdir()) if folder.exists() else ():
                if place := lane_place(path.name):
                    self._lanes[place] = Lane(path)
        except OSError as error:
            raise ConfigError([Problem("data", f"cannot be read: {error}")]) from error
        self._number = max((n for one in self._lanes.values() for n in one.segments), default=0)
        if nbytes := self._show():
            logger.info("the spool has records of an earlier run bytes=%d", nbytes)

    @property
    def places(self) -> list[Place]:
        """Of which places there were records at any time."""
        return list(self._lanes)

    def keep(self, place: Place, outgoing: Outgoing, *, flies: bool) -> Kept | None:
        """Write a record; None where there is no room. `flies`: it is on its way to Kafka, too."""
        frame = framed(outgoing)
        if len(frame) > FRAME_BYTES_MAX:
            return None
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane(self._folder / lane_name(place))
        while self._show() + len(frame) > self._bytes_max:
            self._telemetry.count(Metric.LIMIT_HITS, limit="spool_bytes_max")
            self._trouble("spool_bytes_max is reached")
            if not self._give_up():
                return None
        while True:
            try:
                spot = lane.append(frame, self._number + 1, flies=flies)
            except OSError as error:
                self._telemetry.count(Metric.ERRORS, kind="spool_write")
                self._trouble(str(error))
                if error.errno not in NO_ROOM or not self._give_up():
                    return None
            else:
                break
        self._number = max(self._number, spot.segment)
        self._telemetry.count(Metric.RECORDS_SPOOLED, topic=place.topic)
        self._show()
        return Kept(place, spot)

    def waits(self, place: Place) -> bool:
        """Tell whether records of a place are here that are not on their way to Kafka."""
        lane = self._lanes.get(place)
        return lane is not None and lane.waits()

    def take(self, place: Place) -> tuple[Kept, Outgoing] | None:
        """Return the oldest record of a place that waits; it flies from now on."""
        lane = self._lanes[place]
        found = lane.take()
        if lane.damaged:
            self._telemetry.count(Metric.ERRORS, lane.damaged, kind="spool_damaged")
            logger.error("the spool is damaged place=%s times=%d", lane_name(place), lane.damaged)
            lane.damaged = 0
            self._show()
        return (Kept(place, found[0]), found[1]) if found else None

    def finish(self, kept: Kept) -> None:
        """Take note that Kafka has a record, or will never take it."""
        self._lanes[kept.place].finish(kept.spot)
        if not self._show() and self._troubled:
            self._troubled = False
            logger.info("the spool is empty again")

    def release(self, kept: Kept) -> bool:
        """Let a record wait again; return False where it was given up meanwhile."""
        return self._lanes[kept.place].release(kept.spot)

    def _give_up(self) -> bool:
        """Give the oldest file up that may be; return False where none may."""
        found = first_given_up(
            (place, number) for place, lane in self._lanes.items() for number in lane.segments
        )
        if found is None:
            return False
        place, number = found
        lost = self._lanes[place].drop(number)
        self._telemetry.count(Metric.RECORDS_DROPPED, lost, reason="spool_full")
        return True

    def _trouble(self, what: str) -> None:
        if not self._troubled:
            logger.error("the spool gives up its oldest scrapes, or takes no more: %s", what)
        self._troubled = True

    def _show(self) -> int:
        """Return how much is here, which is also a series."""
        nbytes = sum(lane.nbytes for lane in self._lanes.values())
        self._telemetry.set(Metric.SPOOL_BYTES, nbytes)
        return nbytes
