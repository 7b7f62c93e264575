"""Write answers of the console. In: a record, or a stream of them. Out: responses nobody caches."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sinks.console.answers import Record


def reply(record: Record, status: int = 200) -> Response:
    """Return a response with a record as JSON."""
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(record), status, headers, media_type="application/json")


class Events(StreamingResponse):
    """Records as server-sent events, until the reader leaves or the server stops."""

    def __init__(self, records: AsyncIterator[Record]) -> None:
        events = (b"data: " + msgspec.json.encode(record) + b"\n\n" async for record in records)
        headers = {"cache-control": "no-store"}
        super().__init__(events, headers=headers, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream; a server that stops cancels this, and the stream ends as any other answer."""
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
