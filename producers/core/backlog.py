"""Decide about records that Kafka does not take. In: how long they wait, what is fresh, what is on
disk. Out: whether they go to disk, how fast they leave it, which are given up.

The rule this file owns: fresh records come first. A backlog is sent with a quarter of the bytes
that are fresh in its partition, so that readers of the partition reach fresh records no later than
that; where nothing was fresh for 5 s it gets 4 MB/s, which readers take in passing.

What is given up when there is no room is scrapes, the oldest first. Counters are cumulative: the
next scrape holds the growth of all that is missing before it, and streams take no scrape that is
older than the newest anyway. A change or a line of a log is told once, so neither is given up:
where only such are left, no more are taken, and whoever read them reads them again from their
source.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from schemas.topics import TopicName

IN_ORDER: Final = frozenset({TopicName.CHANGES})
"""Topics whose fresh records follow what waits: a reader keeps the last change it is told of an
object. An older scrape, and lines of a log by their time, are told apart by whoever reads them."""

GIVEN_UP: Final = frozenset({TopicName.SCRAPES})

SHARE: Final = 0.25  # of the bytes that are fresh
IDLE_MS: Final = 5_000
IDLE_BYTES_PER_S: Final = 4_000_000
CREDIT_BYTES_MAX: Final = 1_000_000  # what may be sent at once after a pause


class Place(NamedTuple):
    """A partition of a topic: what Kafka takes, or does not take, alone."""

    topic: TopicName
    partition: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How much of a backlog may be sent. The credit is below 0 after a record bigger than it."""

    credit_bytes: float = 0.0
    fresh_ms: int | None = None  # when the last fresh record came; None: never
    now_ms: int | None = None

    @property
    def allows(self) -> bool:
        """Tell whether another record may be sent."""
        return self.credit_bytes > 0


def with_fresh(pace: Pace, nbytes: int, now_ms: int) -> Pace:
    """Return the pace after a fresh record was sent."""
    credit = min(CREDIT_BYTES_MAX, pace.credit_bytes + SHARE * nbytes)
    return replace(pace, credit_bytes=credit, fresh_ms=now_ms)


def with_follower(pace: Pace, nbytes: int) -> Pace:
    """Return the pace after a fresh record had to follow the backlog: it brings its own room."""
    return replace(pace, credit_bytes=pace.credit_bytes + (1 + SHARE) * nbytes)


def with_sent(pace: Pace, nbytes: int) -> Pace:
    """Return the pace after a record of the backlog was sent."""
    return replace(pace, credit_bytes=pace.credit_bytes - nbytes)


def at_time(pace: Pace, now_ms: int) -> Pace:
    """Return the pace at `now_ms`: time without anything fresh gives credit of its own."""
    idle = pace.fresh_ms is None or now_ms - pace.fresh_ms >= IDLE_MS
    passed_ms = now_ms - pace.now_ms if pace.now_ms is not None else 1_000
    credit = pace.credit_bytes
    if idle and credit < CREDIT_BYTES_MAX:
        credit = min(CREDIT_BYTES_MAX, credit + IDLE_BYTES_PER_S * passed_ms / 1000)
    return replace(pace, credit_bytes=credit, now_ms=now_ms)


def is_late(oldest_ms: int | None, now_ms: int, late_ms: int) -> bool:
    """Tell whether Kafka is late; `oldest_ms`: since when it has had what it has not reported."""
    return oldest_ms is not None and now_ms - oldest_ms >= late_ms


def first_given_up(segments: Iterable[tuple[Place, int]]) -> tuple[Place, int] | None:
    """Return which segment makes room, of those with their numbers; None if all must stay.

    Numbers grow with time.
    """
    able = [one for one in segments if one[0].topic in GIVEN_UP]
    return min(able, key=lambda one: one[1], default=None)


def lane_name(place: Place) -> str:
    """Return the name of the folder of a place."""
    return f"{place.topic}-{place.partition}"


def lane_place(name: str) -> Place | None:
    """Return the place of a folder, or None where it is of none."""
    topic, _, partition = name.rpartition("-")
    known = topic in frozenset(TopicName) and partition.isascii() and partition.isdigit()
    return Place(TopicName(topic), int(partition)) if known else None
