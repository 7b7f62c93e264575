"""Serve the embedded engine to ClickHouse clients. In: HTTP requests of an unmodified client. Out:
rows of read-only statements.

The rule this file owns: it speaks as much of ClickHouse's HTTP interface as clients need to read
(statement in the body or in `query`, `param_*`, settings, formats, compression, error codes in a
header), to who knows the password. An answer begins when it is complete, so that its status is
true, and is taken within a minute. What a statement may do is decided where it runs (`reader.py`).
"""

import asyncio
import base64
import binascii
import hmac
import io
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sinks.core.asked import Statement, statement_of
from sinks.core.failures import AUTHENTICATION_FAILED, SYNTAX_ERROR, QueryError, refused
from sinks.core.hello import greeted, greeting
from sinks.reader import Answer

STATEMENT_BYTES_MAX: Final = 1_000_000
PIECE_BYTES: Final = 256_000
TAKEN_S_MAX: Final = 60.0

ENCODINGS: Final[Mapping[str, str]] = {"zstd": "zstd", "lz4": "lz4", "br": "brotli", "gzip": "gzip"}
"""Content-Encoding -> Arrow's codec; the cheapest for what they save come first."""

MEDIA_TYPES: Final[Mapping[str, str]] = {
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
}

Execute = Callable[[Statement], Answer]


@dataclass(frozen=True, slots=True)
class Login:
    """Who may ask. `username` is "" where any will do, as with a token."""

    password: str
    username: str = ""

    def admits(self, username: str, password: str) -> bool:
        """Compare in constant time."""
        named = not self.username or hmac.compare_digest(username.encode(), self.username.encode())
        return hmac.compare_digest(password.encode(), self.password.encode()) and named


def create_front(
    execute: Execute, *, login: Login, bytes_max: int = STATEMENT_BYTES_MAX
) -> Starlette:
    """Return the application; `execute` is called on worker threads."""

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def query(request: Request) -> Response:
        if request.method == "GET" and not request.url.query:
            return PlainTextResponse("Ok.\n")  # what a server says to a browser
        try:
            _authenticate(request, login)
            body = await _body(request, bytes_max)
            statement = statement_of(request.url.query, request.headers, body)
            answer = await run_in_threadpool(_run, execute, statement)
        except QueryError as error:
            headers = {"X-ClickHouse-Exception-Code": str(error.code)}
            return PlainTextResponse(f"{error}\n", error.status, headers)
        return Taken(answer, statement, _encoding(request, statement))

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/replicas_status", ping),
            Route("/", query, methods=["GET", "POST"]),
        ],
    )


def _run(execute: Execute, statement: Statement) -> Answer:
    first = greeting(statement)
    if first is None:
        return execute(statement)
    answer = execute(first)
    with answer.body as body:
        return Answer.of(greeted(body.read()), statement.form)


class Taken(StreamingResponse):
    """An answer on its way; its file is closed however that ends."""

    def __init__(self, answer: Answer, statement: Statement, encoding: str | None) -> None:
        summary = {"read_rows": str(answer.rows_read), "read_bytes": str(answer.bytes_read)}
        headers = {
            "X-ClickHouse-Summary": json.dumps(summary),
            "X-ClickHouse-Query-Id": statement.settings.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Server-Display-Name": "planewatch",
            "X-ClickHouse-Format": answer.form,
            "Content-Type": MEDIA_TYPES.get(answer.form, "application/octet-stream"),
        }
        if encoding is None:
            headers["Content-Length"] = str(answer.size_bytes)
        else:
            headers["Content-Encoding"] = encoding
        self._answer = answer
        super().__init__(_pieces(answer, encoding), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a client that takes too long is left."""
        try:
            async with asyncio.timeout(TAKEN_S_MAX):
                await super().__call__(scope, receive, send)
        finally:
            self._answer.body.close()


async def _pieces(answer: Answer, encoding: str | None) -> AsyncIterator[bytes]:
    if encoding is None:
        while piece := await run_in_threadpool(answer.body.read, PIECE_BYTES):
            yield piece
        return
    sink = _Sink()
    packed = pa.CompressedOutputStream(sink, ENCODINGS[encoding])
    while piece := await run_in_threadpool(answer.body.read, PIECE_BYTES):
        await run_in_threadpool(packed.write, piece)
        if ready := sink.take():
            yield ready
    packed.close()
    yield sink.take()


class _Sink(io.RawIOBase):
    """Where a compressor writes to; what it wrote is taken away between."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._held += piece
        return len(piece)

    def take(self) -> bytes:
        taken, self._held = bytes(self._held), bytearray()
        return taken


def _encoding(request: Request, statement: Statement) -> str | None:
    """Return how the client wants its answer packed; plain where it does not say."""
    if statement.settings.get("enable_http_compression", "1") != "1":
        return None
    accepted = request.headers.get("accept-encoding", "")
    names = {one.partition(";")[0].strip() for one in accepted.split(",")}
    return next((name for name in ENCODINGS if name in names), None)


def _authenticate(request: Request, login: Login) -> None:
    """Let in who knows the password, told in any of the ways that clients use."""
    given = request.headers, request.query_params
    username = given[0].get("x-clickhouse-user") or given[1].get("user") or ""
    password = given[0].get("x-clickhouse-key") or given[1].get("password") or ""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            username, _, password = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            username = password = ""
    if not login.admits(username, password):
        raise refused(AUTHENTICATION_FAILED, "user or password are not those of this front")


async def _body(request: Request, bytes_max: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise refused(SYNTAX_ERROR, f"a statement may have {bytes_max} bytes")
    return bytes(body)
