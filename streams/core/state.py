"""Give the state of a cluster its form in the table. In: values. Out: bytes under `cluster/kind`.

The rule this file owns: what is in the table is enough to go on as if nothing had happened.
`position` says up to which scrape everything was emitted; a rewind point holds the small states
and the offsets from which the big ones (the windows) are rebuilt. Each alert has a key of its own:
there may be as many as rules make, and a value is one Kafka record.

    rewind-0 ... rewind-4 ...... rewind-k      position
    |           |  <- read from here  |        |  <- emit from here
    +-----------+---------------------+--------+---> scrapes
                <---- rewind_s ---->
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from schemas.errors import DecodeError
from schemas.topics import TopicName
from streams.core.facts.steps import FactsState, StepOffsets
from streams.core.rules.alerts import State
from streams.core.watermark import Budget, WatermarkState

VERSION: Final = 2
NOTE_MS: Final = 60_000
"""A rewind point is noted once in this much event time."""

POSITION: Final = "position"
NUMBERING: Final = "alerts"
_ALERT: Final = "alert-"
_REWIND: Final = "rewind-"

Kinds = Mapping[str, bytes]
"""The values of one cluster by kind."""

T = TypeVar("T", bound=msgspec.Struct)


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Up to where a cluster was evaluated."""

    version: int = VERSION
    epoch: int
    evaluated: int  # offset in `scrapes`
    newest_ms: int
    aligned: dict[str, int]  # the last aligned time of each group
    steps: list[StepOffsets]  # closed since the last rewind point
    budget: Budget
    points: int  # noted so far


class Numbering(msgspec.Struct, frozen=True, kw_only=True):
    """Where the numbers of an alert begin that was forgotten and comes again."""

    seq_floor: int


class RewindPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replay can begin."""

    version: int = VERSION
    number: int
    newest_ms: int
    read_from: int  # offset in `scrapes`: the first chunk of what was half here
    received: dict[TopicName, int]  # last offset of each topic that had come
    watermark: WatermarkState
    facts: FactsState
    steps: list[StepOffsets]  # closed since the point before


@dataclass(frozen=True, slots=True)
class Saved:
    """What the table says about one cluster."""

    position: Position
    point: RewindPoint  # from where to replay
    steps: tuple[StepOffsets, ...]  # closed after the point
    alerts: tuple[State, ...]
    seq_floor: int


def points_kept(rewind_ms: int) -> int:
    """Return how many points are kept, so that one is always old enough."""
    return -(-rewind_ms // NOTE_MS) + 2


def point_kind(number: int, rewind_ms: int) -> str:
    """Return where the point `number` is kept; it takes the place of the oldest."""
    return f"{_REWIND}{number % points_kept(rewind_ms)}"


def alert_kind(fingerprint: str) -> str:
    """Return where the state of an alert is kept."""
    return _ALERT + fingerprint


def table_key(cluster: str, kind: str) -> bytes:
    """Return the key of a value in the table."""
    return f"{cluster}/{kind}".encode()


def by_cluster(items: Iterable[tuple[bytes, bytes]]) -> dict[str, dict[str, bytes]]:
    """Return the values of a table by cluster and kind."""
    found: dict[str, dict[str, bytes]] = {}
    for key, value in items:
        cluster, _, kind = key.decode().rpartition("/")
        found.setdefault(cluster, {})[kind] = value
    return found


def saved(kinds: Kinds, rewind_ms: int) -> Saved | None:
    """Return what was saved of a cluster, with the newest rewind point that is old enough.

    None where nothing was emitted yet.

    Raises:
        DecodeError: it was saved by a release that this one cannot read.
    """
    if POSITION not in kinds:
        return None
    position = _decode(kinds[POSITION], Position)
    if position.version != VERSION:
        raise DecodeError(f"the state has version {position.version}, not {VERSION}")
    points = sorted(_points(kinds, position), key=lambda one: one.number)
    if not points:
        raise DecodeError("the state has a position and no rewind point")
    old = [one for one in points if one.newest_ms <= position.newest_ms - rewind_ms]
    point = old[-1] if old else points[0]
    steps = [step for one in points if one.number > point.number for step in one.steps]
    floor = _decode(kinds[NUMBERING], Numbering).seq_floor if NUMBERING in kinds else 0
    return Saved(position, point, (*steps, *position.steps), tuple(_alerts(kinds)), floor)


def _alerts(kinds: Kinds) -> Iterator[State]:
    return (_decode(kinds[kind], State) for kind in sorted(kinds) if kind.startswith(_ALERT))


def _points(kinds: Kinds, position: Position) -> Iterator[RewindPoint]:
    """Yield the points up to the position; what an older state left in their places is passed."""
    for kind, value in kinds.items():
        if kind.startswith(_REWIND):
            with suppress(DecodeError):
                point = _decode(value, RewindPoint)
                if point.version == VERSION and point.number <= position.points:
                    yield point


def _decode(value: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(value, type=kind)
    except msgspec.DecodeError as error:
        raise DecodeError(f"the state is no {kind.__name__}: {error}") from error
