"""The process of the producers starts, stops, is killed and starts again as operators expect."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.broker import EmbeddedBroker
from schemas import run
from schemas.arrow import decode_scrape
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import KafkaSettings
from schemas.topics import TopicName, full_name
from tests.fixtures import REPOSITORY
from tests.services.misbehaving import Server, answering, response, silent
from tests.services.records import read_all
from tests.services.stages import Stages, clean_environment

WAIT_S = 20.0
STOP_S_MAX = 5.0
INTERVAL_S = 0.3
OK = response("200 OK", b"x 1\n")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(answering(OK))
    yield server
    server.close()


@pytest.fixture
def broker() -> EmbeddedBroker:
    return EmbeddedBroker(KafkaSettings())


@pytest.fixture
def start(tmp_path: Path, broker: EmbeddedBroker) -> Iterator[Callable[..., Stages]]:
    """Start producers with these targets on the one data folder of the test."""
    started: list[Stages] = []

    def start(*targets: dict[str, Any]) -> Stages:
        listed = [{"job": "etcd", "interval_s": INTERVAL_S} | target for target in targets]
        stages = Stages(tmp_path / "data", {"clusters": [{"id": "c1", "targets": listed}]})
        run.announce(
            stages.settings, run.BROKER, bootstrap=broker.bootstrap, incarnation=broker.incarnation
        )
        started.append(stages)
        stages.start("producers")
        return stages

    yield start
    for stages in started:
        stages.close()


def target(instance: str, server: Server, **more: object) -> dict[str, Any]:
    return {"instance": instance, "url": f"http://127.0.0.1:{server.port}/metrics", **more}


def envelopes(broker: EmbeddedBroker, instance: str) -> list[ScrapeEnvelope]:
    records = read_all(broker.bootstrap, full_name(TopicName.SCRAPES, "planewatch"))
    found = [decode_scrape(record.value()).envelope for record in records]
    return [one for one in found if one.instance == instance]


def wait_for(count: int, server: Server) -> None:
    """Wait until the server was asked so often."""
    end_s = time.monotonic() + WAIT_S
    while len(server.requests) < count:
        assert time.monotonic() < end_s, f"{len(server.requests)} of {count} requests came"
        time.sleep(0.02)


def test_a_stop_is_clean_and_short_though_a_scrape_hangs(
    start: Callable[..., Stages], broker: EmbeddedBroker, server: Server
) -> None:
    hanging = Server(silent)
    stages = start(target("good", server), target("hangs", hanging, timeout_s=60))
    wait_for(3, server)
    wait_for(1, hanging)
    began_s = time.monotonic()
    assert 0 == stages.stop("producers"), stages.tail("producers")
    assert time.monotonic() - began_s < STOP_S_MAX
    assert run.find(stages.settings, run.PRODUCERS) is None
    hung = envelopes(broker, "hangs")
    assert (Outcome.SKIPPED, "the producer stopped") == (hung[0].outcome, hung[0].reason)
    assert len(server.requests) <= len(envelopes(broker, "good"))
    hanging.close()


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_sequences_go_on_after_the_process_ended(
    start: Callable[..., Stages], broker: EmbeddedBroker, server: Server, end: str
) -> None:
    stages = start(target("good", server))
    wait_for(3, server)
    if end == "killed":
        stages.kill("producers")
    else:
        stages.stop("producers")
    before = envelopes(broker, "good")
    stages = start(target("good", server))
    wait_for(len(server.requests) + 2, server)
    stages.stop("producers")
    after = envelopes(broker, "good")[len(before) :]
    lost = after[0].sequence - before[-1].sequence - 1
    assert lost <= (1 if end == "killed" else 0)  # the attempt that the kill interrupted
    assert [one.sequence for one in after] == list(
        range(after[0].sequence, after[0].sequence + len(after))
    )
    assert {one.generation for one in before}.isdisjoint({one.generation for one in after})


def test_a_target_that_left_the_configuration_is_reported_once(
    start: Callable[..., Stages], broker: EmbeddedBroker, server: Server
) -> None:
    both = (target("good", server), target("gone", server, labels={"zone": "a"}))
    start(*both).stop("producers")
    first = start(*both)
    wait_for(8, server)
    first.stop("producers")
    for _ in range(2):
        stages = start(both[0])
        wait_for(len(server.requests) + 1, server)
        stages.stop("producers")
    gone = envelopes(broker, "gone")
    assert 1 == sum(one.outcome is Outcome.REMOVED for one in gone)
    assert (Outcome.REMOVED, {"zone": "a"}) == (gone[-1].outcome, gone[-1].target_labels)
    assert gone[-1].sequence == gone[-2].sequence + 1
    assert gone[-1].tick_ms > gone[-2].tick_ms


def test_our_own_metrics_are_served(start: Callable[..., Stages], server: Server) -> None:
    stages = start(target("good", server))
    wait_for(2, server)
    url = stages.wait_until_ready("producers")["telemetry_url"]
    served = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read())",
            url,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (
        'planewatch_scrapes_total{cluster="c1",job="etcd",outcome="ok",stage="producers"}' in served
    )


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ("{}", "nothing to observe"),
        (
            "{clusters: [{id: c1, targets: [{job: etcd, instance: i, url: x}]}]}",
            "clusters.0.targets.0.url",
        ),
        ("{clusters: [{id: c1, logs: [{job: etcd, instance: i, path: x}]}]}", "kafka.bootstrap"),
        ("{clock: {file: x}, clusters: [{id: c1, kubeconfig: k}]}", "clock.file"),
    ],
    ids=["no target", "a wrong target", "no broker", "no clock"],
)
def test_a_configuration_that_cannot_work_is_told_and_exits_2(
    tree: str, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "planewatch.yaml"
    file.write_text(tree)
    command = [sys.executable, "-P", "-m", "producers", "run", "--config", str(file)]
    done = subprocess.run(
        [*command, "--data", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment() | {"PLANEWATCH_TELEMETRY__PRODUCERS_PORT": "0"},
        cwd=REPOSITORY,
    )
    assert 2 == done.returncode, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_stage_ends_when_one_of_its_threads_has_ended(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    """What ends the thread is a position on disk that nobody of us has written."""
    log = tmp_path / "etcd.log"
    log.write_text("one\n")
    followed = [{"job": "etcd", "instance": "i", "path": str(log)}]
    stages = Stages(tmp_path / "data", {"clusters": [{"id": "c1", "logs": followed}]})
    run.announce(
        stages.settings, run.BROKER, bootstrap=broker.bootstrap, incarnation=broker.incarnation
    )
    stages.start("producers")
    positions = stages.data / "producers" / "logs"
    end_s = time.monotonic() + WAIT_S
    while not list(positions.glob("*.json")):
        assert time.monotonic() < end_s, stages.tail("producers")
        time.sleep(0.05)
    stages.stop("producers")
    (file,) = positions.glob("*.json")
    file.write_text(file.read_text().replace(str(tmp_path), "\\u0000"))
    log.unlink()

    ended = stages.start("producers", wait=False).wait(WAIT_S)

    assert 1 == ended
    assert "the thread logs-c1-i has ended of ValueError" in stages.tail("producers")
    assert run.find(stages.settings, run.PRODUCERS) is None


def test_what_was_discovered_is_scraped_though_the_api_server_is_away(
    tmp_path: Path, broker: EmbeddedBroker, server: Server
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], current-context: x, "
        "users: [{name: u, user: {token: t}}], "
        "contexts: [{name: x, context: {cluster: c, user: u}}]}"
    )
    cluster = {"id": "c1", "kubeconfig": str(kubeconfig), "discovery": {"interval_s": INTERVAL_S}}
    stages = Stages(tmp_path / "data", {"clusters": [cluster]})
    run.announce(
        stages.settings, run.BROKER, bootstrap=broker.bootstrap, incarnation=broker.incarnation
    )
    known = stages.data / "producers" / "discovery" / "c1.json"
    known.parent.mkdir(parents=True)
    known.write_text(
        f'{{"instances": [{{"job": "coredns", "address": "127.0.0.1", "port": {server.port}}}]}}'
    )
    stages.start("producers")
    wait_for(3, server)
    began_s = time.monotonic()
    assert 0 == stages.stop("producers"), stages.tail("producers")
    assert time.monotonic() - began_s < STOP_S_MAX
    found = envelopes(broker, f"127.0.0.1:{server.port}")
    assert {"coredns"} == {one.job for one in found}
    assert 3 <= sum(one.outcome is Outcome.OK for one in found)
    assert Outcome.REMOVED not in {one.outcome for one in found}
    assert "discovery cluster=c1 ended=failed" in stages.tail("producers")


def test_a_stop_is_clean_while_the_broker_is_away(tmp_path: Path, server: Server) -> None:
    listed = [{"job": "etcd"} | target("i", server)]
    tree = {
        "kafka": {"bootstrap": "127.0.0.1:1"},
        "clusters": [{"id": "c1", "targets": listed}],
    }
    stages = Stages(tmp_path, tree)
    stages.start("producers", wait=False)
    end_s = time.monotonic() + WAIT_S
    while "127.0.0.1:1" not in stages.tail("producers"):  # it tries, and says so
        assert time.monotonic() < end_s, stages.tail("producers")
        time.sleep(0.05)
    began_s = time.monotonic()
    assert 0 == stages.stop("producers"), stages.tail("producers")
    assert time.monotonic() - began_s < STOP_S_MAX
