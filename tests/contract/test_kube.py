"""One request to an API server: with the credentials of now, over in time, never repeated."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from producers.answers import Ended
from producers.budget import Budget
from producers.core.watching import Signal
from producers.kube import Connection
from schemas.clock import Clock, ClockWriter, wall_ms
from schemas.settings import ProducersSettings
from schemas.telemetry import Telemetry
from tests.fakes.apiserver import LEASES, FakeApi, serving
from tests.services.misbehaving import Behaviour, Server, dripping, server_context

LIMIT_MS = 600
SPEED = 20.0  # 10 s for the body of a failure take half a second
SKEW_S = 300  # a token that ends sooner counts as expired
OVER_S = 5.0  # far less than a drip that nobody stops

Connect = Callable[..., Connection]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    api = FakeApi()
    with serving(api):
        yield api


@pytest.fixture
def connect(tmp_path: Path) -> Connect:
    """Connect to a server as a user of a kubeconfig."""

    def connect(url: str, clock: Clock | None = None, **user: Any) -> Connection:
        file = tmp_path / "kubeconfig"
        cluster = {"server": url, "certificate-authority": str(tmp_path / "ca.crt")}
        file.write_text(kubeconfig(cluster, user))
        return connection(file, clock or Clock())

    return connect


def connection(kubeconfig: Path, clock: Clock) -> Connection:
    budget = Budget("c", ProducersSettings(), clock, Telemetry("producers"))
    return Connection(
        kubeconfig,
        None,
        setting="clusters.0.kubeconfig",
        owner="test",
        budget=budget,
        clock=clock,
    )


def kubeconfig(cluster: dict[str, Any], user: dict[str, Any]) -> str:
    return json.dumps(
        {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


def ask(connection: Connection) -> bytes:
    """Return the whole body of an answer."""
    with connection.get(
        LEASES, {}, silence_ms=LIMIT_MS, deadline_ms=LIMIT_MS, stop=threading.Event()
    ) as answer:
        return b"".join(answer.chunks())


def refused(connection: Connection) -> Signal:
    """Return how a request ended that had no answer to read."""
    with pytest.raises(Ended) as raised:
        ask(connection)
    return raised.value.end.signal


# --- deadlines -----------------------------------------------------------------------------------

DRIPS: dict[str, Behaviour] = {
    "head": dripping(b"X: y\r\n", after=b"HTTP/1.1 200 OK\r\n"),
    "body": dripping(b" ", after=b"HTTP/1.1 200 OK\r\n\r\n"),
    "body of a length": dripping(b" ", after=b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"),
    "chunks": dripping(
        b"1\r\n \r\n", after=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "size of a chunk": dripping(
        b"0", after=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", DRIPS)
def test_no_server_makes_an_answer_outlive_its_deadline(
    connect: Connect, tmp_path: Path, name: str, tls: bool
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    server = Server(DRIPS[name], server_context(ca, "127.0.0.1") if tls else None)
    connection = connect(f"http{'s' if tls else ''}://127.0.0.1:{server.port}", token="t")
    began_s = time.monotonic()

    signal = refused(connection)

    assert LIMIT_MS / 1000 - 0.1 <= time.monotonic() - began_s < OVER_S
    assert signal in {Signal.FAILED, Signal.SILENT}
    server.close()


def test_the_body_of_a_failure_is_not_waited_for(connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "clock"
    ClockWriter(file, event_ms=wall_ms(), speed=SPEED)
    server = Server(dripping(b"x", after=b"HTTP/1.1 410 Gone\r\nContent-Length: 9999\r\n\r\n"))
    connection = connect(f"http://127.0.0.1:{server.port}", Clock(file), token="t")
    began_s = time.monotonic()

    assert Signal.GONE is refused(connection)

    assert time.monotonic() - began_s < OVER_S
    server.close()
