"""The rehearsal as a process: its servers, clock, files and its end."""

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from producers.rehearsal.api import LEASES_PATH
from schemas import run
from schemas.clock import Clock, wall_ms
from schemas.settings import ClusterSettings, Settings
from tests.services import process
from tests.services.stages import clean_environment

WAIT_S = 20.0


class Rehearsal:
    """One rehearsal in a data folder."""

    def __init__(self, data: Path, scenario: str) -> None:
        self.settings = Settings(data=data)
        command = [sys.executable, "-P", "-m", "producers", "rehearse"]
        self.running = process.start(
            [*command, "--scenario", scenario, "--data", str(data)],
            log=data.with_suffix(".txt"),
            env=clean_environment(),
        )
        self.facts = self._wait()
        self.cluster = ClusterSettings.model_validate(self.facts["clusters"][0])

    def _wait(self) -> dict[str, Any]:
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end and self.running.poll() is None:
            found = run.find(self.settings, run.REHEARSAL)
            if found and found["pid"] == self.running.pid:
                return found
            time.sleep(0.05)
        raise AssertionError(self.settings.data.with_suffix(".txt").read_text())

    def url(self, number: int) -> str:
        return self.cluster.targets[number].url.removesuffix("/metrics")

    def get(self, number: int, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request(
            "GET", self.url(number) + path, headers=headers, decode_content=False, timeout=WAIT_S
        )

    def stop(self) -> int:
        return process.stop(self.running)


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Rehearsal]:
    rehearsal = Rehearsal(tmp_path / "data", "list-storm")
    yield rehearsal
    rehearsal.stop()


def test_it_announces_a_cluster_that_stages_can_be_configured_with(storm: Rehearsal) -> None:
    assert [("apiserver", "apiserver-1"), ("apiserver", "apiserver-2"), ("etcd", "etcd-1")] == [
        (one.job, one.instance) for one in storm.cluster.targets
    ]
    assert {5.0} == {one.interval_s for one in storm.cluster.targets}
    assert "rehearsal" == storm.cluster.id
    assert storm.cluster.kubeconfig and storm.cluster.kubeconfig.is_file()
    assert storm.cluster.logs[0].path.is_file()


def test_metrics_come_as_text_and_compressed_on_demand(storm: Rehearsal) -> None:
    for number in range(3):
        plain = storm.get(number, "/metrics")
        packed = storm.get(number, "/metrics", **{"Accept-Encoding": "gzip"})

        assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "gzip" == packed.headers["Content-Encoding"]
        assert gzip.decompress(packed.data).startswith(b"# HELP ")
        assert plain.data.startswith(b"# HELP ")


def test_its_story_began_in_the_past_and_runs_fast(storm: Rehearsal) -> None:
    clock = Clock(Path(storm.facts["clock_file"]))

    assert 4.0 == clock.speed
    assert storm.facts["story_from_ms"] <= clock.now_ms() < storm.facts["story_until_ms"]
    ends_at_wall_ms = wall_ms() + (storm.facts["story_until_ms"] - clock.now_ms()) / clock.speed
    assert storm.facts["story_until_ms"] == pytest.approx(ends_at_wall_ms, abs=500)


def test_calm_has_no_clock_of_its_own(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path / "data", "calm")

    assert rehearsal.facts["clock_file"] is None
    assert 0 == rehearsal.stop()


def test_leases_are_listed_and_watched(storm: Rehearsal) -> None:
    listed = json.loads(storm.get(0, LEASES_PATH).data)
    version = listed["metadata"]["resourceVersion"]
    watch = f"{LEASES_PATH}?watch=true&resourceVersion={version}&timeoutSeconds=12"
    events = [json.loads(line) for line in storm.get(0, watch).data.splitlines()]

    assert {"kube-scheduler", "kube-controller-manager"} < {
        one["metadata"]["name"] for one in listed["items"]
    }
    assert len(events) >= 10, "12 s of event time: 12 renewals by leaders, 2 by API servers"
    versions = [int(one["object"]["metadata"]["resourceVersion"]) for one in events]
    assert [*sorted(set(versions))] == versions
    assert int(version) < versions[0]


def test_a_watch_from_an_old_version_is_one_error_event(storm: Rehearsal) -> None:
    answer = storm.get(0, f"{LEASES_PATH}?watch=true&resourceVersion=5")

    assert 200 == answer.status
    (event,) = answer.data.splitlines()
    assert ("ERROR", 410) == (
        json.loads(event)["type"],
        json.loads(event)["object"]["code"],
    )
    assert 400 == storm.get(0, f"{LEASES_PATH}?watch=true").status


def test_health_is_answered(storm: Rehearsal) -> None:
    assert {200} == {storm.get(number, path).status for number in (0, 1)
                     for path in ("/livez", "/readyz", "/version")}  # fmt: skip
    assert 200 == storm.get(2, "/health").status


def test_it_ends_at_once_though_a_watch_is_open(storm: Rehearsal) -> None:
    version = json.loads(storm.get(0, LEASES_PATH).data)["metadata"]["resourceVersion"]
    watch = urllib3.request(
        "GET",
        f"{storm.url(0)}{LEASES_PATH}?watch=true&resourceVersion={version}",
        preload_content=False,
        timeout=WAIT_S,
    )
    began_s = time.monotonic()
    storm.running.send_signal(signal.SIGTERM)

    assert 0 == storm.running.wait(WAIT_S)
    assert time.monotonic() - began_s < 5
    assert run.find(storm.settings, run.REHEARSAL) is None
    watch.close()


def test_event_time_does_not_go_back_when_it_is_started_again(tmp_path: Path) -> None:
    first = Rehearsal(tmp_path / "data", "list-storm")
    time.sleep(1)
    first.stop()
    until_ms = int((tmp_path / "data" / "rehearsal" / "until-ms").read_text())
    second = Rehearsal(tmp_path / "data", "list-storm")
    second.stop()

    assert until_ms > first.facts["story_from_ms"]
    assert until_ms < second.facts["story_from_ms"]


def test_wrong_usage_ends_with_two(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "producers", "rehearse", "--scenario", "tsunami"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
    )

    assert 2 == ended.returncode
    assert b"list-storm" in ended.stderr
