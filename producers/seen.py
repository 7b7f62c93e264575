"""Remember what a watch has seen. In: changes, and Kafka's word that it has them. Out: a file.

The rule this file owns: two states, what was seen and what Kafka has. Only the latter is written to
disk, so a restart goes on from there: a change may come twice, none is missed. Where Kafka gave a
change up, what was seen falls back to what Kafka has, and the watch starts again from there.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from schemas.records import Change, JsonObject, Op

logger = logging.getLogger(__name__)

OnDelivery = Callable[[Exception | None], None]


class Known(msgspec.Struct):
    """Objects of one kind, trimmed, by uid, as of one resource version."""

    version: str = ""
    objects: dict[str, JsonObject] = {}


class _Step:
    """One change on its way to Kafka, or a version without one."""

    def __init__(self, version: str, change: Change | None, *, done: bool) -> None:
        self.version, self.change, self.done = version, change, done
        self.lost = False


class Seen:
    """What one watch has seen. One thread sees; any thread may acknowledge."""

    def __init__(self, file: Path) -> None:
        """Go on where `file` ends; a file that cannot be read is as good as none."""
        self._file = file
        self._acknowledged = _read(file)
        self._steps: deque[_Step] = deque()
        self._lock = threading.Lock()
        self._dirty = False
        self._seen = _copy(self._acknowledged)

    @property
    def version(self) -> str:
        """The newest resource version that was seen; empty before the first snapshot."""
        return self._seen.version

    @property
    def objects(self) -> Mapping[str, JsonObject]:
        """All objects as they were seen last."""
        return self._seen.objects

    def see(self, change: Change) -> OnDelivery:
        """Take note of a change; its version counts with `reach`. Return what Kafka must call."""
        _apply(self._seen, change)
        step = _Step("", change, done=False)
        with self._lock:
            self._steps.append(step)

        def acknowledge(error: Exception | None) -> None:
            step.lost, step.done = error is not None, error is None

        return acknowledge

    def reach(self, version: str) -> None:
        """Take note that everything up to `version` was seen."""
        self._seen.version = version
        with self._lock:
            self._steps.append(_Step(version, None, done=True))

    def settle(self) -> bool:
        """Move on what Kafka has; return False where it lost a change: start again from there."""
        with self._lock:
            while self._steps and self._steps[0].done:
                step = self._steps.popleft()
                if step.change:
                    _apply(self._acknowledged, step.change)
                else:
                    self._acknowledged.version = step.version
                self._dirty = True
            lost = any(step.lost for step in self._steps)
            if lost:
                self._steps.clear()
        if lost:
            self._seen = _copy(self._acknowledged)
        return not lost

    def save(self) -> None:
        """Write what Kafka has, if it changed.

        Raises:
            OSError: the folder cannot be written.
        """
        if not self._dirty:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(self._acknowledged))
        os.replace(beside, self._file)
        self._dirty = False


def _apply(known: Known, change: Change) -> None:
    if change.op is Op.DELETED:
        known.objects.pop(change.uid, None)
    else:
        known.objects[change.uid] = change.object


def _copy(known: Known) -> Known:
    return Known(known.version, dict(known.objects))


def _read(file: Path) -> Known:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Known)
    except FileNotFoundError:
        return Known()
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("the watch begins anew, unreadable file=%s error=%s", file, error)
        return Known()
