"""What happens in a rehearsal. In: a scenario. Out: the load of each API server, second by second.

The rule this file owns: a story is deterministic. One client's LISTs per second are given; from
them follow, by a fluid model of one server, what executes, what queues, what is refused and how
long everything takes. The order is that of a real overload: latency first, then queues, then 429s.
Outside its story a scenario is calm.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SERVERS: Final = 2
CORES: Final = 8.0
CALM_CORES: Final = 1.2  # what all other work takes
LIST_CORE_S: Final = 0.25  # CPU time of one LIST of all pods, on one core
LIST_SEATS: Final = 10  # of the priority level, while it executes
SEATS: Final = 245  # of workload-low: 600 seats in flight x 100 of 245 shares
FLOW_QUEUED_MAX: Final = 300  # one client's requests: 6 of its level's queues, 50 in each
CALM_LISTS_PER_S: Final = 0.5  # of all pods, by clients that behave

_CAPACITY_PER_S: Final = (CORES - CALM_CORES) / LIST_CORE_S
_EXECUTING_MAX: Final = SEATS / LIST_SEATS - 0.5  # half a LIST of seats is everybody else's
_BUSIEST: Final = 0.99  # a server is never seen busier than this
_SHARES: Final = (0.55, 0.45)  # of the storm, by server


@dataclass(frozen=True, slots=True)
class Story:
    """A scenario. `storm`: (second of the story, LISTs per second), straight between two points."""

    name: str
    length_s: int
    speed: float  # of its clock
    storm: tuple[tuple[float, float], ...] = ()

    @property
    def has_own_clock(self) -> bool:
        """Tell whether its time passes faster than ours."""
        return self.speed != 1


STORIES: Final = {
    story.name: story
    for story in (
        Story("calm", length_s=0, speed=1.0),
        Story(
            "list-storm",
            length_s=540,
            speed=4.0,
            storm=((90, 0), (240, 80), (380, 80), (410, 0)),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Load:
    """One API server, one row a second; the last row is calm. Rates are per second."""

    lists: Floats  # of all pods, admitted and executed
    rejected: Floats
    executing: Floats  # LISTs
    queued: Floats  # LISTs
    wait_s: Floats  # in the queue
    list_s: Floats  # execution of one LIST
    slowdown: Floats  # how many times longer everything else takes
    cores: Floats

    def at(self, second: float) -> "Now":
        """Return the load at a second of the story; calm before and after."""
        inside = min(max(second, 0.0), len(self.lists) - 1.0)
        seconds = np.arange(len(self.lists))
        return Now(
            *(float(np.interp(inside, seconds, getattr(self, one.name))) for one in fields(self))
        )


@dataclass(frozen=True, slots=True)
class Now:
    """The load of one API server at one moment; fields as in Load."""

    lists: float
    rejected: float
    executing: float
    queued: float
    wait_s: float
    list_s: float
    slowdown: float
    cores: float

    @property
    def saturation(self) -> float:
        """0 when the queue is empty, 1 when it is full."""
        return self.queued / FLOW_QUEUED_MAX


@cache
def load(story: Story, server: int) -> Load:
    """Return the load of one API server through a story."""
    rows: list[Now] = []
    for second in range(story.length_s + 1):
        queued_before = rows[-1].queued if rows else 0.0
        rows.append(_second(_offered(story, second, server), queued_before))
    return Load(*np.array([[getattr(row, f.name) for f in fields(Now)] for row in rows]).T)


def _offered(story: Story, second: int, server: int) -> float:
    if not story.storm:
        return CALM_LISTS_PER_S
    seconds, lists = zip(*story.storm, strict=True)
    storm = float(np.interp(second, seconds, lists, left=0, right=0))
    return CALM_LISTS_PER_S + storm * _SHARES[server]


def _second(offered: float, queued_before: float) -> Now:
    """One second of a server: LISTs share its cores; what finds no seat waits; the rest is refused.

    Processor sharing: a LIST takes longer as its level fills, until all seats are taken.
    """
    use = min(offered / _CAPACITY_PER_S, 0.999)
    list_s = LIST_CORE_S * (1 + use**8 / (1 - use))
    full = queued_before > 0 or offered * list_s > _EXECUTING_MAX
    if full:
        list_s = _EXECUTING_MAX / _CAPACITY_PER_S
    done = min(_CAPACITY_PER_S, queued_before + offered) if full else offered
    waiting = max(0.0, queued_before + offered - done)
    queued = min(waiting, FLOW_QUEUED_MAX)
    cores = CALM_CORES + done * LIST_CORE_S
    busy = min(cores / CORES, _BUSIEST)
    return Now(
        lists=done,
        rejected=waiting - queued,
        executing=_EXECUTING_MAX if full else offered * list_s,
        queued=queued,
        wait_s=queued / _CAPACITY_PER_S,
        list_s=list_s,
        slowdown=1 + 0.8 * busy**6 / (1 - busy),
        cores=min(cores, CORES * _BUSIEST),
    )
