"""Targets whose trouble begins at known moments, and who heard of it when. In: a plan of flips.
Out: expositions over HTTP on loopback, and an Alertmanager that only notes arrivals.

Rule: a moment is a moment: the condition is true in every answer that is made after it, whether
somebody asks or not. Targets are independent of each other.
"""

import json
import random
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

METRIC = "bench_trouble"
ALERT = "BenchTrouble"
EARLY_S = 0.05  # clocks of processes on one machine agree, printed times are rounded


@dataclass(frozen=True, slots=True)
class Flips:
    """When the trouble of one target begins; it lasts for `lasts_s` each time."""

    instance: str
    begins_s: Sequence[float]  # wall clock, ascending
    lasts_s: float

    def true(self, now_s: float) -> bool:
        """Tell whether there is trouble."""
        k = bisect_right(self.begins_s, now_s)
        return k > 0 and now_s < self.begins_s[k - 1] + self.lasts_s


def planned(
    instances: Sequence[str], *, begin_s: float, count: int, interval_s: float, seed: int
) -> list[Flips]:
    """Return `count` flips of each target; between two it is well for long enough to resolve."""
    dice = random.Random(seed)
    lasts_s = 4 * interval_s + 1
    period_s = 2 * lasts_s + interval_s
    return [
        Flips(
            one,
            [begin_s + k * period_s + dice.uniform(0, interval_s) for k in range(count)],
            lasts_s,
        )
        for one in instances
    ]


@dataclass(slots=True)
class Heard:
    """Arrivals of firing alerts: (instance, when it began to fire): when it was heard first."""

    arrivals: dict[tuple[str, float], float] = field(default_factory=dict)

    def note(self, instance: str, since_s: float, now_s: float) -> None:
        """Note an arrival; repetitions do not count."""
        self.arrivals.setdefault((instance, since_s), now_s)

    def latencies_s(self, plan: Sequence[Flips]) -> tuple[list[float], int]:
        """Return how long each flip took to be heard, and how many never were."""
        found, missed = [], 0
        for one in plan:
            heard = sorted(
                (since_s, now_s)
                for (instance, since_s), now_s in self.arrivals.items()
                if instance == one.instance
            )
            for begin_s in one.begins_s:
                mine = [
                    now_s
                    for since_s, now_s in heard
                    if begin_s - EARLY_S <= since_s <= begin_s + 2 * one.lasts_s
                ]
                if mine:
                    found.append(mine[0] - begin_s)
                else:
                    missed += 1
        return found, missed


@contextmanager
def served(plan: Mapping[str, Flips], heard: Heard) -> Iterator[int]:
    """Serve /metrics?t=INSTANCE, and POST /api/v2/alerts; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            flips = plan[self.path.partition("?t=")[2]]
            value = int(flips.true(time.time()))
            self._answer(f"# TYPE {METRIC} gauge\n{METRIC} {value}\n".encode())

        def do_POST(self) -> None:
            now_s = time.time()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for alert in json.loads(body):
                if alert["labels"]["alertname"] == ALERT and _time_s(alert["endsAt"]) > now_s:
                    instance = alert["labels"]["instance"]
                    heard.note(instance, _time_s(alert["startsAt"]), now_s)
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def _time_s(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
