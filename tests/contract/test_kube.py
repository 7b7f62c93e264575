"""One request to an API server: with the credentials of now, over in time, never repeated."""

import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from producers.access import Access
from producers.answers import Ended
from producers.budget import Budget
from producers.core.watching import Signal
from producers.kube import Connection
from schemas.clock import Clock, ClockWriter, wall_ms
from schemas.errors import ConfigError
from schemas.settings import ProducersSettings
from schemas.telemetry import Telemetry
from tests.fakes.apiserver import LEASES, FakeApi, Handler, serving, status
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
    access = Access(kubeconfig, None, "clusters.0.kubeconfig")
    return Connection(access, owner="test", budget=budget, clock=clock)


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


def asks_for(api: FakeApi, token: str, *, code: int = 401) -> None:
    """Let the server answer only who has this token."""

    def answer(handler: Handler, query: dict[str, str]) -> None:
        if handler.headers["Authorization"] == f"Bearer {token}":
            handler.json(200, api.list_page(query))
        else:
            handler.json(code, status(code, "Reason", "message"))

    api.lists = answer


def script(file: Path, text: str) -> str:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


# --- credentials ---------------------------------------------------------------------------------


def test_a_token_file_that_was_rotated_is_read_again_after_a_401(
    api: FakeApi, connect: Connect, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    connection = connect(api.url, tokenFile=str(token))
    asks_for(api, "first")
    assert ask(connection)

    for rotated in ("second", "third"):
        token.write_text(f"{rotated}\n")
        asks_for(api, rotated)
        assert Signal.DENIED is refused(connection)
        assert ask(connection)

    assert 5 == len(api.asked), "one call is one request"


@pytest.mark.parametrize("code", [401, 403])
def test_a_plug_in_that_failed_at_start_is_asked_again(
    api: FakeApi, connect: Connect, tmp_path: Path, code: int
) -> None:
    """Without its token we are anonymous, whom some servers know and others do not."""
    output = tmp_path / "credential"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": script(tmp_path / "plugin", f"cat {output}"),
        "interactiveMode": "Never",
    }
    connection = connect(api.url, exec=plugin)
    asks_for(api, "late", code=code)
    assert Signal.DENIED is refused(connection)

    output.write_text(
        json.dumps(
            {
                "apiVersion": "client.authentication.k8s.io/v1",
                "kind": "ExecCredential",
                "status": {"token": "late"},
            }
        )
    )

    assert ask(connection)


def test_a_kubeconfig_that_is_gone_when_it_is_read_again_is_a_failure_like_others(
    api: FakeApi, connect: Connect, tmp_path: Path
) -> None:
    connection = connect(api.url, token="old")
    asks_for(api, "new")
    written = (tmp_path / "kubeconfig").read_text()
    assert Signal.DENIED is refused(connection)

    (tmp_path / "kubeconfig").write_text("clusters: [")
    assert Signal.FAILED is refused(connection)
    assert 1 == len(api.asked)

    (tmp_path / "kubeconfig").write_text(written.replace("old", "new"))
    assert ask(connection)


def test_credentials_that_cannot_be_renewed_are_a_failure_like_others(
    api: FakeApi, connect: Connect, tmp_path: Path
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=SKEW_S + 1)
    output = tmp_path / "renewed"
    provider = {
        "access-token": "old",
        "expiry": soon.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cmd-path": script(tmp_path / "command", f"cat {output}"),
    }
    connection = connect(api.url, **{"auth-provider": {"name": "gcp", "config": provider}})
    time.sleep(1.1)  # now it has expired
    assert Signal.FAILED is refused(connection)
    assert [] == api.asked

    token = {"access_token": "new", "token_expiry": "2106-01-01T00:00:00Z"}
    output.write_text(json.dumps({"credential": token}))
    asks_for(api, "new")
    assert ask(connection)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "",
        "[]",
        "no mapping",
        "5",
        "clusters: [",
        "\ttabs: no",
        "clusters: 5\ncontexts: 5\ncurrent-context: x",
        "clusters: []\ncontexts: [5]\ncurrent-context: x",
        "clusters: [{name: c}]\ncontexts: [{name: x, context: y}]\ncurrent-context: x",
        "clusters: [{name: c, cluster: 5}]\nusers: [{name: u, user: 5}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x",
        "clusters: [{name: c, cluster: {server: 5}}]\nusers: []\n"
        "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x",
        "\x00",
    ],
)
def test_a_kubeconfig_of_another_shape_is_told_with_its_path(tmp_path: Path, text: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)

    with pytest.raises(ConfigError) as raised:
        connection(file, Clock())

    (problem,) = raised.value.problems
    assert "clusters.0.kubeconfig" == problem.path
    assert str(file) in problem.message


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
