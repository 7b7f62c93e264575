"""Keep apart what answers behind one address. In: answers, with who gave them. Out: the attempt to
which the rows belong, and the end of processes that are gone.

The rule this file owns: a process that shares an address has numbers of its own, and they are on
disk before its record is sent; it is remembered with them, so that all goes on after a restart.
"""

from dataclasses import replace
from typing import Final

from producers.checkpoint import Checkpoint
from producers.core.attempts import Attempt
from producers.core.processes import (
    LOST_MS,
    Process,
    Processes,
    answered,
    instance_of,
    told_before_parsing,
)
from producers.reporting import Reports
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.telemetry import Telemetry

LOST: Final = f"it did not answer at its address for {LOST_MS // 60_000} minutes"
SHARED: Final = "several processes answer here, each is an instance of its own; this time"
CROWDED: Final = "too many processes answer here, nothing is kept of this one"


class Addresses:
    """The processes behind all addresses. One thread works on an address at a time."""

    def __init__(self, checkpoint: Checkpoint, reports: Reports, telemetry: Telemetry) -> None:
        self._checkpoint, self._reports, self._telemetry = checkpoint, reports, telemetry
        self._processes: dict[Target, Processes] = {}

    def reader(self, target: Target, body: bytes, header_s: str | None) -> Target:
        """Return whose bodies this one is probably like: reading it is cheap beside those."""
        sharing = self._processes.get(target)
        if sharing is None or not sharing.sharing:
            return target
        process = sharing.match(told_before_parsing(body, header_s))
        return _target(target, process) if process else target

    def whose(self, attempt: Attempt, start_ms: int, now_ms: int) -> tuple[Attempt, str]:
        """Return the attempt to which an answer belongs that came from a process of `start_ms`.

        Beside it, what the record of the address says if that is another one, or has no rows.
        """
        target = attempt.target
        known = self._processes.get(target)
        if known is None:
            known = Processes(sharing=self._remembered(target, now_ms))
        found = answered(known, start_ms, now_ms)
        self._processes[target] = found.processes
        for process in found.gone:
            self._reports.remove(_target(target, process), LOST, now_ms)
        if found.dropped:
            self._telemetry.count(Metric.LIMIT_HITS, limit="processes_max")
            return attempt, CROWDED
        if found.process is None:
            return attempt, ""
        # It has its turn as often as the others: freshness and windows go by that.
        interval_ms = attempt.interval_ms * len(found.processes.sharing)
        member = self._reports.attempt(
            _target(target, found.process),
            attempt.labels,
            attempt.tick_ms,
            interval_ms,
            behind=(target.instance, found.process.start_ms),
        )
        self._reports.save()
        return member, f"{SHARED} {member.target.instance}"

    def remove(self, target: Target, reason: str, now_ms: int) -> None:
        """Report that a target was removed, and with it what shared its address."""
        for known in self._checkpoint.behind(target):
            one = replace(target, instance=known.instance)
            self._reports.remove(one, reason, now_ms)
        self._processes.pop(target, None)
        self._reports.remove(target, reason, now_ms)

    def _remembered(self, target: Target, now_ms: int) -> tuple[Process, ...]:
        known = self._checkpoint.behind(target)
        return tuple(Process(one.process_start_ms, now_ms) for one in known)


def _target(address: Target, process: Process) -> Target:
    return replace(address, instance=instance_of(address.instance, process))
