"""Serve the console. In: HTTP requests. Out: pages, and JSON from the tables.

The rule this file owns: the browser names queries and panels, never SQL; every answer is a record
of `answers.py` (`/api/schema` publishes them), every refusal a Failure that says what to do.

    GET /api/panels/{page}    what to draw
    GET /api/query/{name}     rows; `range=1h`, or `from_ms` and `to_ms`; all else are parameters
    GET /api/alerts           what is open
    GET /api/clusters         what is watched, and how fresh it is
    GET /api/live             both, pushed every 2 s as server-sent events
    GET /api/schema           JSON Schema of all of these
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec
import plotly
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from schemas.clock import Clock
from schemas.config import secret
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from sinks.console.answers import (
    PUBLISHED,
    Alerts,
    Clusters,
    Failure,
    PageAnswer,
    Rows,
    columns,
)
from sinks.console.asking import Asker, Readable, Unanswered
from sinks.console.guard import LOGIN, Guard, log_in
from sinks.console.live import Board
from sinks.console.replies import Events, reply
from sinks.console.requests import page_named, query_named, range_of, typed
from sinks.core.panels import load_pages
from sinks.store import Store

STATIC: Final = Path(str(files("sinks.console").joinpath("static")))
PLOTLY: Final = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
PLOTLY_AGE_S: Final = 86_400


def create_app(
    settings: Settings,
    clock: Clock,
    telemetry: Telemetry,
    connect: Callable[[], Readable] | None = None,
) -> Starlette:
    """Return the application; `connect` opens a read-only store, by default of `settings`."""
    file = settings.console.token_file
    token = secret(file, "console.token_file") if file else None
    asker = Asker(connect or partial(Store.open, settings, readonly=True), telemetry)
    board = Board(settings, clock, asker, telemetry)
    load_pages()  # a wrong page is told at start

    @contextlib.asynccontextmanager
    async def until_stopped(_: Starlette) -> AsyncIterator[None]:
        yield
        asker.close()

    return Starlette(
        routes=[
            *_data_routes(clock, asker, board),
            *_file_routes(token),
        ],
        middleware=[Middleware(Guard, token=token), Middleware(GZipMiddleware, minimum_size=1_000)],
        exception_handlers={Unanswered: _tell},
        lifespan=until_stopped,
    )


def _data_routes(clock: Clock, asker: Asker, board: Board) -> list[Route]:
    async def panels(request: Request) -> Response:
        page = page_named(request.path_params["page"])
        pages = [{"page": one.page, "title": one.title} for one in load_pages().values()]
        return reply(PageAnswer(page=page.page, title=page.title, pages=pages, panels=page.panels))

    async def rows(request: Request) -> Response:
        query = query_named(request.path_params["name"])
        asked = range_of(request.query_params, now_ms=clock.now_ms())
        started = time.monotonic()
        table = await asker.ask(
            query,
            typed(query, request.query_params),
            from_ms=asked.from_ms,
            to_ms=asked.to_ms,
            step_s=asked.step_s,
        )
        took_ms = round((time.monotonic() - started) * 1000)
        return reply(
            Rows(
                query=query.name,
                from_ms=asked.from_ms,
                to_ms=asked.to_ms,
                step_s=asked.step_s,
                took_ms=took_ms,
                rows=table.num_rows,
                columns=columns(table),
            )
        )

    async def alerts(request: Request) -> Response:
        return reply(Alerts(now_ms=clock.now_ms(), alerts=await board.alerts()))

    async def clusters(request: Request) -> Response:
        return reply(Clusters(now_ms=clock.now_ms(), clusters=await board.clusters()))

    async def live(request: Request) -> Response:
        return Events(board.listen())

    async def schema(request: Request) -> Response:
        _, components = msgspec.json.schema_components(PUBLISHED)
        return Response(msgspec.json.encode(components), media_type="application/json")

    return [
        Route("/api/panels/{page}", panels),
        Route("/api/query/{name}", rows),
        Route("/api/alerts", alerts),
        Route("/api/clusters", clusters),
        Route("/api/live", live),
        Route("/api/schema", schema),
    ]


def _file_routes(token: str | None) -> list[Route | Mount]:
    async def page(request: Request) -> Response:
        page_named(request.path_params.get("page") or next(iter(load_pages())))
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def login(request: Request) -> Response:
        if request.method == "POST" and token is not None:
            return await log_in(request, token)
        return FileResponse(STATIC / "login.html", headers={"cache-control": "no-cache"})

    async def plotly_js(request: Request) -> Response:
        return FileResponse(PLOTLY, headers={"cache-control": f"max-age={PLOTLY_AGE_S}"})

    return [
        Route("/", page),
        Route(LOGIN, login, methods=["GET", "POST"]),
        Route("/static/plotly.min.js", plotly_js),
        Mount("/static", StaticFiles(directory=STATIC)),
        Route("/{page}", page),
    ]


async def _tell(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unanswered)
    return reply(Failure(error=error.error, remedy=error.remedy), error.status)
