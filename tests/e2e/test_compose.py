"""The stages start with exactly the commands and environment of docker-compose.yml.

No container engine runs here, so host names and the paths inside containers are rewritten, and
ports, of which every container has its own, are any free ones. What the file says is what starts.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas import run
from schemas.clock import Clock
from schemas.settings import Settings
from tests.services import process
from tests.services.clickhouse import ClickHouse
from tests.services.replay import Answer, Replay, Step
from tests.services.stages import clean_environment

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
STAGES = ("producers", "sinks", "streams")
TOKEN = "token-of-the-test"
PATIENCE_S = 60.0
PORTS = {
    "PLANEWATCH_CONSOLE__PORT": "0",
    "PLANEWATCH_TELEMETRY__PRODUCERS_PORT": "0",
    "PLANEWATCH_TELEMETRY__SINKS_PORT": "0",
    "PLANEWATCH_TELEMETRY__STREAMS_PORT": "0",
}
BODY = b'# TYPE process_open_fds gauge\nprocess_open_fds{zone="a"} 7\n'


@pytest.fixture
def target() -> Iterator[Replay]:
    """One process to watch."""
    replay = Replay({"cp-1": [Step(Answer.BODY, BODY)]}, Clock(), origin_ms=0, step_ms=1)
    yield replay
    replay.close()


def test_the_compose_file_names_what_the_stages_need() -> None:
    assert {"kafka", "clickhouse", *STAGES} == set(COMPOSE["services"])
    published = [port for one in COMPOSE["services"].values() for port in one.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_stages_start_as_the_compose_file_says(
    kafka_bootstrap: str, target: Replay, tmp_path: Path
) -> None:
    with ClickHouse() as clickhouse:
        inside = {
            "kafka:9092": kafka_bootstrap,
            "http://clickhouse:8123": clickhouse.url.rstrip("/"),
            "/etc/planewatch/planewatch.yaml": str(_configuration(tmp_path, target)),
            "/run/secrets/console.token": str(_token(tmp_path)),
            "0.0.0.0": "127.0.0.1",
        }
        running = {stage: _start(stage, tmp_path, inside) for stage in STAGES}
        try:
            _wait_for_rows(running, tmp_path)
        finally:
            for one in running.values():
                process.stop(one)


def _start(stage: str, folder: Path, inside: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start one service: its command and environment, with the names inside rewritten."""
    service = COMPOSE["services"][stage]
    rewrite = inside | {"/var/lib/planewatch": str(folder / stage)}
    command = [_rewritten(word, rewrite) for word in service["command"]]
    environment = {
        name: _rewritten(value, rewrite) for name, value in service["environment"].items()
    }
    return process.start(
        [str(Path(sys.executable).with_name("planewatch")), *command],
        log=folder / f"{stage}.log",
        env=clean_environment() | environment | PORTS,
        cwd=folder,
    )


def _rewritten(text: str, names: dict[str, str]) -> str:
    for name, here in names.items():
        text = text.replace(name, here)
    return text


def _configuration(folder: Path, target: Replay) -> Path:
    """The configuration that the compose file mounts, with a cluster that is here."""
    tree: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/planewatch.yaml").read_text())
    url = f"http://127.0.0.1:{target.ports['cp-1']}/metrics"
    (cluster,) = tree["clusters"]
    cluster["targets"] = [{"job": "etcd", "instance": "cp-1", "url": url, "interval_s": 1}]
    file = folder / "planewatch.yaml"
    file.write_text(json.dumps(tree))
    return file


def _token(folder: Path) -> Path:
    file = folder / "console.token"
    file.write_text(f"{TOKEN}\n")
    return file


def _wait_for_rows(running: dict[str, subprocess.Popen[bytes]], folder: Path) -> None:
    """The console, which asks for its token, knows the cluster: all three stages work."""
    sinks = Settings(data=folder / "sinks")
    end = time.monotonic() + PATIENCE_S
    answer = ""
    while "my-cluster" not in answer:
        logs = {stage: (folder / f"{stage}.log").read_text()[-1_500:] for stage in running}
        assert all(one.poll() is None for one in running.values()), logs
        assert time.monotonic() < end, (answer, logs)
        time.sleep(0.2)
        if found := run.find(sinks, run.SINKS):
            answer = _ask(f"{found['console_url']}api/clusters")


def _ask(url: str) -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=5) as reply:
        return str(reply.read().decode())
