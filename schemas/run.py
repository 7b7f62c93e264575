"""Find the processes of one data folder. In: `<data>/run/*.json`. Out: addresses, or who must start
what.

The rule this file owns: a process that others must find leaves one file with its pid and addresses,
readable by its owner only, written when it is ready and withdrawn when it stops. A file of a dead
process counts as absent.
"""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.errors import ConfigError, Problem
from schemas.settings import Settings

BROKER: Final = "broker"  # bootstrap, incarnation
REHEARSAL: Final = "rehearsal"  # clusters: the configuration of the rehearsed cluster
PRODUCERS: Final = "producers"
STREAMS: Final = "streams"
SINKS: Final = "sinks"  # console_url
FRONT: Final = "front"  # url, token, database

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where Kafka is. `incarnation` stands for cluster and topic ids of an embedded broker."""

    bootstrap: str
    incarnation: str = ""

    @property
    def embedded(self) -> bool:
        """Tell whether this is the in-memory broker of `planewatch up`."""
        return bool(self.incarnation)


def broker(settings: Settings) -> Broker:
    """Return the configured Kafka, or the embedded broker that runs in the data folder.

    Raises:
        ConfigError: there is neither.
    """
    if settings.kafka.bootstrap:
        return Broker(settings.kafka.bootstrap)
    if found := find(settings, BROKER):
        return Broker(str(found["bootstrap"]), str(found["incarnation"]))
    advice = f"not set, and no embedded broker runs in {settings.data}: set it, or planewatch up"
    raise ConfigError([Problem("kafka.bootstrap", advice)])


def announce(settings: Settings, name: str, **facts: object) -> None:
    """Leave `<data>/run/<name>.json`: this process is ready, and here is where it listens."""
    settings.run.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=settings.run, prefix=f".{name}-")  # mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"pid": os.getpid(), "started": _started(os.getpid()), **facts}, file)
    os.replace(temporary, _file(settings, name))


def withdraw(settings: Settings, name: str) -> None:
    """Remove the file that this process left; another process's file stays."""
    found = _read(_file(settings, name))
    if found and found.get("pid") == os.getpid():
        _file(settings, name).unlink(missing_ok=True)


def find(settings: Settings, name: str) -> Facts | None:
    """Return what the living process `name` announced, or None."""
    found = _read(_file(settings, name))
    return found if found and _alive(found.get("pid"), found.get("started")) else None


def _file(settings: Settings, name: str) -> Path:
    return settings.run / f"{name}.json"


def _read(file: Path) -> Facts | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _alive(pid: object, started: object) -> bool:
    """Tell whether the process runs that wrote a file, and not another with its number."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return started == _started(pid)


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; "" where /proc cannot tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]  # proc(5): field 22, after the name in brackets
