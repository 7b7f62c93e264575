"""Processes share clusters: one owner each, and another goes on where it dies or leaves."""

import re
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas import run
from schemas.arrow import decode_scrape
from schemas.records import Outcome, ScrapeEnvelope
from schemas.topics import TopicName, full_name
from tests.services.kafka import KafkaBroker
from tests.services.misbehaving import Server, answering, response
from tests.services.records import read_all
from tests.services.stages import Stages

CLUSTERS = [f"c{number}" for number in range(6)]
FOUND = "found"  # by an API server that is away ever since
INTERVAL_S = 10.0  # of which a session of the group, 10 s, and what follows take less than 3
WAIT_S = 60.0
CLUSTERS_SHOWN = re.compile(r"^planewatch_observed_clusters\{[^}]*\} (\d+)", re.MULTILINE)
KUBECONFIG = (
    "{clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], current-context: x, "
    "users: [{name: u, user: {token: t}}], "
    "contexts: [{name: x, context: {cluster: c, user: u}}]}"
)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(answering(response("200 OK", b"x 1\n")))
    yield server
    server.close()


@pytest.fixture
def start(
    kafka_broker: KafkaBroker, tmp_path: Path, server: Server
) -> Iterator[Callable[[str], Stages]]:
    """Start producers of this name, each in a data folder of its own."""
    started: list[Stages] = []

    def start(name: str) -> Stages:
        stages = Stages(tmp_path / name, tree(kafka_broker, tmp_path, server))
        started.append(stages)
        stages.start("producers")
        return stages

    yield start
    for stages in started:
        stages.close()


def tree(kafka_broker: KafkaBroker, folder: Path, server: Server) -> dict[str, Any]:
    (folder / "kubeconfig").write_text(KUBECONFIG)
    url = f"http://127.0.0.1:{server.port}/metrics"
    target = {"job": "etcd", "instance": "i", "url": url, "interval_s": INTERVAL_S}
    found = {
        "id": FOUND,
        "kubeconfig": str(folder / "kubeconfig"),
        "discovery": {"interval_s": INTERVAL_S},
    }
    return {
        "kafka": {"bootstrap": kafka_broker.bootstrap, "partitions": 4, "replication": 1},
        "producers": {"shared": True},
        "clusters": [{"id": one, "targets": [target]} for one in CLUSTERS] + [found],
    }


def known_to(folder: Path, server: Server) -> None:
    """Let an earlier run have discovered one target of the cluster FOUND."""
    file = folder / "producers" / "discovery" / f"{FOUND}.json"
    file.parent.mkdir(parents=True)
    file.write_text(
        f'{{"instances": [{{"job": "coredns", "address": "127.0.0.1", "port": {server.port}}}]}}'
    )


def observed(stages: Stages) -> int:
    """How many clusters a process says that it observes."""
    facts = run.find(stages.settings, run.PRODUCERS)
    assert facts, stages.tail("producers")
    with urllib.request.urlopen(facts["telemetry_url"], timeout=10) as answer:
        found = CLUSTERS_SHOWN.search(answer.read().decode())
    return int(found[1]) if found else 0


def until(true: Callable[[], bool], *stages: Stages) -> None:
    end_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end_s, [one.tail("producers") for one in stages]
        time.sleep(0.2)


def scrapes(broker: KafkaBroker, stages: Stages) -> dict[str, list[ScrapeEnvelope]]:
    """All records of the targets, by cluster and by time; our own series are left out."""
    topic = full_name(TopicName.SCRAPES, stages.settings.kafka.prefix)
    found: dict[str, list[ScrapeEnvelope]] = defaultdict(list)
    for record in read_all(broker.bootstrap, topic):
        envelope = decode_scrape(record.value()).envelope
        if envelope.job != "planewatch":
            found[envelope.cluster].append(envelope)
    return {cluster: sorted(all_, key=lambda one: one.start_ms) for cluster, all_ in found.items()}


def test_clusters_change_hands_without_a_gap_and_without_two_owners(
    kafka_broker: KafkaBroker, start: Callable[[str], Stages], tmp_path: Path, server: Server
) -> None:
    everything = len(CLUSTERS) + 1
    known_to(tmp_path / "first", server)
    first = start("first")
    until(lambda: observed(first) == everything, first)
    until(lambda: len(scrapes(kafka_broker, first)) == everything, first)

    second = start("second")
    until(lambda: 0 < observed(first) == everything - observed(second) < everything, first, second)
    first.kill("producers")
    killed_ms = time.time() * 1000
    until(lambda: observed(second) == everything, second)
    until(
        lambda: all(
            sum(one.start_ms > killed_ms for one in found) >= 2
            for found in scrapes(kafka_broker, second).values()
        ),
        second,
    )

    assert 0 == second.stop("producers"), second.tail("producers")
    stopped = {cluster: found[-1] for cluster, found in scrapes(kafka_broker, second).items()}
    third = start("third")
    until(
        lambda: all(
            found[-1].sequence > stopped[cluster].sequence
            for cluster, found in scrapes(kafka_broker, third).items()
        ),
        third,
    )
    assert 0 == third.stop("producers"), third.tail("producers")

    records = scrapes(kafka_broker, third)
    assert {*CLUSTERS, FOUND} == records.keys()
    for found in records.values():
        check(found, killed_ms)


def check(found: list[ScrapeEnvelope], killed_ms: float) -> None:
    """Nobody was asked twice at a time, or not for long, and no number was used twice."""
    assert not [one for one in found if one.outcome is Outcome.REMOVED]
    sequences = [one.sequence for one in found]
    assert sorted(set(sequences)) == sequences
    ticks = [one.tick_ms for one in found]
    assert sorted(set(ticks)) == ticks
    for one, following in pairwise(found):
        assert following.start_ms - one.start_ms <= 3 * INTERVAL_S * 1000
        missing = following.sequence - one.sequence - 1
        if one.generation == following.generation:
            assert 0 == missing
        elif one.start_ms <= killed_ms < following.start_ms and missing:
            assert following.sequence > killed_ms
        else:
            assert missing <= 1, "a number for a tick that was under way"
