"""Whatever a target does, each attempt is a record with the right outcome, and scraping goes on."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from producers.broker import EmbeddedBroker
from producers.core.formats import ACCEPT
from producers.core.schedule import plan
from producers.run import observe
from schemas import run
from schemas.arrow import Frame, decode_scrape
from schemas.config import load
from schemas.identity import Target
from schemas.partition import partition_of
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import KafkaSettings, Settings
from schemas.topics import TopicName, full_name
from tests.delimited import delimited
from tests.services.misbehaving import (
    Behaviour,
    Server,
    answering,
    cutting,
    dripping,
    response,
    server_context,
    silent,
)
from tests.services.records import read_all

CLUSTER = "prod-eu-1"
INTERVAL_S = 0.5
TIMEOUT_S = 1.0
SLOW_S = 1.2
ATTEMPTS = 3
DEADLINE_S = 30.0
BODY_BYTES_MAX = 20_000

BODY = b"# TYPE x gauge\n" + b"".join(b'x{a="%d"} 1\n' % n for n in range(100))
BIG = b"# TYPE x gauge\n" + b"".join(b'x{a="%d"} 1\n' % n for n in range(5_000))
OK = response("200 OK", BODY)
ZIPPED = gzip.compress(BODY)
GZIP = "Content-Encoding: gzip"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

TWO_MEMBERS = ZIPPED + gzip.compress(b"y 1\n")
NO_LENGTH = b"HTTP/1.0 200 OK\r\n\r\n"
LOGIN = b"<!DOCTYPE html>\n<html>Login</html>\n"
ELSEWHERE = "Location: http://127.0.0.1:1/"

PROTOBUF = "Content-Type: " + ACCEPT.split(";q=")[0]
MESSAGES = delimited(BODY)


def negotiating(connection: socket.socket, request: bytes) -> None:
    """Answer in protobuf who prefers it, compressed who asks for that."""
    if b"Accept: application/vnd.google.protobuf;" not in request:
        connection.sendall(OK)
    elif b"Accept-Encoding: gzip" in request:
        connection.sendall(response("200 OK", gzip.compress(MESSAGES), PROTOBUF, GZIP))
    else:
        connection.sendall(response("200 OK", MESSAGES, PROTOBUF))


ANSWERS: dict[str, tuple[Behaviour, Outcome]] = {
    "good": (answering(OK), Outcome.OK),
    "good-gzip": (answering(response("200 OK", ZIPPED, GZIP)), Outcome.OK),
    "good-gzip-two-members": (answering(response("200 OK", TWO_MEMBERS, GZIP)), Outcome.OK),
    "good-chunked": (answering(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)), Outcome.OK),
    "good-protobuf": (negotiating, Outcome.OK),
    "protobuf-but-text": (answering(response("200 OK", BODY, PROTOBUF)), Outcome.MALFORMED),
    "cut-protobuf": (answering(response("200 OK", MESSAGES[:-9], PROTOBUF)), Outcome.TRUNCATED),
    "good-until-closed": (cutting(NO_LENGTH + BODY), Outcome.OK),
    "status-401": (answering(response("401 Unauthorized", b"Unauthorized")), Outcome.UNAUTHORIZED),
    "status-403": (
        answering(response("403 Forbidden", b"forbidden: User x cannot")),
        Outcome.FORBIDDEN,
    ),
    "status-429": (
        answering(response("429 Too Many Requests", b"", "Retry-After: 1")),
        Outcome.THROTTLED,
    ),
    "status-500": (answering(response("500 Internal Server Error", b"oh")), Outcome.HTTP_ERROR),
    "status-503": (answering(response("503 Service Unavailable", b"")), Outcome.HTTP_ERROR),
    "redirect": (answering(response("302 Found", b"", ELSEWHERE)), Outcome.HTTP_ERROR),
    "html": (answering(response("200 OK", LOGIN)), Outcome.MALFORMED),
    "html-no-line-end": (answering(response("200 OK", b"<html>Login</html>")), Outcome.MALFORMED),
    "json": (answering(response("200 OK", b'{"kind":"Status","code":403}')), Outcome.MALFORMED),
    "no-sample": (answering(response("200 OK", b"# HELP x y\n")), Outcome.MALFORMED),
    "not-http": (cutting(b"SSH-2.0-OpenSSH_9.9\r\n"), Outcome.MALFORMED),
    "not-gzip": (answering(response("200 OK", BODY, GZIP)), Outcome.MALFORMED),
    "unasked-encoding": (
        answering(response("200 OK", BODY, "Content-Encoding: br")),
        Outcome.MALFORMED,
    ),
    "empty": (answering(response("200 OK", b"")), Outcome.TRUNCATED),
    "empty-gzip": (answering(response("200 OK", b"", GZIP)), Outcome.TRUNCATED),
    "short": (cutting(response("200 OK", BODY, length=len(BODY) + 100)), Outcome.TRUNCATED),
    "cut-chunked": (cutting(CHUNKED + b"%x\r\n%b\r\n" % (len(BODY), BODY)), Outcome.TRUNCATED),
    "cut-within-a-chunk": (cutting(CHUNKED + b"ffff\r\n" + BODY), Outcome.TRUNCATED),
    "cut-gzip": (answering(response("200 OK", ZIPPED[:-20], GZIP)), Outcome.TRUNCATED),
    "cut-line": (answering(response("200 OK", BODY[:-1])), Outcome.TRUNCATED),
    "closes": (cutting(b""), Outcome.TRUNCATED),
    "never": (silent, Outcome.TIMEOUT),
    "never-a-body": (answering(response("200 OK", b"", length=10)), Outcome.TIMEOUT),
    "drips": (dripping(b'x{a="1"} 1\n', after=NO_LENGTH), Outcome.TIMEOUT),
    "drips-headers": (dripping(b"X: y\r\n", after=b"HTTP/1.1 200 OK\r\n"), Outcome.TIMEOUT),
    "big": (answering(response("200 OK", BIG)), Outcome.TOO_BIG),
    "big-gzip": (answering(response("200 OK", gzip.compress(BIG), GZIP)), Outcome.TOO_BIG),
}


@dataclass
class World:
    """Targets, and what became of them."""

    settings: Settings
    servers: dict[str, Server]
    records: dict[str, list[Frame[ScrapeEnvelope]]] = field(default_factory=dict)
    headers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    partitions: set[int] = field(default_factory=set)

    def outcomes(self, instance: str) -> list[Outcome]:
        return [frame.envelope.outcome for frame in self.records[instance]]


def slow(connection: socket.socket, _: bytes) -> None:
    time.sleep(SLOW_S)
    connection.sendall(OK)


def guarded(connection: socket.socket, request: bytes) -> None:
    """Answer who has the token."""
    known = b"Authorization: Bearer s3cret\r\n" in request
    connection.sendall(OK if known else response("401 Unauthorized", b""))


def tls_targets(folder: Path, servers: dict[str, Server]) -> dict[str, dict[str, Any]]:
    """Targets behind TLS, by instance: what they serve and what the scraper knows."""
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.crt")
    other.cert_pem.write_to_path(folder / "other.crt")
    client = ca.issue_cert("planewatch@example.org")
    client.cert_chain_pems[0].write_to_path(folder / "client.crt")
    client.private_key_pem.write_to_path(folder / "client.key")
    by_ip = server_context(ca, "127.0.0.1")
    by_name = server_context(ca, "kubernetes.default.svc")
    mutual = server_context(ca, "127.0.0.1")
    mutual.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(mutual)
    trusted, untrusted = {"ca_file": "ca.crt"}, {"ca_file": "other.crt"}
    pair = {"cert_file": "client.crt", "key_file": "client.key"}
    chosen: dict[str, tuple[ssl.SSLContext, dict[str, Any]]] = {
        "tls": (by_ip, trusted),
        "tls-by-name": (by_name, trusted | {"server_name": "kubernetes.default.svc"}),
        "tls-client-certificate": (mutual, trusted | pair),
        "tls-unverified": (by_name, {"insecure_skip_verify": True}),
        "tls-unknown-ca": (by_ip, untrusted),
        "tls-other-name": (by_name, trusted),
        "tls-no-client-certificate": (mutual, trusted),
        "tls-no-ca-file": (by_ip, {"ca_file": "absent.crt"}),
    }
    found = {}
    for instance, (context, tls) in chosen.items():
        servers[instance] = Server(answering(OK), context)
        found[instance] = {"url": f"https://127.0.0.1:{servers[instance].port}", "tls": tls}
    plain = servers["tls-to-plain"] = Server(answering(OK))
    found["tls-to-plain"] = {"url": f"https://127.0.0.1:{plain.port}/metrics", "tls": trusted}
    return found


def other_targets(folder: Path, servers: dict[str, Server]) -> dict[str, dict[str, Any]]:
    """Targets that fail before or beside HTTP."""
    (folder / "token").write_text("s3cret\n")
    servers["token"] = Server(guarded)
    servers["slow"] = Server(slow)
    closed = Server(silent)
    closed.close()
    url = f"http://127.0.0.1:{servers['token'].port}/metrics"
    return {
        "token": {"url": url, "bearer_token_file": "token"},
        "no-token": {"url": url},
        "no-token-file": {"url": url, "bearer_token_file": "absent"},
        "refused": {"url": f"http://127.0.0.1:{closed.port}/metrics"},
        "no-such-host": {"url": "http://no..such..host:1/metrics"},
        "slow": {"url": f"http://127.0.0.1:{servers['slow'].port}/", "timeout_s": 10 * TIMEOUT_S},
    }


def configuration(folder: Path, targets: dict[str, dict[str, Any]]) -> Settings:
    """Settings whose relative paths lie in `folder`."""
    base: dict[str, Any] = {"job": "apiserver", "interval_s": INTERVAL_S, "timeout_s": TIMEOUT_S}
    listed = [base | {"instance": instance} | target for instance, target in targets.items()]
    for target in listed:
        named = {"bearer_token_file", "ca_file", "cert_file", "key_file"}
        for place in (target, target.get("tls", {})):
            place.update({name: str(folder / place[name]) for name in named & place.keys()})
    tree = {
        "data": str(folder / "data"),
        "telemetry": {"producers_port": 0},
        "producers": {
            "body_bytes_max": BODY_BYTES_MAX,
            "scrape_threads": 64,
            "interval_s_max": INTERVAL_S,  # slow servers are asked no less often
        },
        "clusters": [{"id": CLUSTER, "targets": listed}],
    }
    return load(flags=tree, environ={}).settings


def read(broker: EmbeddedBroker, world: World) -> None:
    world.records.clear()
    world.headers.clear()
    for message in read_all(broker.bootstrap, full_name(TopicName.SCRAPES, "planewatch")):
        frame = decode_scrape(message.value())
        assert frame.envelope.instance == (message.key() or b"").decode().split("/")[2]
        world.records.setdefault(frame.envelope.instance, []).append(frame)
        found = dict(message.headers() or ())
        world.headers.setdefault(frame.envelope.instance, []).append(found)
        world.partitions.add(message.partition() or 0)


@pytest.fixture(scope="module")
def broker() -> EmbeddedBroker:
    return EmbeddedBroker(KafkaSettings())


@pytest.fixture(scope="module")
def world(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All targets at once, scraped until each was attempted a few times."""
    folder = tmp_path_factory.mktemp("world")
    servers = {instance: Server(behaviour) for instance, (behaviour, _) in ANSWERS.items()}
    targets: dict[str, dict[str, Any]] = {
        instance: {"url": f"http://127.0.0.1:{server.port}/metrics"}
        for instance, server in servers.items()
    }
    targets |= tls_targets(folder, servers) | other_targets(folder, servers)
    world = World(configuration(folder, targets), servers)
    run.announce(
        world.settings, run.BROKER, bootstrap=broker.bootstrap, incarnation=broker.incarnation
    )
    stop = threading.Event()
    thread = threading.Thread(target=observe, args=(world.settings, stop))
    thread.start()
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s and thread.is_alive():
        time.sleep(1.0)
        read(broker, world)
        enough = [len(world.records.get(instance, ())) >= ATTEMPTS for instance in targets]
        if all(enough):
            break
    assert thread.is_alive(), "the producer ended by itself"
    stop.set()
    thread.join(DEADLINE_S)
    read(broker, world)
    yield world
    for server in servers.values():
        server.close()


EXPECTED = {instance: outcome for instance, (_, outcome) in ANSWERS.items()} | {
    "tls": Outcome.OK,
    "tls-by-name": Outcome.OK,
    "tls-client-certificate": Outcome.OK,
    "tls-unverified": Outcome.OK,
    "tls-unknown-ca": Outcome.TLS,
    "tls-other-name": Outcome.TLS,
    "tls-no-client-certificate": Outcome.TLS,
    "tls-no-ca-file": Outcome.TLS,
    "tls-to-plain": Outcome.TLS,
    "token": Outcome.OK,
    "no-token": Outcome.UNAUTHORIZED,
    "no-token-file": Outcome.UNAUTHORIZED,
    "refused": Outcome.REFUSED,
    "no-such-host": Outcome.DNS,
}


@pytest.mark.parametrize(("instance", "outcome"), EXPECTED.items(), ids=EXPECTED)
def test_an_attempt_has_the_outcome_of_what_its_target_did(
    world: World, instance: str, outcome: Outcome
) -> None:
    attempted = [one for one in world.outcomes(instance) if one is not Outcome.SKIPPED]
    assert {outcome} == set(attempted), world.records[instance][0].envelope.reason
    assert len(world.outcomes(instance)) >= ATTEMPTS


@pytest.mark.parametrize(("instance", "outcome"), EXPECTED.items(), ids=EXPECTED)
def test_a_failure_has_no_rows_and_a_reason(world: World, instance: str, outcome: Outcome) -> None:
    for frame in world.records[instance]:
        if frame.envelope.outcome in {Outcome.OK, Outcome.TOO_BIG}:
            assert 0 < frame.rows.num_rows == frame.envelope.rows
        else:
            assert (0, 0, 0) == (frame.rows.num_rows, frame.envelope.rows, frame.envelope.series)
            assert frame.envelope.reason


@pytest.mark.parametrize("instance", [*EXPECTED, "slow"])
def test_no_attempt_is_missing_and_ticks_are_as_planned(world: World, instance: str) -> None:
    envelopes = [frame.envelope for frame in world.records[instance]]
    planned = plan(Target(CLUSTER, "apiserver", instance, envelopes[0].path), 500)
    ticks = [one.tick_ms for one in envelopes]
    assert list(range(ticks[0], ticks[0] + 500 * len(ticks), 500)) == ticks
    assert {planned.offset_ms} == {tick % 500 for tick in ticks}
    assert list(range(1, len(ticks) + 1)) == [one.sequence for one in envelopes]
    assert 1 == len({one.generation for one in envelopes})
    assert len(ticks) == len({one.scrape_id for one in envelopes})
    assert all(one.tick_ms <= one.start_ms <= one.end_ms for one in envelopes)


@pytest.mark.parametrize("instance", ["never", "never-a-body", "drips", "drips-headers"])
def test_no_server_makes_a_request_outlive_its_deadline(world: World, instance: str) -> None:
    took = [
        (frame.envelope.end_ms - frame.envelope.start_ms) / 1000
        for frame in world.records[instance]
        if frame.envelope.outcome is Outcome.TIMEOUT
    ]
    assert took
    assert all(TIMEOUT_S - 0.1 <= one < TIMEOUT_S + 1.5 for one in took), took


def test_ticks_that_pass_during_a_slow_scrape_are_reported_after_it(world: World) -> None:
    outcomes = world.outcomes("slow")
    assert [Outcome.OK, Outcome.SKIPPED, Outcome.SKIPPED] == outcomes[:3]
    assert "still ran" in world.records["slow"][1].envelope.reason


def test_what_fits_of_a_big_body_is_kept(world: World) -> None:
    for instance in ("big", "big-gzip"):
        first = world.records[instance][0]
        assert BODY_BYTES_MAX == first.envelope.bytes
        values = first.rows["labels"].to_pylist()
        assert [f'{{"a":"{number}"}}' for number in range(len(values))] == values
        assert len(values) > 1_000


def test_the_same_is_said_in_protobuf(world: World) -> None:
    text = world.records["good"][0]
    told = [one for one in world.records["good-protobuf"] if one.envelope.outcome is Outcome.OK]
    assert len(told) >= ATTEMPTS
    for frame in told:
        assert text.rows.equals(frame.rows)
        assert (100, text.envelope.layout) == (frame.envelope.series, frame.envelope.layout)
        assert len(MESSAGES) == frame.envelope.bytes


def test_rows_are_those_of_the_body(world: World) -> None:
    for instance in ("good", "good-gzip", "good-chunked", "tls"):
        frame = world.records[instance][0]
        assert (100, 100, len(BODY)) == (
            frame.rows.num_rows,
            frame.envelope.series,
            frame.envelope.bytes,
        )
        assert {"x"} == set(frame.rows["metric"].to_pylist())


def test_headers_repeat_what_a_reader_chooses_by(world: World) -> None:
    for instance, headers in world.headers.items():
        for found, frame in zip(headers, world.records[instance], strict=True):
            assert found == {
                "layout": f"{frame.envelope.layout:016x}".encode(),
                "chunk": b"0/1",
                "tick-ms": str(frame.envelope.tick_ms).encode(),
                "outcome": frame.envelope.outcome.encode(),
            }


def test_records_are_on_the_partition_of_their_cluster(world: World) -> None:
    assert {partition_of(CLUSTER, 4)} == world.partitions


def test_a_target_that_answers_is_asked_on_one_connection(world: World) -> None:
    for instance in ("good", "good-gzip", "good-chunked", "tls", "status-403", "status-429"):
        assert len(world.servers[instance].requests) >= ATTEMPTS
        assert 1 == world.servers[instance].connections, instance


def test_a_request_says_who_asks_for_what(world: World) -> None:
    head, *lines = world.servers["good"].requests[0].decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert "GET /metrics HTTP/1.1" == head
    assert ACCEPT == headers["accept"]
    assert "gzip" == headers["accept-encoding"]
    assert headers["user-agent"].startswith("planewatch/")
    assert headers["user-agent"].endswith(" (scrape)")


def test_a_redirect_is_not_followed_and_nothing_is_asked_twice(world: World) -> None:
    for instance in ("redirect", "status-500", "status-429", "closes"):
        asked = [one for one in world.outcomes(instance) if one is not Outcome.SKIPPED]
        assert len(asked) == len(world.servers[instance].requests), instance
