"""Servers that accept what is valid now, and producers that scrape them while it changes.

In: what a server shows and accepts from now on. Out: every attempt as Kafka has it. Rule: TLS is
real; a connection that was made before a change lives on, as with any server, until its server
hangs up; producers are the whole stage, in a thread, and nobody tells them of a change.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trustme

from producers.broker import EmbeddedBroker
from producers.run import observe
from schemas import run
from schemas.arrow import decode_scrape
from schemas.clock import Clock
from schemas.config import load
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import KafkaSettings
from schemas.topics import TopicName, full_name
from tests.services.misbehaving import Server, response, server_context
from tests.services.records import read_all

ADDRESS = "127.0.0.1"
CLUSTER = "prod-eu-1"
INTERVAL_S = 0.25
WAIT_S = 20.0
JOIN_S = 10.0
IN_A_ROW = 4

Accepts = Callable[[ssl.SSLSocket, bytes], bool]

OK = response("200 OK", b"x 1\n")
DENIED = response("401 Unauthorized", b"Unauthorized")


class Guarded:
    """A server that asks `accepts` at each request, and answers 401 where that says no."""

    def __init__(self, ca: trustme.CA, *, clients: trustme.CA | None = None) -> None:
        """`clients`: who issues the certificates without which no connection is made."""
        self.accepts: Accepts = lambda connection, request: True
        self._context = server_context(ca, ADDRESS)
        if clients:
            self._context.verify_mode = ssl.CERT_REQUIRED
            clients.configure_trust(self._context)
        self._open: list[socket.socket] = []
        self._server = Server(self._answer, self._context)
        self.url = f"https://{ADDRESS}:{self._server.port}/metrics"

    @property
    def connections(self) -> int:
        """How many were made."""
        return self._server.connections

    def show(self, ca: trustme.CA) -> None:
        """Show a certificate of another CA to whoever connects from now on."""
        ca.issue_cert(ADDRESS).configure_cert(self._context)

    def hang_up(self) -> None:
        """Close all connections, as a server that starts again does."""
        hang_up(self._open)

    def close(self) -> None:
        """Listen no more."""
        self._server.close()
        self.hang_up()

    def _answer(self, connection: socket.socket, request: bytes) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        if connection not in self._open:
            self._open.append(connection)
        connection.sendall(OK if self.accepts(connection, request) else DENIED)


def hang_up(connections: list[socket.socket]) -> None:
    """Close connections that other threads may read from, and forget them."""
    while connections:
        with suppress(OSError):  # the other side was first
            # Not SSLSocket.shutdown, which forgets its TLS state while another thread reads
            socket.socket.shutdown(connections.pop(), socket.SHUT_RDWR)


class Scraped:
    """What running producers have written; times are those of their clock."""

    def __init__(self, broker: EmbeddedBroker, clock: Clock) -> None:
        self._broker, self._clock = broker, clock

    def now_ms(self) -> int:
        """Return the time."""
        return self._clock.now_ms()

    def since(self, instance: str, at_ms: int) -> list[ScrapeEnvelope]:
        """Return the requests to /metrics of an instance that were sent after a time."""
        records = read_all(self._broker.bootstrap, full_name(TopicName.SCRAPES, "planewatch"))
        found = [decode_scrape(record.value()).envelope for record in records]
        asked = (one for one in found if one.outcome is not Outcome.SKIPPED)
        ours = (one for one in asked if (one.instance, one.path) == (instance, "/metrics"))
        return sorted((one for one in ours if one.start_ms > at_ms), key=lambda one: one.tick_ms)

    def wait(self, instance: str, at_ms: int, outcome: Outcome) -> list[ScrapeEnvelope]:
        """Wait until a few attempts in a row after a time end so; return all of after that time."""
        end_s = time.monotonic() + WAIT_S
        while True:
            found = self.since(instance, at_ms)
            newest = [one.outcome for one in found[-IN_A_ROW:]]
            if [outcome] * IN_A_ROW == newest:
                return found
            said = [f"{one.outcome}: {one.reason}" for one in found[-IN_A_ROW:]]
            assert time.monotonic() < end_s, f"{instance} is not {outcome}: {said}"
            time.sleep(0.05)

    def failed(self, instance: str, at_ms: int) -> list[Outcome]:
        """Wait until scrapes succeed again; return how those failed that were sent before."""
        attempts = self.wait(instance, at_ms, Outcome.OK)
        return [one.outcome for one in attempts if one.outcome is not Outcome.OK]


@contextmanager
def producing(
    data: Path, cluster: dict[str, Any], clock_file: Path | None = None
) -> Iterator[Scraped]:
    """Run producers of one cluster; they are started once, and stopped at the end of the block."""
    broker = EmbeddedBroker(KafkaSettings())
    tree = {
        "data": str(data),
        "telemetry": {"producers_port": 0},
        "producers": {"interval_s_max": 1.0},  # slow servers are asked no less often
        "clusters": [{"id": CLUSTER} | cluster],
        "clock": {"file": str(clock_file) if clock_file else None},
    }
    settings = load(flags=tree, environ={}).settings
    run.announce(settings, run.BROKER, bootstrap=broker.bootstrap, incarnation=broker.incarnation)
    stop = threading.Event()
    thread = threading.Thread(target=observe, args=(settings, stop))
    thread.start()
    try:
        yield Scraped(broker, Clock(clock_file))
        assert thread.is_alive(), "producers ended by themselves"
    finally:
        stop.set()
        thread.join(JOIN_S)
    assert not thread.is_alive(), "producers did not stop"


def target(instance: str, server: Guarded, **more: Any) -> dict[str, Any]:
    """Return the settings of a target that is scraped often."""
    times = {"interval_s": INTERVAL_S, "timeout_s": 2.0}
    return {"job": "etcd", "instance": instance, "url": server.url, **times, **more}
