"""Serve the embedded engine to ClickHouse clients. In: HTTP requests of an unmodified client. Out:
rows of read-only statements.

The rule this file owns: it speaks as much of ClickHouse's HTTP interface as clients need to read
(statement in the body or in `query`, `param_*`, formats, error codes in a header), to whoever knows
the token, on loopback only. What a statement may do is decided where it runs (`reader.py`).
"""

import base64
import binascii
import hmac
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from schemas.metrics import Metric
from schemas.telemetry import Telemetry
from sinks.reader import TOO_BUSY, Answer, QueryError, Reader

READERS_MAX: Final = 4
READER_WAIT_S: Final = 10.0
STATEMENT_BYTES_MAX: Final = 1_000_000

TOO_LARGE: Final = 62
AUTHENTICATION_FAILED: Final = 516
STATUS_OF: Final = {AUTHENTICATION_FAILED: 403, TOO_BUSY: 503, 60: 404, 81: 404}
"""HTTP status by error code; 500 for the others, as ClickHouse does."""

FORM_DEFAULT: Final = "TabSeparated"
_FORMAT: Final = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One request."""

    text: bytes
    form: str
    parameters: Mapping[str, str]
    settings: Mapping[str, str]  # all other query parameters


Execute = Callable[[Statement], Answer]


class Readers:
    """A few read-only handles that requests take turns on: the fifth waits, then is refused."""

    def __init__(self, folder: Path, database: str, telemetry: Telemetry) -> None:
        self._folder, self._database, self._telemetry = folder, database, telemetry
        self._idle: LifoQueue[Reader | None] = LifoQueue()
        for _ in range(READERS_MAX):
            self._idle.put(None)  # opened when it is first needed

    def execute(self, statement: Statement) -> Answer:
        """Run a statement; settings that a client sends are its transport's, and ignored."""
        with self.reader() as reader:
            text = statement.text.decode()
            return reader.answer(text, form=statement.form, parameters=statement.parameters)

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
            reader = self._idle.get(timeout=READER_WAIT_S)
        except Empty as error:
            self._telemetry.count(Metric.LIMIT_HITS, limit="front_readers")
            raise QueryError(
                f"Code: {TOO_BUSY}. DB::Exception: {READERS_MAX} statements are running already. "
                "(TOO_MANY_SIMULTANEOUS_QUERIES)",
                code=TOO_BUSY,
            ) from error
        try:
            reader = reader or Reader(self._folder, self._database)
            yield reader
        finally:
            self._idle.put(reader)


def create_front(
    execute: Execute, *, token: str, bytes_max: int = STATEMENT_BYTES_MAX
) -> Starlette:
    """Return the application; `execute` is called on worker threads."""

    async def ping(request: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def query(request: Request) -> Response:
        try:
            _authenticate(request, token)
            statement = _statement(request, await _body(request, bytes_max))
            answer = await run_in_threadpool(execute, statement)
        except QueryError as error:
            return _refusal(error)
        except UnicodeDecodeError as error:
            return _refusal(QueryError(f"the statement is not UTF-8: {error}", code=TOO_LARGE))
        return _response(answer, statement)

    return Starlette(
        routes=[Route("/ping", ping), Route("/", query, methods=["GET", "POST"])],
    )


def _authenticate(request: Request, token: str) -> None:
    """Let in who sends the token as password, in any of the three ways that clients use."""
    given = request.headers.get("x-clickhouse-key") or request.query_params.get("password") or ""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(encoded).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            given = ""
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise QueryError(
            f"Code: {AUTHENTICATION_FAILED}. DB::Exception: the password is not the token of this "
            "front. (AUTHENTICATION_FAILED)",
            code=AUTHENTICATION_FAILED,
        )


async def _body(request: Request, bytes_max: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise QueryError(
                f"Code: {TOO_LARGE}. DB::Exception: a statement may have {bytes_max} bytes. "
                "(SYNTAX_ERROR)",
                code=TOO_LARGE,
            )
    return bytes(body)


def _statement(request: Request, body: bytes) -> Statement:
    given = dict(request.query_params)
    text = given.pop("query", "").encode()
    parameters = {
        name.removeprefix("param_"): value
        for name, value in given.items()
        if name.startswith("param_")
    }
    settings = {name: value for name, value in given.items() if not name.startswith("param_")}
    whole = b"\n".join(part for part in (text, body) if part)
    named = _FORMAT.search(whole[-100:])
    form = named[1].decode() if named else settings.get("default_format", FORM_DEFAULT)
    return Statement(whole, form, parameters, settings)


def _response(answer: Answer, statement: Statement) -> Response:
    summary = {"read_rows": str(answer.rows_read), "read_bytes": str(answer.bytes_read)}
    headers = {
        "X-ClickHouse-Summary": json.dumps(summary),
        "X-ClickHouse-Query-Id": statement.settings.get("query_id") or str(uuid.uuid4()),
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Server-Display-Name": "planewatch",
        "X-ClickHouse-Format": statement.form,
    }
    return Response(answer.body, headers=headers, media_type="application/octet-stream")


def _refusal(error: QueryError) -> Response:
    headers = {"X-ClickHouse-Exception-Code": str(error.code)}
    return PlainTextResponse(str(error), STATUS_OF.get(error.code, 500), headers)
