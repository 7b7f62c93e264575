"""Probes of real servers: each on a connection of its own, each attempt a record."""

import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from producers.broker import EmbeddedBroker
from producers.core import probing
from producers.run import observe
from schemas import run
from schemas.arrow import Frame, decode_scrape
from schemas.config import load
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import KafkaSettings, Settings
from schemas.topics import TopicName, full_name
from tests.services.misbehaving import (
    Behaviour,
    Server,
    answering,
    cutting,
    response,
    server_context,
    silent,
)
from tests.services.records import read_all

INTERVAL_S = 0.5
TIMEOUT_S = 0.4
WAIT_S = 30.0
ATTEMPTS = 3
UNREADY = b"[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"
ANSWERS: dict[str, Behaviour] = {
    "good": answering(response("200 OK", b"[+]ping ok\n[+]etcd ok\nreadyz check passed\n")),
    "unready": answering(response("500 Internal Server Error", UNREADY)),
    "forbidden": answering(response("403 Forbidden", b"no")),
    "busy": answering(response("429 Too Many Requests", b"later", "Retry-After: 1")),
    "hangs": silent,
    "closes": cutting(b""),
    "tls": answering(response("200 OK", b"{}")),
    "expired": answering(response("200 OK", b"{}")),
}


@pytest.fixture(scope="module")
def certificates() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def servers(certificates: trustme.CA) -> Iterator[dict[str, Server]]:
    contexts = {"tls": server_context(certificates, "127.0.0.1"), "expired": expired(certificates)}
    servers = {name: Server(does, contexts.get(name)) for name, does in ANSWERS.items()}
    yield servers
    for server in servers.values():
        server.close()


def expired(certificates: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificates.issue_cert("127.0.0.1", not_after=yesterday).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def frames(
    servers: dict[str, Server], certificates: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Frame[ScrapeEnvelope]]]:
    """What was recorded of each server, probed a few times."""
    folder = tmp_path_factory.mktemp("probes")
    certificates.cert_pem.write_to_path(str(folder / "ca.crt"))
    settings = configuration(folder, servers)
    broker = EmbeddedBroker(KafkaSettings())
    run.announce(settings, run.BROKER, bootstrap=broker.bootstrap, incarnation=broker.incarnation)
    stop = threading.Event()
    thread = threading.Thread(target=observe, args=(settings, stop))
    thread.start()
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s and thread.is_alive():
        time.sleep(0.5)
        found = read(broker)
        if all(len(found.get(name, ())) >= ATTEMPTS for name in [*servers, "refused"]):
            break
    assert thread.is_alive(), "the producer ended by itself"
    stop.set()
    thread.join(WAIT_S)
    return read(broker)


def configuration(folder: Path, servers: dict[str, Server]) -> Settings:
    def target(name: str, port: int) -> dict[str, Any]:
        secured = name in {"tls", "expired"}
        tls = {"tls": {"ca_file": str(folder / "ca.crt")}} if secured else {}
        url = f"http{'s' if secured else ''}://127.0.0.1:{port}/readyz?verbose"
        times = {"interval_s": INTERVAL_S, "timeout_s": TIMEOUT_S}
        return {"job": "apiserver", "instance": name, "url": url, "probe": "readyz"} | tls | times

    ports = {name: server.port for name, server in servers.items()} | {"refused": 1}
    targets = [target(name, port) for name, port in ports.items()]
    tree = {
        "data": str(folder / "data"),
        "telemetry": {"producers_port": 0},
        "clusters": [{"id": "c1", "targets": targets}],
    }
    return load(flags=tree, environ={}).settings


def read(broker: EmbeddedBroker) -> dict[str, list[Frame[ScrapeEnvelope]]]:
    found: dict[str, list[Frame[ScrapeEnvelope]]] = {}
    for record in read_all(broker.bootstrap, full_name(TopicName.SCRAPES, "planewatch")):
        frame = decode_scrape(record.value())
        if frame.envelope.job == "apiserver":
            found.setdefault(frame.envelope.instance, []).append(frame)
    return found


def values(frame: Frame[ScrapeEnvelope]) -> dict[str, float]:
    rows = frame.rows.to_pylist()
    return {row["metric"] + (row["name"] and f" {row['name']}"): row["value"] for row in rows}


@pytest.mark.parametrize(
    ("name", "success", "status", "reason"),
    [
        ("good", 1.0, 200, ""),
        ("tls", 1.0, 200, ""),
        ("unready", 0.0, 500, "500, failed: etcd"),
        ("busy", 0.0, 429, "429 Too Many Requests: later"),
        ("hangs", 0.0, 0, "no complete answer in 0.4 s"),
        ("refused", 0.0, 0, "refused"),
        ("closes", 0.0, 0, ""),
        ("expired", 0.0, 0, "expired"),
    ],
)
def test_a_probe_tells_whether_its_server_serves(
    frames: dict[str, list[Frame[ScrapeEnvelope]]],
    name: str,
    success: float,
    status: int,
    reason: str,
) -> None:
    for frame in frames[name]:
        envelope, told = frame.envelope, values(frame)
        if envelope.outcome is Outcome.SKIPPED:  # at the end, or where this machine was busy
            continue
        assert (Outcome.OK, status, "/readyz") == (
            envelope.outcome,
            envelope.http_status,
            envelope.path,
        )
        assert reason in envelope.reason
        assert bool(reason) or name == "closes" or not envelope.reason
        assert (success, status) == (told[probing.SUCCESS], told[probing.STATUS])
        assert 0 < told[probing.DURATION] < 2 * TIMEOUT_S
        connected = name not in {"refused", "expired"}
        assert connected == (probing.CONNECT in told)
        assert told.get(probing.CONNECT, 0.0) <= told[probing.DURATION]


def test_each_check_of_a_health_endpoint_is_told(
    frames: dict[str, list[Frame[ScrapeEnvelope]]],
) -> None:
    for name, etcd in (("good", 1.0), ("unready", 0.0)):
        told = values(frames[name][0])
        assert (1.0, etcd) == (told[f"{probing.CHECK} ping"], told[f"{probing.CHECK} etcd"])


def test_a_checked_certificate_tells_when_it_ends(
    frames: dict[str, list[Frame[ScrapeEnvelope]]],
) -> None:
    assert values(frames["tls"][0])[probing.CERTIFICATE] > time.time()
    assert probing.CERTIFICATE not in values(frames["good"][0])


def test_where_we_may_not_ask_there_are_no_rows(
    frames: dict[str, list[Frame[ScrapeEnvelope]]],
) -> None:
    for frame in frames["forbidden"]:
        if frame.envelope.outcome is not Outcome.SKIPPED:
            assert (Outcome.FORBIDDEN, 403) == (frame.envelope.outcome, frame.envelope.http_status)
        assert not frame.rows.num_rows


def test_each_probe_has_a_connection_of_its_own_and_asks_as_one(
    frames: dict[str, list[Frame[ScrapeEnvelope]]], servers: dict[str, Server]
) -> None:
    good = servers["good"]
    assert ATTEMPTS <= len(good.requests) == good.connections
    head = good.requests[0].decode()
    assert head.startswith("GET /readyz?verbose HTTP/1.1\r\n")
    assert "(probe)" in head
    assert "Accept: application/json, */*;q=0.5" in head


def test_the_interval_of_a_probe_stays_however_slow_its_server_is(
    frames: dict[str, list[Frame[ScrapeEnvelope]]],
) -> None:
    found = [frame.envelope for frame in frames["hangs"]]
    assert {round(INTERVAL_S * 1000)} == {one.interval_ms for one in found}
    assert list(range(1, len(found) + 1)) == [one.sequence for one in found]
