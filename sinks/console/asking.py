"""Ask named queries for the console. In: a query, parameters, a range. Out: rows, or a failure that
says who must act.

The rule this file owns: a few threads ask, each with a read-only store of its own; who comes when
too many wait is refused at once; time and rows are limited, so that a page in many browsers can
never hold up the sink, which shares the engine.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import pyarrow as pa

from schemas.errors import SinkRefused, SinkRetry
from schemas.metrics import Metric
from schemas.telemetry import Telemetry
from sinks.core.macros import expand
from sinks.core.queries import Query, Value

log = logging.getLogger(__name__)

THREADS: Final = 3
WAITING_MAX: Final = 64
ANSWER_S_MAX: Final = 25.0
ROWS_MAX: Final = 20_000


class Readable(Protocol):
    """What the console needs of a store."""

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """Return the answer of one statement."""

    def close(self) -> None:
        """Give the connection back."""


class Unanswered(Exception):
    """A question without an answer: an HTTP status, what happened, and what to do."""

    def __init__(self, error: str, *, status: int, remedy: str) -> None:
        self.error, self.status, self.remedy = error, status, remedy
        super().__init__(error)


class Asker:
    """The threads that ask. Made and used on one event loop."""

    def __init__(self, connect: Callable[[], Readable], telemetry: Telemetry) -> None:
        self._connect, self._telemetry = connect, telemetry
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="console")
        self._own = threading.local()
        self._opened: list[Readable] = []
        self._waiting = 0

    async def ask(
        self, query: Query, given: Mapping[str, Value], *, from_ms: int, to_ms: int, step_s: int
    ) -> pa.Table:
        """Return what `query` answers for a range of event time.

        Raises:
            Unanswered: it did not; the message is for the reader of the page.
        """
        try:
            bound = query.bind(given)
        except SinkRefused as error:
            raise Unanswered(str(error), status=400, remedy="Mend the address.") from error
        sql = expand(query.sql, from_ms=from_ms, to_ms=to_ms, interval_s=step_s)
        if self._waiting >= WAITING_MAX:
            self._telemetry.count(Metric.LIMIT_HITS, limit="console_waiting")
            raise Unanswered(
                f"{WAITING_MAX} questions are waiting already",
                status=503,
                remedy="The page asks again by itself; close pages that nobody reads.",
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._pool, self._query, sql, bound)
            return await asyncio.wait_for(asked, ANSWER_S_MAX)
        except Exception as error:
            self._telemetry.count(Metric.ERRORS, kind=type(error).__name__)
            raise _unanswered(error, query.name) from error
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let running questions end, then close the stores."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for store in self._opened:
            store.close()

    def _query(self, sql: str, bound: Mapping[str, Value]) -> pa.Table:
        started = time.monotonic()
        table = self._store().query(sql, bound)
        if table.num_rows > ROWS_MAX:
            self._telemetry.count(Metric.LIMIT_HITS, limit="console_rows")
            raise SinkRefused(f"{table.num_rows} rows, at most {ROWS_MAX} are shown")
        took_s = time.monotonic() - started
        log.debug("answered rows=%d took_s=%.3f", table.num_rows, took_s)
        return table

    def _store(self) -> Readable:
        store: Readable | None = getattr(self._own, "store", None)
        if store is None:
            store = self._own.store = self._connect()
            self._opened.append(store)
        return store


def _unanswered(error: Exception, name: str) -> Unanswered:
    """Return what the reader of the page is told."""
    if isinstance(error, TimeoutError):
        return Unanswered(
            f"{name} took longer than {ANSWER_S_MAX:.0f} s",
            status=504,
            remedy="Choose a shorter range.",
        )
    if isinstance(error, SinkRetry):
        return Unanswered(
            f"ClickHouse does not answer: {error}",
            status=503,
            remedy="The page asks again by itself. If it stays so, look at ClickHouse.",
        )
    if isinstance(error, SinkRefused):
        return Unanswered(
            f"{name} was refused: {error}",
            status=502,
            remedy="Choose a shorter range; if it stays so, look at the log of sinks.",
        )
    raise error
