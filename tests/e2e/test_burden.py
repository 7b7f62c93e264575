"""Producers never burden a cluster that is ill: one process, all ills at once, a minute long.

Each cluster has an API server that fails in its own way, to everybody: planned scrapes and probes,
the discovery and the watch all go to it.
"""

import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.broker import EmbeddedBroker
from producers.discovery import BYTES_MAX
from producers.listwatch import PAGE_BYTES_MAX
from schemas import run
from schemas.arrow import decode_scrape
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import KafkaSettings
from schemas.topics import TopicName, full_name
from tests.services.misbehaving import (
    Behaviour,
    Server,
    answering,
    cutting,
    dripping,
    response,
    silent,
)
from tests.services.records import read_all
from tests.services.stages import Stages

LASTS_S = 62.0
INTERVAL_S = 1.0
PROBE_S = 5.0
TIMEOUT_S = 3.0
UNPLANNED_MAX = 15  # of a cluster in a minute
BODY_BYTES_MAX = 20_000_000
FLOOD_BYTES = 1_000_000_000
LINES = b"".join(b'x{number="%d"} 1\n' % number for number in range(4_000))
SERIES_MAX = 100_000
MEMORY_BYTES_MAX = 3 * (2 * BODY_BYTES_MAX + 500 * SERIES_MAX + PAGE_BYTES_MAX + BYTES_MAX)
"""Beyond what the process has when it is ready. Each arena may keep the most it ever held, of two:
a body in pieces and as one, its series while they are read, a page of a LIST, EndpointSlices. The
third part is for what lies between, and for libraries that are loaded late."""

AGENT = re.compile(rb"\(([a-z]+)\)\r\n")


def flooding(connection: socket.socket, request: bytes) -> None:
    """Send a gigabyte."""
    del request
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {FLOOD_BYTES}\r\n\r\n"
    connection.sendall(head.encode())
    for _ in range(FLOOD_BYTES // len(LINES)):
        connection.sendall(LINES)


ILLS: dict[str, Behaviour] = {
    "throttles": answering(response("429 Too Many Requests", b"later", "Retry-After: 1")),
    "throttles-bare": answering(response("429 Too Many Requests", b"later")),
    "unavailable": answering(response("503 Service Unavailable", b"no")),
    "broken": answering(response("500 Internal Server Error", b"no")),
    "hangs": silent,
    "drips": dripping(b"x", after=response("200 OK", b"", length=1_000), pause_s=1.0),
    "closes": cutting(b""),
    "floods": flooding,
    "garbage": answering(response("200 OK", b"<html>no</html>")),
}
OUTCOMES = {
    "throttles": Outcome.THROTTLED,
    "throttles-bare": Outcome.THROTTLED,
    "unavailable": Outcome.HTTP_ERROR,
    "broken": Outcome.HTTP_ERROR,
    "hangs": Outcome.TIMEOUT,
    "drips": Outcome.TIMEOUT,
    "closes": Outcome.TRUNCATED,
    "floods": Outcome.TOO_BIG,
    "garbage": Outcome.MALFORMED,
}


class Witness:
    """Notes who asked when, and behaves as told."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._lock = threading.Lock()
        self.asked_s: dict[str, list[float]] = defaultdict(list)  # by component
        self.server = Server(self._behave)

    def _behave(self, connection: socket.socket, request: bytes) -> None:
        found = AGENT.search(request)
        with self._lock:
            self.asked_s[found[1].decode() if found else "other"].append(time.monotonic())
        self._behaviour(connection, request)

    @property
    def unplanned_s(self) -> list[float]:
        """When there were requests that no tick planned."""
        return sorted(
            at_s
            for component, all_s in self.asked_s.items()
            if component not in {"scrape", "probe"}
            for at_s in all_s
        )


@pytest.fixture
def witnesses() -> Iterator[dict[str, Witness]]:
    witnesses = {ill: Witness(behaviour) for ill, behaviour in ILLS.items()}
    yield witnesses
    for one in witnesses.values():
        one.server.close()


def cluster(folder: Path, ill: str, port: int) -> dict[str, Any]:
    kubeconfig = folder / f"{ill}.kubeconfig"
    kubeconfig.write_text(
        f"{{clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], "
        "current-context: x, users: [{name: u, user: {token: t}}], "
        "contexts: [{name: x, context: {cluster: c, user: u}}]}"
    )
    base = {"job": "apiserver", "instance": "i", "timeout_s": TIMEOUT_S}
    url = f"http://127.0.0.1:{port}"
    return {
        "id": ill,
        "kubeconfig": str(kubeconfig),
        "discovery": {},
        "targets": [
            base | {"url": f"{url}/metrics", "interval_s": INTERVAL_S},
            base | {"url": f"{url}/readyz", "interval_s": PROBE_S, "probe": "readyz"},
        ],
    }


def memory_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def test_whatever_ails_a_cluster_it_is_asked_as_planned_and_rarely_beside(
    tmp_path: Path, witnesses: dict[str, Witness]
) -> None:
    broker = EmbeddedBroker(KafkaSettings())
    clusters = [cluster(tmp_path, ill, one.server.port) for ill, one in witnesses.items()]
    limits = {
        "body_bytes_max": BODY_BYTES_MAX,
        "series_max": SERIES_MAX,
        "interval_s_max": INTERVAL_S,  # or there would be less to count
    }
    stages = Stages(tmp_path / "data", {"clusters": clusters, "producers": limits})
    run.announce(
        stages.settings, run.BROKER, bootstrap=broker.bootstrap, incarnation=broker.incarnation
    )
    try:
        pid = stages.start("producers").pid
        ready_bytes = memory_bytes(pid)
        time.sleep(LASTS_S)
        grown_bytes = memory_bytes(pid) - ready_bytes
        assert 0 == stages.stop("producers"), stages.tail("producers")
        print(f"memory grown by {grown_bytes / 1e6:.0f} MB")
    finally:
        stages.close()

    found = recorded(broker)
    for ill, witness in witnesses.items():
        check_requests(ill, witness)
        check_records(ill, found[ill], witness)
    assert grown_bytes < MEMORY_BYTES_MAX


def recorded(broker: EmbeddedBroker) -> dict[str, dict[str, list[ScrapeEnvelope]]]:
    """All records, by cluster and path; of planewatch's own series none."""
    found: dict[str, dict[str, list[ScrapeEnvelope]]] = defaultdict(lambda: defaultdict(list))
    for record in read_all(broker.bootstrap, full_name(TopicName.SCRAPES, "planewatch")):
        envelope = decode_scrape(record.value()).envelope
        if envelope.job != "planewatch":
            found[envelope.cluster][envelope.path].append(envelope)
    return found


def check_requests(ill: str, witness: Witness) -> None:
    """Planned ones as planned, no more; all others few in any minute."""
    planned = {"scrape": LASTS_S / INTERVAL_S, "probe": LASTS_S / PROBE_S}
    for component, ticks in planned.items():
        assert 1 <= len(witness.asked_s[component]) <= ticks + 4, (ill, component)  # the way down
    unplanned_s = witness.unplanned_s
    assert unplanned_s, f"{ill}: neither discovery nor watch have asked"
    in_a_minute = max(
        sum(begin_s <= at_s < begin_s + 60 for at_s in unplanned_s) for begin_s in unplanned_s
    )
    assert in_a_minute <= UNPLANNED_MAX, (ill, in_a_minute)


def check_records(ill: str, found: dict[str, list[ScrapeEnvelope]], witness: Witness) -> None:
    """Every attempt is a record, and each request is one of them."""
    assert {"/metrics", "/readyz"} == found.keys()
    by_component: dict[str, Callable[[ScrapeEnvelope], bool]] = {
        "scrape": lambda one: one.path == "/metrics",
        "probe": lambda one: one.path == "/readyz",
    }
    for envelopes in found.values():
        sequences = sorted({one.sequence for one in envelopes})
        assert list(range(1, sequences[-1] + 1)) == sequences, ill
    for component, ours in by_component.items():
        asked = {
            one.sequence
            for envelopes in found.values()
            for one in envelopes
            if ours(one) and one.outcome is not Outcome.SKIPPED
        }
        assert len(witness.asked_s[component]) - 1 <= len(asked)  # the last one was cut off
    outcomes = {one.outcome for one in found["/metrics"]} - {Outcome.SKIPPED}
    late = {Outcome.TIMEOUT} if ill == "floods" else set()  # where this machine is busy
    assert {OUTCOMES[ill]} == outcomes - late, ill
    assert {Outcome.OK} == {one.outcome for one in found["/readyz"]} - {Outcome.SKIPPED}
