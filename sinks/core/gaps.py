"""Judge the numbers of scrapes. In: the streaks in which the attempts of targets are stored. Out:
gaps and doubles, each with what explains it.

The rule this file owns: a producer has each number on disk before it uses it, so a process that is
killed leaves at most one gap, directly before what another process stored next; that one may have
begun further on, so a gap says how many attempts were lost at most. Every other gap is a loss, and
a number that two attempts have is a double. A target that was removed and came back begins anew
with 1; what is before the first stored attempt is not judged, retention may have it.

    process a       process b                   process c
    1 2 3 4 5       8 9 10 11     14 15         12 13 14
             (killed)         (lost)            (12, 13: late, no gap; 14: twice)
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from schemas.identity import Target


@dataclass(frozen=True, slots=True)
class Streak:
    """Attempts of one process on one target with consecutive numbers; a single one is a streak."""

    generation: str  # one per start of a process
    first: int  # numbers
    last: int
    first_ms: int  # ticks
    last_ms: int
    removes: bool = False  # the last attempt reports that the target was removed
    repeats: int = 0  # records that are stored again, equal in everything
    partition: int = 0  # of Kafka
    first_offset: int = 0
    last_offset: int = 0

    @property
    def attempts(self) -> int:
        """How many attempts it has."""
        return self.last - self.first + 1


class What(StrEnum):
    """What is odd about numbers."""

    KILLED = "killed"  # missing, because a process was killed: no finding
    LOST = "lost"  # missing, and nothing explains it
    TWICE = "twice"  # of two attempts


@dataclass(frozen=True, slots=True)
class Odd:
    """Some numbers of a target that are missing, or there twice."""

    what: What
    first: int
    last: int
    before: Streak | None  # None: they are missing before the first one of a target that came back
    after: Streak

    @property
    def attempts(self) -> int:
        """How many numbers these are."""
        return self.last - self.first + 1

    @property
    def is_finding(self) -> bool:
        """Tell whether a guarantee was broken."""
        return self.what is not What.KILLED


@dataclass(frozen=True, slots=True)
class Judged:
    """What the numbers of many targets say. Times are ticks; None without any attempt."""

    targets: int
    attempts: int
    repeats: int
    from_ms: int | None
    to_ms: int | None
    odd: tuple[tuple[Target, Odd], ...]

    @property
    def findings(self) -> int:
        """How many guarantees were broken."""
        return sum(odd.is_finding for _, odd in self.odd)


def judge(stored: Mapping[Target, Iterable[Streak]]) -> Judged:
    """Return what is odd about the numbers of all targets."""
    streaks = {target: tuple(found) for target, found in stored.items()}
    every = [*chain.from_iterable(streaks.values())]
    return Judged(
        targets=len(streaks),
        attempts=sum(one.attempts for one in every),
        repeats=sum(one.repeats for one in every),
        from_ms=min((one.first_ms for one in every), default=None),
        to_ms=max((one.last_ms for one in every), default=None),
        odd=tuple((target, odd) for target, found in streaks.items() for odd in odd_numbers(found)),
    )


def odd_numbers(streaks: Iterable[Streak]) -> Iterator[Odd]:
    """Yield the gaps and doubles of one target. The order of streaks does not matter."""
    writer = ""  # the process that made the newest number so far
    for life, members in enumerate(_lives(streaks)):
        top: Streak | None = None
        for one in sorted(members, key=lambda one: (one.first, one.last)):
            end = top.last if top else 0
            if one.first > end + 1 and (top or life):
                what = What.LOST if one.generation == writer else What.KILLED
                yield Odd(what, end + 1, one.first - 1, top, one)
            elif one.first <= end:
                yield Odd(What.TWICE, one.first, min(one.last, end), top, one)
            if one.last > end:
                top, writer = one, one.generation


def _lives(streaks: Iterable[Streak]) -> list[list[Streak]]:
    """Divide streaks where the target was removed and its numbers went back.

    A removal that Kafka took, and that was not on disk when the process ended, is reported again,
    with the next number: then numbers go on.
    """
    lives: list[list[Streak]] = [[]]
    for one in sorted(streaks, key=lambda one: (one.first_ms, one.first)):
        if any(
            before.removes and before.last_ms <= one.first_ms and one.first <= before.last
            for before in lives[-1]
        ):
            lives.append([])
        lives[-1].append(one)
    return lives
