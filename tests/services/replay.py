"""Serve captured scrapes over HTTP as their processes did, refusals and silence included.

In: a timeline per instance: what a scrape met in each step of event time. Out: one loopback port an
instance. Rule: in a step that was refused nothing listens; in a step that timed out the request is
accepted and never answered; otherwise the captured body is served, gzipped where asked for, and
noted in `served`.
"""

import gzip
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from schemas.clock import Clock

POLL_S = 0.02


class Answer(StrEnum):
    """What a scrape met."""

    BODY = "body"
    REFUSED = "refused"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Step:
    """What an instance does during one step; `body` is the exposition where it answers."""

    answer: Answer
    body: bytes = b""


class Replay:
    """Plays timelines from `origin_ms` of event time on, one step every `step_ms`."""

    def __init__(
        self, timelines: Mapping[str, Sequence[Step]], clock: Clock, *, origin_ms: int, step_ms: int
    ) -> None:
        self._timelines, self._clock = timelines, clock
        self._origin_ms, self._step_ms = origin_ms, step_ms
        self._stop = threading.Event()
        self._servers: dict[str, ThreadingHTTPServer | None] = {}
        self.ports: dict[str, int] = {}
        self.served: dict[str, list[bytes]] = {instance: [] for instance in timelines}
        for instance in timelines:
            server = self._listen(instance, 0)
            self.ports[instance] = server.server_port
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def step_at(self, event_ms: int) -> int:
        """Return the step that `event_ms` falls into; the last one lasts for ever."""
        last = max(len(steps) for steps in self._timelines.values()) - 1
        return min(max(0, (event_ms - self._origin_ms) // self._step_ms), last)

    def now(self, instance: str) -> Step:
        """Return what an instance does at this moment."""
        return self.at(instance, self._clock.now_ms())

    def at(self, instance: str, event_ms: int) -> Step:
        """Return what an instance does at `event_ms`."""
        steps = self._timelines[instance]
        return steps[min(self.step_at(event_ms), len(steps) - 1)]

    def close(self) -> None:
        """Stop listening everywhere."""
        self._stop.set()
        self._thread.join()
        for instance in self._servers:
            self._hang_up(instance)

    def _follow(self) -> None:
        """Open and close the ports as the timelines say."""
        while not self._stop.wait(POLL_S):
            for instance in self._timelines:
                refused = self.now(instance).answer is Answer.REFUSED
                if refused and self._servers[instance]:
                    self._hang_up(instance)
                elif not refused and not self._servers[instance]:
                    self._listen(instance, self.ports[instance])

    def _listen(self, instance: str, port: int) -> ThreadingHTTPServer:
        replay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                step = replay.now(instance)
                if step.answer is Answer.SILENCE:
                    replay._wait_until_another(instance, step)
                    return
                zipped = "gzip" in self.headers.get("Accept-Encoding", "")
                body = gzip.compress(step.body, 1) if zipped else step.body
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                if zipped:
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                replay.served[instance].append(step.body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True).start()
        self._servers[instance] = server
        return server

    def _wait_until_another(self, instance: str, step: Step) -> None:
        while self.now(instance) is step and not self._stop.is_set():
            time.sleep(POLL_S)

    def _hang_up(self, instance: str) -> None:
        if server := self._servers[instance]:
            server.shutdown()
            server.server_close()
        self._servers[instance] = None
