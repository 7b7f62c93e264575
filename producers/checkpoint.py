"""Remember targets across restarts. In: targets and their sequences. Out: one small file a cluster,
`<data>/producers/targets/<cluster>.json`.

The rule this file owns: a sequence number is on disk before the attempt that carries it begins, so
a killed process neither uses a number twice nor leaves a gap that stands for nothing. A target that
is here and not in the configuration was removed; it stays until Kafka has the record of that.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from producers.core.handover import Known, KnownTargets
from schemas.errors import ConfigError, Problem
from schemas.identity import Target

logger = logging.getLogger(__name__)


class Checkpoint:
    """The last known targets of this data folder."""

    def __init__(
        self,
        data: Path,
        owns: Callable[[str], bool] = lambda _: True,
        first: Callable[[], int] = lambda: 1,
    ) -> None:
        """`owns`: which clusters are ours; files of others are left alone.

        `first`: the number of the first attempt of a target that is not known.
        """
        self._first = first
        self._folder = data / "producers" / "targets"
        self._lock = threading.Lock()
        self._known: dict[Target, Known] = {}
        self._changed: set[str] = set()  # clusters
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(self._folder.glob("*.json")):
                if owns(file.stem):
                    self._read(file)
        except OSError as error:
            raise ConfigError([Problem("data", f"cannot be written: {error}")]) from error

    def next_sequence(
        self,
        target: Target,
        labels: dict[str, str],
        interval_ms: int,
        behind: tuple[str, int] = ("", 0),
    ) -> int:
        """Return the number of the next attempt; call `save` before it begins.

        behind: instance of the address that a process shares, and when that started in ms.
        """
        with self._lock:
            before = self._known.get(target)
            sequence = before.sequence + 1 if before else self._first()
            self._known[target] = Known(
                job=target.job,
                instance=target.instance,
                path=target.path,
                labels=labels,
                interval_ms=interval_ms,
                sequence=sequence,
                address=behind[0],
                process_start_ms=behind[1],
            )
            self._changed.add(target.cluster)
        return sequence

    def known(self, target: Target) -> Known | None:
        """Return what is remembered of a target, if it was ever tried."""
        with self._lock:
            return self._known.get(target)

    def removed(self, watched: Iterable[Target]) -> list[Target]:
        """Return the targets that are known and not `watched`, nor behind one that is."""
        there = set(watched)
        with self._lock:
            return sorted(
                target
                for target, known in self._known.items()
                if target not in there and _address(target, known) not in there
            )

    def behind(self, target: Target) -> list[Known]:
        """Return the processes that share the address of a target."""
        with self._lock:
            return [
                known
                for one, known in self._known.items()
                if known.address and _address(one, known) == target
            ]

    def forget(self, target: Target, sequence: int) -> None:
        """Drop a removed target: its removal is on record, as its attempt `sequence`.

        A target that is there again has had attempts since, and stays.
        """
        with self._lock:
            known = self._known.get(target)
            if known and known.sequence == sequence:
                del self._known[target]
                self._changed.add(target.cluster)

    def save(self) -> None:
        """Write what changed; whole files, replaced at once."""
        with self._lock:
            for cluster in sorted(self._changed):
                self._write(cluster)
            self._changed.clear()

    def _read(self, file: Path) -> None:
        try:
            targets = msgspec.json.decode(file.read_bytes(), type=KnownTargets).targets
        except msgspec.DecodeError as error:
            logger.warning("sequences begin anew, unreadable file=%s error=%s", file, error)
            return
        for known in targets:
            self._known[Target(file.stem, known.job, known.instance, known.path)] = known

    def _write(self, cluster: str) -> None:
        file = self._folder / f"{cluster}.json"
        targets = [known for target, known in self._known.items() if target.cluster == cluster]
        if not targets:
            file.unlink(missing_ok=True)
            return
        beside = file.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(KnownTargets(targets=targets)))
        os.replace(beside, file)


def _address(target: Target, known: Known) -> Target:
    """Return what stands for the address of a target: mostly itself."""
    return replace(target, instance=known.address or target.instance)
