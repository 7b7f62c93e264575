"""Know the embedded engine. In: settings. Out: where its data lies and how it is bounded.

The rule this file owns: one process per data folder opens the engine (DESIGN 3), within fixed
memory, and the temporary files that a killed process left are swept before the next one starts.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlencode, urlsplit

from schemas.settings import Settings

DATABASE: Final = "planewatch"

OPTIONS: Final = {
    "max_server_memory_usage": 2_000_000_000,  # the engine takes 90 % of the machine by default
    "mark_cache_size": 268_435_456,  # 5 GiB by default
    "uncompressed_cache_size": 0,
    "background_pool_size": 2,
    "background_schedule_pool_size": 8,  # 512 threads by default
    "background_fetches_pool_size": 1,
    "background_common_pool_size": 2,
    "background_move_pool_size": 1,
    "background_buffer_flush_schedule_pool_size": 1,
    "background_message_broker_schedule_pool_size": 1,
    "background_distributed_schedule_pool_size": 1,
}
"""Server configuration: a sinks process shares its machine with what it stores for."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where rows go. `folder` is set for the embedded engine only."""

    dsn: str
    database: str
    folder: Path | None = None


def address(settings: Settings) -> Address:
    """Return the ClickHouse of `settings`; without a dsn, the engine in the data folder."""
    dsn = settings.clickhouse.dsn
    if dsn is None:
        folder = settings.data.absolute() / "clickhouse"
        return Address(f"chdb://{folder}/{DATABASE}", DATABASE, folder)
    parts = urlsplit(dsn)
    path = Path(unquote(parts.path))
    if parts.scheme == "chdb":
        return Address(dsn, path.name or DATABASE, path.parent)
    return Address(dsn, path.name or DATABASE)


def connection_string(folder: Path) -> str:
    """Return how chDB names the engine in `folder`; within a process it must be the same text."""
    return f"{os.path.realpath(folder)}?{urlencode(OPTIONS)}"


def own_temporary_folder(settings: Settings) -> None:
    """Put this process's temporary files into the data folder, without those of dead processes.

    Every embedded insert passes through such a file, and `kill -9` leaves it behind. Call it with
    the engine open: its lock says that no other process is using the folder.
    """
    folder = settings.data.absolute() / "sinks" / "tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(folder)
