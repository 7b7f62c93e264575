"""Decide what a watch does next. In: how a request ended. Out: the next request, and a pause.

The rule this file owns: the protocol of list and watch as a table. A LIST is asked for at the very
beginning and when the server has forgotten our version (410), never to recover from anything else;
every other end leads back to a watch from the newest version we saw. Each pause is random up to a
ceiling that doubles with every failure in a row; only progress makes it short again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from producers.core.budget import backoff_ms
from schemas.errors import DecodeError
from schemas.records import JsonObject

PAGE_OBJECTS: Final = 500
HEALTHY_MS: Final = 10_000  # a watch that lived so long was no failure
DENIED_MS: Final = 60_000  # somebody must grant rights first
RELIST_MS: Final = 30_000  # between LISTs that did not help
RETRY_AFTER_S_MAX: Final = 300.0
WATCH_S: Final = (240, 300)  # what the server is asked for, at random between


class Phase(StrEnum):
    """What is asked next."""

    LISTING = "listing"
    WATCHING = "watching"


class Signal(StrEnum):
    """How a request ended."""

    LISTED = "listed"  # a complete snapshot
    ENDED = "ended"  # the server closed the watch
    GONE = "gone"  # 410: as status, as an event in the stream, or for a continue token
    THROTTLED = "throttled"  # 429
    DENIED = "denied"  # 401, 403
    FAILED = "failed"  # 5xx, refused, cut
    SILENT = "silent"  # nothing came for too long: half-open
    GARBAGE = "garbage"  # bytes that are not the protocol


class Pause(StrEnum):
    """How to wait before the next request."""

    NONE = "none"
    BACKOFF = "backoff"
    DENIED = "denied"
    RELIST = "relist"  # once at once, then rarely: a LIST costs more than a watch


TABLE: Final[Mapping[tuple[Phase, Signal], tuple[Phase, Pause]]] = {
    (Phase.LISTING, Signal.LISTED): (Phase.WATCHING, Pause.NONE),
    (Phase.LISTING, Signal.GONE): (Phase.LISTING, Pause.RELIST),
    (Phase.LISTING, Signal.THROTTLED): (Phase.LISTING, Pause.BACKOFF),
    (Phase.LISTING, Signal.DENIED): (Phase.LISTING, Pause.DENIED),
    (Phase.LISTING, Signal.FAILED): (Phase.LISTING, Pause.BACKOFF),
    (Phase.LISTING, Signal.SILENT): (Phase.LISTING, Pause.BACKOFF),
    (Phase.LISTING, Signal.GARBAGE): (Phase.LISTING, Pause.BACKOFF),
    (Phase.WATCHING, Signal.ENDED): (Phase.WATCHING, Pause.BACKOFF),
    (Phase.WATCHING, Signal.GONE): (Phase.LISTING, Pause.RELIST),
    (Phase.WATCHING, Signal.THROTTLED): (Phase.WATCHING, Pause.BACKOFF),
    (Phase.WATCHING, Signal.DENIED): (Phase.WATCHING, Pause.DENIED),
    (Phase.WATCHING, Signal.FAILED): (Phase.WATCHING, Pause.BACKOFF),
    (Phase.WATCHING, Signal.SILENT): (Phase.WATCHING, Pause.BACKOFF),
    (Phase.WATCHING, Signal.GARBAGE): (Phase.WATCHING, Pause.BACKOFF),
}


@dataclass(frozen=True, slots=True)
class End:
    """The end of a request. `events`, `lasted_ms`: what a watch brought, and for how long."""

    signal: Signal
    reason: str = ""
    events: int = 0
    lasted_ms: int = 0
    retry_after_s: float = 0.0

    @property
    def healthy(self) -> bool:
        """Tell whether there was progress before it ended."""
        return self.events > 0 or self.lasted_ms >= HEALTHY_MS


@dataclass(frozen=True, slots=True)
class Watching:
    """Where a watch stands."""

    phase: Phase
    failures: int = 0  # in a row


def after(state: Watching, end: End, jitter: float) -> tuple[Watching, int]:
    """Return where the watch stands after `end`, and the pause in ms; `jitter` in [0, 1)."""
    phase, pause = TABLE[state.phase, end.signal]
    if pause is Pause.NONE:
        return Watching(phase, state.failures), 0
    failures = 1 if end.healthy else state.failures + 1
    pause_ms = backoff_ms(failures, jitter)
    if pause is Pause.DENIED:
        pause_ms = DENIED_MS + pause_ms
    if pause is Pause.RELIST and failures > 1:
        pause_ms = max(RELIST_MS, pause_ms)
    asked_ms = int(min(end.retry_after_s, RETRY_AFTER_S_MAX) * 1000)
    return Watching(phase, failures), max(pause_ms, asked_ms)


# --- the protocol --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a LIST."""

    version: str
    items: list[JsonObject]
    next_page: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch."""

    type: str  # ADDED, MODIFIED, DELETED, BOOKMARK
    version: str
    object: JsonObject


def list_query(next_page: str) -> dict[str, str]:
    """Return the query of one page of a LIST; no version: a consistent one, from the cache."""
    query = {"limit": str(PAGE_OBJECTS)}
    return query | {"continue": next_page} if next_page else query


def watch_query(version: str, share: float) -> dict[str, str]:
    """Return the query of a watch; `share` in [0, 1) chooses how long it may last."""
    shortest, longest = WATCH_S
    return {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": str(shortest + int(share * (longest - shortest + 1))),
    }


def read_page(body: bytes) -> Page:
    """Return a page of a LIST.

    Raises:
        DecodeError: the body is no list of objects.
    """
    found = _json(body)
    metadata, items = found.get("metadata"), found.get("items")
    if not isinstance(metadata, dict) or not metadata.get("resourceVersion"):
        raise DecodeError("a list without a resource version")
    for item in items or []:
        _check(item)
    return Page(str(metadata["resourceVersion"]), items or [], str(metadata.get("continue") or ""))


def read_event(line: bytes) -> Event | End:
    """Return an event of a watch, or how the server ended it with an ERROR event.

    Raises:
        DecodeError: the line is no event.
    """
    found = _json(line)
    kind, value = found.get("type"), found.get("object")
    if not isinstance(kind, str) or not isinstance(value, dict):
        raise DecodeError("an event without type or object")
    if kind == "ERROR":
        return read_status(int(value.get("code") or 0), value)
    if kind == "BOOKMARK":
        version = (value.get("metadata") or {}).get("resourceVersion")
    else:
        version = _check(value)
    if not version:
        raise DecodeError(f"{kind} without a resource version")
    return Event(kind, str(version), value)


def read_failure(code: int, body: bytes, retry_after: str) -> End:
    """Return the end of a request that was answered with another status than 200."""
    try:
        status = _json(body)
    except DecodeError:
        status = {"message": body[:200].decode(errors="replace")}
    end = read_status(code, status)
    header_s = float(retry_after) if retry_after.isdigit() else 0.0
    return End(end.signal, end.reason, retry_after_s=max(end.retry_after_s, header_s))


def read_status(code: int, status: JsonObject) -> End:
    """Return the end that a Status object describes."""
    details = status.get("details")
    details = details if isinstance(details, dict) else {}
    seconds = details.get("retryAfterSeconds")
    reason = f"{code} {status.get('reason') or ''} {status.get('message') or ''}"[:300]
    return End(
        _signal(code, str(status.get("reason")), str(status.get("message"))),
        reason,
        retry_after_s=float(seconds) if isinstance(seconds, int) else 0.0,
    )


def _signal(code: int, reason: str, message: str) -> Signal:
    """A version of the future (the store was restored from a backup) is as useless as one gone."""
    if code == 410 or reason in {"Expired", "Gone"} or "Too large resource version" in message:
        return Signal.GONE
    if code == 429:
        return Signal.THROTTLED
    return Signal.DENIED if code in {401, 403} else Signal.FAILED


def _json(raw: bytes) -> JsonObject:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"no JSON object: {error}") from error


def _check(value: object) -> str:
    """Return the version of an object that has all we need."""
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(metadata, dict) or not all(
        isinstance(metadata.get(name), str) and metadata[name]
        for name in ("name", "uid", "resourceVersion")
    ):
        raise DecodeError("an object without name, uid or resource version")
    return str(metadata["resourceVersion"])
