"""The HTTP side of a rehearsed control plane. In: the world, the clock. Out: answers as real ones.

The rule this file owns: paths, codes and bodies are those of Kubernetes and etcd: a LIST has a
resource version, a watch from one too old is one ERROR event, code 410, within a 200; bookmarks
come each minute; the time that an answer takes is event time.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from producers.rehearsal.catalogue import KUBERNETES
from producers.rehearsal.exposition import CONTENT_TYPE
from producers.rehearsal.leases import API_VERSION, NAMESPACE, Leases
from producers.rehearsal.model import Answer, World
from schemas.clock import Clock

LEASES_PATH: Final = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/leases"
BOOKMARK_MS: Final = 60_000
WATCH_S_DEFAULT: Final = 1_800
SLEEP_MAX_S: Final = 0.2  # the clock may change its speed at any moment
GZIP_LEVEL: Final = 1  # as Go's server does

JsonObject = dict[str, Any]


def apiserver_app(world: World, number: int, clock: Clock) -> Starlette:
    """Return the application of API server `number`."""

    async def metrics(request: Request) -> Response:
        return await _exposition(request, clock, lambda t_ms: world.apiserver(number, t_ms))

    async def leases(request: Request) -> Response:
        world.leases.advance(clock.now_ms())
        if request.query_params.get("watch") in {"1", "true"}:
            return _watch(request, world.leases, clock)
        return JSONResponse(_list(world.leases))

    async def version(_: Request) -> Response:
        return JSONResponse({"major": "1", "minor": "36", "gitVersion": KUBERNETES})

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/livez", _health),
            Route("/readyz", _health),
            Route("/version", version),
            Route(LEASES_PATH, leases),
        ]
    )


def etcd_app(world: World, clock: Clock) -> Starlette:
    """Return the application of the etcd member's metrics port."""

    async def metrics(request: Request) -> Response:
        return await _exposition(request, clock, world.etcd)

    async def health(_: Request) -> Response:
        return JSONResponse({"health": "true", "reason": ""})

    return Starlette(routes=[Route("/metrics", metrics), Route("/health", health)])


async def _exposition(request: Request, clock: Clock, answer: Callable[[int], Answer]) -> Response:
    said = answer(clock.now_ms())
    await asyncio.sleep(clock.wall_s(said.after_ms))
    headers = {"content-type": CONTENT_TYPE}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(said.body, headers=headers)
    packed = gzip.compress(said.body, GZIP_LEVEL)
    return Response(packed, headers=headers | {"content-encoding": "gzip"})


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok")


def _list(leases: Leases) -> JsonObject:
    items = [{k: v for k, v in one.items() if k not in {"kind", "apiVersion"}}
             for one in leases.objects()]  # fmt: skip
    return {
        "kind": "LeaseList",
        "apiVersion": API_VERSION,
        "metadata": {"resourceVersion": str(leases.version)},
        "items": items,
    }


def _watch(request: Request, leases: Leases, clock: Clock) -> Response:
    """Answer a watch; only versions that a LIST or an event gave are understood."""
    version = request.query_params.get("resourceVersion", "")
    if not version.isdigit():
        return _status(400, "BadRequest", f"Invalid value: {version!r}: resourceVersion")
    timeout_s = request.query_params.get("timeoutSeconds", "")
    ends_ms = clock.now_ms() + 1000 * (int(timeout_s) if timeout_s.isdigit() else WATCH_S_DEFAULT)
    events = _events(leases, clock, int(version), ends_ms)
    return StreamingResponse(events, media_type="application/json")


async def _events(leases: Leases, clock: Clock, version: int, ends_ms: int) -> AsyncIterator[bytes]:
    if version < leases.oldest:
        message = f"too old resource version: {version} ({leases.oldest})"
        yield _event("ERROR", _failure(410, "Expired", message))
        return
    bookmark_ms = clock.now_ms() + BOOKMARK_MS
    while (now_ms := clock.now_ms()) < ends_ms:
        leases.advance(now_ms)
        for event in leases.since(version):
            version = event.resource_version
            yield _event(event.type, event.object)
        if now_ms >= bookmark_ms:
            bookmark_ms += BOOKMARK_MS
            version = max(version, leases.version)
            yield _event("BOOKMARK", _bookmark(version))
        next_ms = min(leases.next_ms(), bookmark_ms, ends_ms)
        await asyncio.sleep(min(SLEEP_MAX_S, clock.wall_s(next_ms - now_ms) + 0.001))


def _event(kind: str, value: JsonObject) -> bytes:
    return json.dumps({"type": kind, "object": value}, separators=(",", ":")).encode() + b"\n"


def _bookmark(version: int) -> JsonObject:
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return {"kind": "Lease", "apiVersion": API_VERSION, "metadata": metadata, "spec": {}}


def _failure(code: int, reason: str, message: str) -> JsonObject:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _status(code: int, reason: str, message: str) -> Response:
    return JSONResponse(_failure(code, reason, message), status_code=code)
