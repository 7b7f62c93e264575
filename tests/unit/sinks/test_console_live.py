"""However many browsers listen, the tables are asked as if one did; questions are few at a time."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from schemas.clock import Clock
from schemas.errors import SinkRetry
from schemas.metrics import Metric
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from sinks.console.asking import THREADS, WAITING_MAX, Asker, Unanswered
from sinks.console.live import LISTENERS_MAX, Board
from sinks.core.queries import load_queries

NOW_MS = 1_795_640_000_000


class CountingStore:
    """Answers nothing, and counts who asks."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.threads: set[int] = set()
        self.go_on = threading.Event()
        self.go_on.set()
        self._failure = failure

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        self.asked.append(sql)
        self.threads.add(threading.get_ident())
        self.go_on.wait()
        if self._failure:
            raise self._failure
        return pa.table({})

    def close(self) -> None:
        pass


def board_of(store: CountingStore, data: Path) -> tuple[Board, Asker, Telemetry]:
    telemetry = Telemetry("sinks")
    asker = Asker(lambda: store, telemetry)
    clock = Clock(wall=lambda: NOW_MS)
    return Board(Settings(data=data), clock, asker, telemetry), asker, telemetry


def test_many_listeners_ask_the_tables_once(tmp_path: Path) -> None:
    store = CountingStore()

    async def listen() -> set[int]:
        board, asker, _ = board_of(store, tmp_path)
        streams = [aiter(board.listen()) for _ in range(20)]
        heard = await asyncio.gather(*(anext(stream) for stream in streams))
        asker.close()
        return {one.now_ms for one in heard}

    assert {NOW_MS} == asyncio.run(listen())
    assert 2 == len(store.asked)  # open alerts, and clusters


def test_the_stream_goes_on_and_says_that_the_tables_do_not_answer(tmp_path: Path) -> None:
    store = CountingStore(SinkRetry("away", retry_after_s=1))

    async def listen() -> str:
        board, asker, _ = board_of(store, tmp_path)
        heard = await anext(aiter(board.listen()))
        asker.close()
        assert heard.failure is not None
        return heard.failure.error

    assert "ClickHouse does not answer: away" == asyncio.run(listen())


def test_a_listener_too_many_is_refused(tmp_path: Path) -> None:
    async def listen() -> float:
        board, asker, telemetry = board_of(CountingStore(), tmp_path)
        streams = [aiter(board.listen()) for _ in range(LISTENERS_MAX)]
        for stream in streams:
            await anext(stream)
        with pytest.raises(Unanswered, match="listen already"):
            board.listen()
        await streams[0].aclose()  # type: ignore[attr-defined]  # they are generators
        board.listen()
        asker.close()
        return telemetry.value(Metric.LIMIT_HITS, limit="console_listeners")

    assert 1 == asyncio.run(listen())


def test_few_threads_ask_and_who_comes_too_late_is_refused() -> None:
    store = CountingStore()
    query = load_queries()["clusters_seen"]

    async def ask_all() -> list[object]:
        telemetry = Telemetry("sinks")
        asker = Asker(lambda: store, telemetry)
        store.go_on.clear()
        asked = [
            asyncio.ensure_future(asker.ask(query, {}, from_ms=0, to_ms=1, step_s=1))
            for _ in range(WAITING_MAX)
        ]
        await asyncio.sleep(0)  # all of them are waiting now
        with pytest.raises(Unanswered, match="waiting already") as refused:
            await asker.ask(query, {}, from_ms=0, to_ms=1, step_s=1)
        assert 503 == refused.value.status
        store.go_on.set()
        answers: list[object] = await asyncio.gather(*asked)
        asker.close()
        return answers

    assert WAITING_MAX == len(asyncio.run(ask_all()))
    assert len(store.threads) <= THREADS
