"""Write answers of the console. In: a record. Out: a response with JSON that nobody caches."""

import msgspec
from starlette.responses import Response

from sinks.console.answers import Record


def reply(record: Record, status: int = 200) -> Response:
    """Return a response with a record as JSON."""
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(record), status, headers, media_type="application/json")
