"""Tell processes behind one address apart. In: when the process started that answered, scrape after
scrape. Out: whose answer that is.

The rule this file owns: a process start time that changes is a restart, or another server behind a
load balancer. It is no restart where it started long before the other one last answered, nor where
one answers again that answered before the other. From then on the address is shared, and each
process is an instance of its own, called by the address and its start, a name that any producer
gives it (`10.0.0.1:6443@20261127T024811Z`). The address itself stays a target that says whether it
answers, without rows. It is shared as long as any of them is there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

SAME_MS: Final = 2_000  # a start that moves less is the same process: see RESTART_MS of streams
SKEW_MS: Final = 60_000  # by which the clock of a server may differ from ours
LOST_MS: Final = 900_000  # one that has not answered for so long is gone
PROCESSES_MAX: Final = 8  # behind one address; the rows of further ones are dropped
TEXT_START: Final = b"\nprocess_start_time_seconds "


@dataclass(frozen=True, slots=True)
class Process:
    """One process, and when it was last seen."""

    start_ms: int
    seen_ms: int


@dataclass(frozen=True, slots=True)
class Processes:
    """What is known of one address."""

    newest: Process | None = None  # while it is not shared
    before: tuple[Process, ...] = ()  # what answered before that, the newest first
    sharing: tuple[Process, ...] = ()  # none or several: the address is not shared, or is

    def match(self, start_ms: int) -> Process | None:
        """Return the process that shares the address and started then."""
        return _find(self.sharing, start_ms)


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer means."""

    processes: Processes
    process: Process | None = None  # whose the rows are; None: of the address, or of nobody
    gone: tuple[Process, ...] = ()  # shared it, and are gone
    dropped: bool = False  # there is no room for one more process


def answered(processes: Processes, start_ms: int, now_ms: int) -> Answered:
    """Return whose answer it is that came from a process that started at `start_ms` (0: unknown).

    What cannot be told belongs to the address.
    """
    sharing = tuple(one for one in processes.sharing if now_ms - one.seen_ms < LOST_MS)
    gone = tuple(one for one in processes.sharing if one not in sharing)
    processes = replace(processes, sharing=sharing)
    if not start_ms:
        return Answered(processes, gone=gone)
    if not sharing:
        return replace(_alone(processes, Process(start_ms, now_ms)), gone=gone)
    known = _find(sharing, start_ms)
    if known is None and len(sharing) >= PROCESSES_MAX:
        return Answered(processes, gone=gone, dropped=True)
    process = Process(known.start_ms if known else start_ms, now_ms)
    others = tuple(one for one in sharing if one is not known)
    return Answered(replace(processes, sharing=(process, *others)), process, gone)


def instance_of(address: str, process: Process) -> str:
    """Return the name of a process that shares an address."""
    started = datetime.fromtimestamp(process.start_ms // 1000, UTC)
    return f"{address}@{started:%Y%m%dT%H%M%SZ}"


def told_before_parsing(body: bytes, header_s: str | None) -> int:
    """Return when the process started, as a header or a body in text says at a glance; 0 if not."""
    told: str | bytes = header_s or ""
    if not told and (at := body.find(TEXT_START)) >= 0:
        begin = at + len(TEXT_START)
        told = body[begin : begin + 64].partition(b"\n")[0]
    try:
        start_ms = float(told or 0) * 1000
    except ValueError:
        return 0
    return round(start_ms) if 0 <= start_ms < 2**53 else 0


def _alone(processes: Processes, process: Process) -> Answered:
    """Return whose answer it is while the address is not shared."""
    newest = processes.newest
    before = tuple(one for one in processes.before if process.seen_ms - one.seen_ms < LOST_MS)
    if newest is None or _same(newest, process.start_ms):
        kept = process if newest is None else replace(newest, seen_ms=process.seen_ms)
        return Answered(Processes(kept, before))
    again = _find(before, process.start_ms)
    together = process.start_ms < newest.seen_ms - SKEW_MS
    if again is None and not together:  # a restart, or somebody who has just begun
        return Answered(Processes(process, (newest, *before)[:PROCESSES_MAX]))
    beside = process if again is None else replace(again, seen_ms=process.seen_ms)
    return Answered(Processes(sharing=(beside, newest)), beside)


def _find(processes: Iterable[Process], start_ms: int) -> Process | None:
    near = [one for one in processes if _same(one, start_ms)]
    return min(near, key=lambda one: abs(one.start_ms - start_ms), default=None)


def _same(process: Process, start_ms: int) -> bool:
    return abs(process.start_ms - start_ms) <= SAME_MS
