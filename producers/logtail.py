"""Follow the log files of one instance. In: a path with * and ?. Out: batches of lines in `logs`.

The rule this file owns: a line is done when Kafka has it. How far that is lies in a small file, so
a restart goes on from there, even into a log that was renamed meanwhile.
"""

import glob
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from producers.core.loglines import log_line, shortened
from producers.sending import Sender
from producers.supervised import Supervised
from producers.tail import FileId, Position, Tail, file_id
from schemas.clock import Clock
from schemas.codec import encode
from schemas.kafka import RECORD_BYTES_MAX
from schemas.metrics import Metric
from schemas.records import LogBatch, LogLine
from schemas.settings import LogSettings
from schemas.telemetry import Telemetry
from schemas.topics import TopicName

POLL_S: Final = 0.25
SAVE_S: Final = 2.0
RENAMED_S: Final = 2.0  # for so long its writer may still write to a file that was renamed
FILES_MAX: Final = 100  # of one path; further ones are counted and left out
COMPLAINTS_MAX: Final = 2 * FILES_MAX  # remembered; the oldest is forgotten, and may be told again
POSITIONS_MAX: Final = 200  # remembered; the oldest of closed files are forgotten
BATCH_LINES_MAX: Final = 2_000
BATCH_BYTES_MAX: Final = RECORD_BYTES_MAX - 50_000
LINE_CHARS_MAX: Final = 10_000  # of a line that is too big for a record

logger = logging.getLogger(__name__)


class _Checkpoint(msgspec.Struct, frozen=True):
    positions: list[Position]


class LogTail:
    """All files of one configured path, followed until `stop`."""

    def __init__(
        self,
        cluster: str,
        settings: LogSettings,
        *,
        file: Path,
        line_bytes_max: int,
        sender: Sender,
        clock: Clock,
        telemetry: Telemetry,
        stop: threading.Event,
    ) -> None:
        """`file`: where the positions are kept."""
        self._cluster, self._settings, self._file = cluster, settings, file
        self._line_bytes_max = line_bytes_max
        self._sender, self._clock, self._telemetry = sender, clock, telemetry
        self._stop = stop
        self._positions = {one.file_id: one for one in _read(file)}
        self._tails: dict[FileId, Tail] = {}
        self._complaints: dict[Path, str] = {}  # what was logged of a file that cannot be used
        self._dirty = False
        self._saved_s = 0.0
        name = f"logs-{cluster}-{settings.instance}"
        self._thread = Supervised(name, self._run, stop)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, and save what Kafka has by now."""
        if self._thread.join(timeout_s):
            self._settle(now=True)
            for tail in self._tails.values():
                tail.close()

    def check(self) -> None:
        """Raise what ended the thread, if it ended before `stop` was set."""
        self._thread.check()

    def _run(self) -> None:
        self._open_renamed()
        self._look(old=True)
        while not self._stop.is_set():
            read = [self._read(tail) for tail in list(self._tails.values())]
            self._settle()
            if not any(read):
                self._stop.wait(POLL_S)
            self._look(old=False)

    # --- files ---

    def _open_renamed(self) -> None:
        """Open what is left of files that were renamed while nobody followed them."""
        here = {file_id(path) for path in self._paths()}
        for position in self._positions.values():
            if position.file_id not in here and (path := _renamed(position)):
                self._open(path, old=False)

    def _look(self, *, old: bool) -> None:
        """Open the files that are not open yet. `old`: they were there before we were."""
        for path in self._paths():
            identity = file_id(path)
            if identity and identity not in self._tails:
                self._open(path, old=old)

    def _paths(self) -> list[Path]:
        found = sorted(glob.glob(str(self._settings.path)))
        if len(found) > FILES_MAX:
            self._telemetry.count(Metric.LIMIT_HITS, limit="log_files_max")
        return [Path(one) for one in found[:FILES_MAX]]

    def _open(self, path: Path, *, old: bool) -> None:
        try:
            identity = file_id(path)
            tail = Tail(path, self._positions.get(identity) if identity else None, old=old)
        except OSError as error:
            self._complain("cannot open", path, error)
            return
        self._complaints.pop(path, None)
        self._tails[tail.file_id] = tail
        logger.info("following log=%s cluster=%s", path, self._cluster)

    def _read(self, tail: Tail) -> bool:
        """Send what is new in a file; return False where there was nothing.

        A file that was renamed is closed after a while, when Kafka has all of it: until its writer
        opens the new one, it still writes to the old one.
        """
        ended = tail.renamed_for_s() > RENAMED_S
        try:
            found = tail.read(self._line_bytes_max, ended=ended)
        except OSError as error:
            self._complain("cannot read", tail.path, error)
            return False
        self._complaints.pop(tail.path, None)
        if found.too_long:
            self._telemetry.count(Metric.LIMIT_HITS, found.too_long, limit="line_bytes_max")
        if found.lines:
            self._send(tail, found.lines)
        if ended and not found.consumed and tail.settled:
            tail.close()
            del self._tails[tail.file_id]
            logger.info("log was renamed, and is read to its end log=%s", tail.path)
        return found.consumed > 0

    def _complain(self, what: str, path: Path, error: OSError) -> None:
        self._telemetry.count(Metric.ERRORS, kind="log_file")
        complaint = f"{what} log={path} error={error.strerror}"
        if self._complaints.pop(path, None) != complaint:
            logger.error("%s", complaint)
        while len(self._complaints) >= COMPLAINTS_MAX:
            del self._complaints[next(iter(self._complaints))]
        self._complaints[path] = complaint  # the newest comes last

    # --- out ---

    def _send(self, tail: Tail, raw: Sequence[bytes]) -> None:
        now_ms = self._clock.now_ms()
        lines = [log_line(one.decode("utf-8", "replace"), now_ms) for one in raw]
        self._telemetry.count(
            Metric.LOG_LINES, len(lines), cluster=self._cluster, job=self._settings.job
        )
        values = [
            value
            for start in range(0, len(lines), BATCH_LINES_MAX)
            for value in self._batches(lines[start : start + BATCH_LINES_MAX])
        ]
        for number, value in enumerate(values, 1):
            self._sender.send(
                TopicName.LOGS,
                cluster=self._cluster,
                key=f"{self._cluster}/{self._settings.instance}",
                value=value,
                on_delivery=tail.sent(last=number == len(values)),
            )

    def _batches(self, lines: list[LogLine]) -> list[bytes]:
        """Return the lines as records, none of them too big for Kafka."""
        batch = LogBatch(
            cluster=self._cluster,
            job=self._settings.job,
            instance=self._settings.instance,
            lines=lines,
        )
        value = encode(batch)
        if len(value) <= BATCH_BYTES_MAX:
            return [value]
        if len(lines) == 1:
            self._telemetry.count(Metric.LIMIT_HITS, limit="log_record_bytes_max")
            return self._batches([shortened(lines[0], LINE_CHARS_MAX)])
        half = len(lines) // 2
        return self._batches(lines[:half]) + self._batches(lines[half:])

    def _settle(self, *, now: bool = False) -> None:
        """Take note of what Kafka has, and save it now and then."""
        for tail in self._tails.values():
            if position := tail.settle():
                self._positions.pop(tail.file_id, None)
                self._positions[tail.file_id] = position  # the newest comes last
                self._dirty = True
        if self._dirty and (now or time.monotonic() - self._saved_s >= SAVE_S):
            self._saved_s = time.monotonic()
            try:
                self._save()
                self._dirty = False
            except OSError as error:
                self._telemetry.count(Metric.ERRORS, kind="checkpoint")
                logger.error("log positions not saved file=%s error=%s", self._file, error)

    def _save(self) -> None:
        closed = [identity for identity in self._positions if identity not in self._tails]
        for identity in closed[: max(0, len(self._positions) - POSITIONS_MAX)]:
            del self._positions[identity]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(_Checkpoint(list(self._positions.values()))))
        os.replace(beside, self._file)


def _renamed(position: Position) -> Path | None:
    """Return where the file is now, in the folder where it was, if there is more to read in it."""
    try:
        for path in sorted(Path(position.folder).iterdir()):
            if file_id(path) == position.file_id and path.stat().st_size > position.offset:
                return path
    except OSError:
        return None
    return None


def _read(file: Path) -> list[Position]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Checkpoint).positions
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("logs are read anew, unreadable file=%s error=%s", file, error)
        return []
