"""Share a few read-only handles between requests. In: statements. Out: answers.

The rule this file owns: as many statements run at once as are configured, each for a bounded time;
the next one waits a little for its turn and is then refused. A handle is free again as soon as its
answer is complete: who takes an answer slowly holds up nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Final

from schemas.front import FrontSettings
from schemas.metrics import Metric
from schemas.telemetry import Telemetry
from sinks.core.asked import Statement
from sinks.core.failures import SYNTAX_ERROR, TOO_BUSY, refused
from sinks.reader import Answer, Reader

WAIT_S_MAX: Final = 10.0


def limits_of(settings: FrontSettings) -> dict[str, int | str]:
    """Return the limits of a statement as the engine's settings."""
    return {
        "max_execution_time": max(1, round(settings.query_s_max)),
        "max_memory_usage": settings.query_memory_bytes_max,
        "max_result_rows": settings.rows_max,
        "max_result_bytes": settings.answer_bytes_max,
        "result_overflow_mode": "throw",
        "max_threads": 2,
        "session_timezone": "UTC",  # an answer does not depend on where it was asked
    }


class Readers:
    """Handles that requests take turns on."""

    def __init__(
        self,
        folder: Path,
        database: str,
        telemetry: Telemetry,
        settings: FrontSettings | None = None,
    ) -> None:
        settings = settings or FrontSettings()
        self._folder, self._database, self._telemetry = folder, database, telemetry
        self._limits, self._many = limits_of(settings), settings.queries_max
        self._idle: LifoQueue[Reader | None] = LifoQueue()
        for _ in range(self._many):
            self._idle.put(None)  # opened when it is first needed

    def execute(self, statement: Statement) -> Answer:
        """Run a statement.

        Raises:
            QueryError: it may not run, it failed, or all handles are busy.
        """
        try:
            text = statement.text.decode()
        except UnicodeDecodeError as error:
            raise refused(SYNTAX_ERROR, f"the statement is not UTF-8: {error}") from error
        with self.reader() as reader:
            return reader.answer(
                text,
                form=statement.form,
                parameters=statement.parameters,
                settings=statement.settings,
                database=statement.database,
            )

    def close(self) -> None:
        """Close all handles; requests that still run keep theirs until they end."""
        while True:
            try:
                reader = self._idle.get_nowait()
            except Empty:
                return
            if reader is not None:
                reader.close()

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Borrow a handle; the one that failed opened itself anew.

        Raises:
            QueryError: all are busy.
        """
        try:
            reader = self._idle.get(timeout=WAIT_S_MAX)
        except Empty as error:
            self._telemetry.count(Metric.LIMIT_HITS, limit="front_readers")
            raise refused(TOO_BUSY, f"{self._many} statements are running already") from error
        try:
            reader = reader or Reader(self._folder, self._database, self._limits)
            yield reader
        finally:
            self._idle.put(reader)
