"""Give the state of a cluster its form in the table. In: values. Out: bytes under `cluster/kind`.

The rule this file owns: what is in the table is enough to go on as if nothing had happened.
`position` says up to which scrape everything was emitted; a rewind point holds the small states
and the offsets from which the big ones (the windows) are rebuilt; windows that reach back further
than a replay are saved as they are, under the name of their target. Each alert has its own key:
there may be as many as rules make, and a value is one Kafka record. A position repeats what its
record changed of the alerts: it is written before them, so both are known or neither is. What it
repeats is written again after a crash, before the next position takes its place.

    rewind-0 ... rewind-4 ...... rewind-k      position
    |           |  <- read from here  |        |  <- emit from here
    +-----------+---------------------+--------+---> scrapes
                <---- rewind_s ---->

Offsets are worth something only in the log that they were noted for, so its id is kept, too. Where
a topic was made anew or ends before them, what does not depend on them goes on: event time, alerts,
facts. A log that was made anew is read and evaluated from its beginning; windows begin again.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from schemas.errors import DecodeError
from schemas.topics import TopicName
from streams.core.facts.steps import FactsState, StepOffsets
from streams.core.failing import Failures
from streams.core.judging import Budget
from streams.core.promql.past import Past
from streams.core.rules.alerts import State
from streams.core.watermark import WatermarkState

INPUTS: Final = (TopicName.SCRAPES, TopicName.CHANGES, TopicName.AUDIT, TopicName.LOGS)
"""The topics that are read, hence whose offsets are state."""

VERSION: Final = 2
NOTE_MS: Final = 60_000
"""A rewind point is noted at most once in this much event time."""
POINTS: Final = 11
"""So many of them span a rewind that is longer than as many notes."""

POSITION: Final = "position"
NUMBERING: Final = "alerts"
_ALERT: Final = "alert-"
_REWIND: Final = "rewind-"
_PAST: Final = "past-"
RECORDED: Final = "recorded"
"""The name of the past of recorded names; others are those of targets."""
PAST_MS: Final = 300_000
"""How often the long memory of targets is saved: a replay reads back further."""

Kinds = Mapping[str, bytes]
"""The values of one cluster by kind."""

T = TypeVar("T", bound=msgspec.Struct)


class Newest(msgspec.Struct, frozen=True):
    """What one record changed of the alerts."""

    states: dict[str, State | None] = {}  # by fingerprint; None: forgotten
    seq_floor: int | None = None  # None: as before


NOTHING_NEW: Final = Newest()


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Up to where a cluster was evaluated."""

    version: int = VERSION
    epoch: int
    log: str  # id of `scrapes`
    evaluated: int  # offset in it
    newest_ms: int
    aligned: dict[str, int]  # the last aligned time of each group
    steps: list[StepOffsets]  # closed since the last rewind point
    budget: Budget
    points: int  # noted so far
    failures: list[Failures] = []  # of rules
    newest: Newest = NOTHING_NEW


class Numbering(msgspec.Struct, frozen=True, kw_only=True):
    """Where the numbers of an alert begin that was forgotten and comes again."""

    seq_floor: int


class RewindPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replay can begin."""

    version: int = VERSION
    number: int
    newest_ms: int
    read_from: int  # offset in `scrapes`: the first chunk of what was half here
    logs: dict[TopicName, str]  # ids
    received: dict[TopicName, int]  # last offset of each topic that had come
    watermark: WatermarkState
    facts: FactsState
    steps: list[StepOffsets]  # closed since the point before
    waiting: dict[int, int] = {}  # first offsets of what was half here: since when, in event time


@dataclass(frozen=True, slots=True)
class Log:
    """A topic's partition as it is now."""

    id: str  # of the topic: one that was made anew is another log
    end: int


Logs = Mapping[TopicName, Log]


@dataclass(frozen=True, slots=True)
class Saved:
    """What is known about one cluster, and from where it is to be completed."""

    position: Position
    point: RewindPoint  # from where to replay
    steps: tuple[StepOffsets, ...]  # closed after the point
    alerts: tuple[State, ...]
    seq_floor: int
    pasts: Mapping[str, Past]  # by name


@dataclass(frozen=True, slots=True)
class Stored:
    """What the table says about one cluster."""

    position: Position
    points: tuple[RewindPoint, ...]  # by number
    alerts: tuple[State, ...]
    seq_floor: int
    pasts: Mapping[str, Past]

    def faults(self, logs: Logs) -> Iterator[str]:
        """Yield in which way the logs are not those that were read."""
        for topic, log in self.points[-1].logs.items():
            if log != logs[topic].id:
                yield f"{topic} was made anew: it is read from its beginning"
        end, evaluated = logs[TopicName.SCRAPES].end, self.position.evaluated
        if self.position.log == logs[TopicName.SCRAPES].id and evaluated >= end:
            yield f"scrapes end at {end}, but more was evaluated: Kafka lost acknowledged records"

    def saved(self, rewind_ms: int, logs: Logs) -> Saved:
        """Return where to go on: from the newest point that is old enough."""
        position, scrapes = self.position, logs[TopicName.SCRAPES]
        if position.log != scrapes.id:
            position = replace(position, log=scrapes.id, evaluated=-1, steps=[])
            point = _fitted(self.points[-1], logs)
            return Saved(position, point, (), self.alerts, self.seq_floor, self.pasts)
        points = [one for one in self.points if _is_within(one, scrapes)] or [self.points[-1]]
        old = [one for one in points if one.newest_ms <= position.newest_ms - rewind_ms]
        point = old[-1] if old else points[0]
        steps = [step for one in points if one.number > point.number for step in one.steps]
        return Saved(
            replace(position, evaluated=min(position.evaluated, scrapes.end - 1)),
            _fitted(point, logs),
            (*steps, *position.steps),
            self.alerts,
            self.seq_floor,
            self.pasts,
        )


def _is_within(point: RewindPoint, scrapes: Log) -> bool:
    mine = TopicName.SCRAPES
    return point.logs[mine] == scrapes.id and point.received[mine] < scrapes.end


def _fitted(point: RewindPoint, logs: Logs) -> RewindPoint:
    """Return a point as the logs have it: of another log nothing is known, nor beyond an end."""
    same = {topic for topic, log in point.logs.items() if log == logs[topic].id}
    known = {topic: logs[topic].end - 1 if topic in same else -1 for topic in point.received}
    received = {topic: min(offset, known[topic]) for topic, offset in point.received.items()}
    pending = [one for one in point.facts.pending if one.offset <= known[one.topic]]
    return replace(
        point,
        read_from=min(point.read_from, known[TopicName.SCRAPES] + 1),
        received=received,
        facts=replace(point.facts, pending=pending),
    )


def note_ms(rewind_ms: int) -> int:
    """Return how much event time passes from one rewind point to the next."""
    return max(NOTE_MS, -(-rewind_ms // POINTS))


def points_kept(rewind_ms: int) -> int:
    """Return how many points are kept, so that one is always old enough."""
    return -(-rewind_ms // note_ms(rewind_ms)) + 2


def point_kind(number: int, rewind_ms: int) -> str:
    """Return where the point `number` is kept; it takes the place of the oldest."""
    return f"{_REWIND}{number % points_kept(rewind_ms)}"


def alert_kind(fingerprint: str) -> str:
    """Return where the state of an alert is kept."""
    return _ALERT + fingerprint


def past_kind(name: str) -> str:
    """Return where the long memory of a target, or of recorded names, is kept."""
    return _PAST + name


def table_key(cluster: str, kind: str) -> bytes:
    """Return the key of a value in the table."""
    return f"{cluster}/{kind}".encode()


def keys_of(cluster: str, keys: Iterable[bytes]) -> list[bytes]:
    """Return the keys of a cluster in the order to delete: without the first the rest is void."""
    prefix, first = table_key(cluster, ""), table_key(cluster, POSITION)
    return sorted((key for key in keys if key.startswith(prefix)), key=lambda key: key != first)


def by_cluster(items: Iterable[tuple[bytes, bytes]]) -> dict[str, dict[str, bytes]]:
    """Return the values of a table by cluster and kind."""
    found: dict[str, dict[str, bytes]] = {}
    for key, value in items:
        cluster, _, kind = key.decode().rpartition("/")
        found.setdefault(cluster, {})[kind] = value
    return found


def stored(kinds: Kinds) -> Stored | None:
    """Return what was saved of a cluster; None where nothing was emitted yet.

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
    newest = position.newest
    floor = _decode(kinds[NUMBERING], Numbering).seq_floor if NUMBERING in kinds else 0
    floor = floor if newest.seq_floor is None else newest.seq_floor
    changed = {one.fingerprint: one for one in _alerts(kinds)} | newest.states
    alerts = tuple(one for one in changed.values() if one is not None)
    pasts = {
        kind.removeprefix(_PAST): _decode(value, Past)
        for kind, value in kinds.items()
        if kind.startswith(_PAST)
    }
    return Stored(position, tuple(points), alerts, floor, pasts)


def _alerts(kinds: Kinds) -> Iterator[State]:
    for kind in sorted(kinds):
        if kind.startswith(_ALERT):
            one = _decode(kinds[kind], State)
            if alert_kind(one.fingerprint) != kind:
                raise DecodeError(f"the state {kind} is that of {one.fingerprint}")
            yield one


def _points(kinds: Kinds, position: Position) -> Iterator[RewindPoint]:
    """Yield the points up to the position; what an older state left in their places is passed."""
    for kind, value in kinds.items():
        if kind.startswith(_REWIND):
            with suppress(DecodeError):
                point = _decode(value, RewindPoint)
                reached = point.number <= position.points
                whole = {*point.received} == {*INPUTS} and TopicName.SCRAPES in point.logs
                if point.version == VERSION and reached and whole:
                    yield point


def _decode(value: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(value, type=kind)
    except msgspec.DecodeError as error:
        raise DecodeError(f"the state is no {kind.__name__}: {error}") from error
