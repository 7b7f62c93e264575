"""Watch one kind of one cluster. In: its LIST and watch. Out: every change of it in `changes`.

The rule this file owns: `core/watching.py` decides, this file asks, sends and waits. A change is
seen when it is on its way to Kafka, and remembered when Kafka has it.
"""

import logging
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from producers.answers import Answer, Ended, TooLong
from producers.budget import pause
from producers.core.changes import bare, change, snapshot, trimmed
from producers.core.watching import (
    End,
    Event,
    Phase,
    Signal,
    Watching,
    after,
    list_query,
    read_event,
    read_page,
    watch_query,
)
from producers.kube import Connection
from producers.seen import Seen
from producers.sending import Sender
from producers.supervised import Supervised
from schemas.clock import Clock
from schemas.codec import encode
from schemas.errors import DecodeError
from schemas.kafka import RECORD_BYTES_MAX
from schemas.metrics import Metric
from schemas.records import Change, JsonObject, Op
from schemas.telemetry import Telemetry
from schemas.topics import TopicName

LIST_SILENCE_MS: Final = 60_000
PAGE_MS: Final = 120_000  # for one page of a LIST
WATCH_SILENCE_MS: Final = 90_000  # bookmarks come each minute
WATCH_OVER_MS: Final = 30_000  # that a watch may last longer than it was asked for
PAGES_MAX: Final = 200  # of 500 objects; a snapshot that has more is given up
PAGE_BYTES_MAX: Final = 64_000_000
EVENT_BYTES_MAX: Final = 16_000_000
CHANGE_BYTES_MAX: Final = RECORD_BYTES_MAX - 10_000  # a bigger one goes without its object
SAVE_S: Final = 2.0
OPS: Final = {"ADDED": Op.ADDED, "MODIFIED": Op.MODIFIED, "DELETED": Op.DELETED}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resource:
    """What is watched. Items of a LIST do not say their kind, so it stands here."""

    name: str
    kind: str
    api_version: str
    path: str


class Watch:
    """One kind of one cluster, watched until `stop`."""

    def __init__(
        self,
        resource: Resource,
        cluster: str,
        *,
        connection: Connection,
        seen: Seen,
        sender: Sender,
        clock: Clock,
        telemetry: Telemetry,
        stop: threading.Event,
    ) -> None:
        self._resource, self._cluster = resource, cluster
        self._connection, self._seen = connection, seen
        self._sender, self._clock, self._telemetry = sender, clock, telemetry
        self._stop = stop
        self._state = _beginning(seen)
        self._answer: Answer | None = None
        self._saved_s = 0.0
        self._news = Signal.LISTED  # the newest end that was logged
        self._thread = Supervised(f"watch-{cluster}-{resource.name}", self._run, stop)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Cut the open watch, wait until the thread has ended, and save what Kafka has by now."""
        if answer := self._answer:
            answer.end()
        if self._thread.join(timeout_s):
            self._settle(now=True)

    def check(self) -> None:
        """Raise what ended the watch, if it ended before `stop` was set."""
        self._thread.check()

    def _run(self) -> None:
        logger.info(
            "watching cluster=%s kind=%s from=%s",
            self._cluster,
            self._resource.kind,
            self._seen.version or "a snapshot",
        )
        while not self._stop.is_set():
            end = self._list() if self._state.phase is Phase.LISTING else self._watch()
            if not self._stop.is_set() and not self._wait(end):
                return

    def _wait(self, end: End) -> bool:
        self._state, pause_ms = after(self._state, end, random.random())  # noqa: S311 no secret
        if end.signal is not Signal.LISTED:
            reason = str(end.signal)
            self._telemetry.count(Metric.WATCH_RESTARTS, cluster=self._cluster, reason=reason)
        self._tell(end, pause_ms)
        self._settle()
        if not self._seen.version:  # nothing to go on from, or no longer
            self._state = Watching(Phase.LISTING, self._state.failures)
        return pause(self._clock, pause_ms, self._stop)

    def _tell(self, end: End, pause_ms: int) -> None:
        """Log where the way a watch ends has changed; a watch that just ends is no news."""
        good = end.signal is Signal.LISTED or (end.signal is Signal.ENDED and end.healthy)
        signal = Signal.LISTED if good else end.signal
        if signal is self._news:
            return
        self._news = signal
        logger.log(
            logging.INFO if good else logging.WARNING,
            "watch cluster=%s kind=%s ended=%s next=%s pause_ms=%d reason=%s",
            self._cluster,
            self._resource.kind,
            end.signal,
            self._state.phase,
            pause_ms,
            end.reason,
        )

    # --- LIST ---

    def _list(self) -> End:
        """Take a paged snapshot and send what it says."""
        items: list[JsonObject] = []
        version = next_page = ""
        try:
            for _ in range(PAGES_MAX):
                page = read_page(self._body(list_query(next_page)))
                self._connection.read()
                version = version or page.version
                items += [self._named(item) for item in page.items]
                if not (next_page := page.next_page):
                    break
            else:
                self._telemetry.count(Metric.LIMIT_HITS, limit="snapshot_pages_max")
                return End(Signal.GARBAGE, f"a snapshot of more than {PAGES_MAX} pages")
        except Ended as error:
            return error.end
        except DecodeError as error:
            self._connection.read(garbled=True)
            return End(Signal.GARBAGE, str(error))
        now_ms = self._clock.now_ms()
        for one in snapshot(self._cluster, self._seen.objects, items, now_ms):
            self._send(one)
        self._seen.reach(version)
        return End(Signal.LISTED)

    def _body(self, query: dict[str, str]) -> bytes:
        with self._connection.get(
            self._resource.path,
            query,
            silence_ms=LIST_SILENCE_MS,
            deadline_ms=PAGE_MS,
            stop=self._stop,
        ) as answer:
            try:
                return answer.whole(PAGE_BYTES_MAX)
            except TooLong:
                self._telemetry.count(Metric.LIMIT_HITS, limit="snapshot_page_bytes_max")
                raise

    def _named(self, item: JsonObject) -> JsonObject:
        return {"apiVersion": self._resource.api_version, "kind": self._resource.kind} | item

    # --- watch ---

    def _watch(self) -> End:
        """Follow one watch to its end."""
        began_ms, events = self._clock.now_ms(), 0
        end = End(Signal.ENDED, "closed by the server")
        try:
            for event in self._events():
                if isinstance(event, End):
                    end = event
                    break
                if not events:
                    self._connection.read()
                events += 1
                self._take(event)
                if not self._settle():
                    end = End(Signal.FAILED, "Kafka gave a change up")
                    break
        except Ended as error:
            end = error.end
        except DecodeError as error:
            self._connection.read(garbled=True)
            end = End(Signal.GARBAGE, str(error))
        lasted_ms = self._clock.now_ms() - began_ms
        return End(end.signal, end.reason, events, lasted_ms, end.retry_after_s)

    def _events(self) -> Iterator[Event | End]:
        query = watch_query(self._seen.version, random.random())  # noqa: S311 no secret
        rest: list[bytes] = []  # of a line that goes on
        with self._connection.get(
            self._resource.path,
            query,
            silence_ms=WATCH_SILENCE_MS,
            deadline_ms=int(query["timeoutSeconds"]) * 1000 + WATCH_OVER_MS,
            stop=self._stop,
        ) as answer:
            self._answer = answer
            for chunk in answer.chunks():
                *lines, end = chunk.split(b"\n")
                for line in lines:
                    if whole := b"".join([*rest, line]):
                        yield read_event(whole)
                    rest = []
                rest.append(end)
                if sum(map(len, rest)) > EVENT_BYTES_MAX:
                    self._telemetry.count(Metric.LIMIT_HITS, limit="watch_event_bytes_max")
                    raise DecodeError(f"an event of more than {EVENT_BYTES_MAX} bytes")
                if self._stop.is_set():
                    break
        self._answer = None

    def _take(self, event: Event) -> None:
        if op := OPS.get(event.type):
            given = trimmed(event.object)
            before = self._seen.objects.get(str(given["metadata"]["uid"]))
            self._send(change(self._cluster, given, before, op, self._clock.now_ms()))
        self._seen.reach(event.version)

    # --- out ---

    def _send(self, one: Change) -> None:
        value = encode(one)
        if len(value) > CHANGE_BYTES_MAX:
            self._telemetry.count(Metric.LIMIT_HITS, limit="change_bytes_max")
            value = encode(bare(one))
        self._sender.send(
            TopicName.CHANGES,
            cluster=self._cluster,
            key=f"{self._cluster}/{one.uid}",
            value=value,
            on_delivery=self._seen.see(one),
        )

    def _settle(self, *, now: bool = False) -> bool:
        """Fold in what Kafka has, save it now and then; return False where it lost a change."""
        kept = self._seen.settle()
        if now or time.monotonic() - self._saved_s >= SAVE_S:
            self._saved_s = time.monotonic()
            try:
                self._seen.save()
            except OSError as error:
                self._telemetry.count(Metric.ERRORS, kind="checkpoint")
                logger.error("watch state not saved cluster=%s error=%s", self._cluster, error)
        return kept


def _beginning(seen: Seen) -> Watching:
    return Watching(Phase.WATCHING if seen.version else Phase.LISTING)
