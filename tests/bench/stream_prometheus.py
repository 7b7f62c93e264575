"""Take in the scrapes of a cluster and evaluate all shipped rules, beside Prometheus itself.

In: 3 API servers of 23 k samples, then of 100 k, and 3 etcd, scraped every 15 s. Prometheus
(Debian) scrapes them over HTTP on loopback with our rule files; the stage gets records of the same
scrapes, one cycle each time Prometheus has had one. Out: CPU ms a cycle of both, as medians over
minutes of a steady period. Rule: Prometheus' CPU is that of its process (/proc/PID/stat), after
windows of 5 min have filled; longer ones would cost it more still. What our producers need for the
same scrapes is printed, too: the goal is about the stage. The smaller ratio of both sizes counts.

Minutes to warm up and to measure may be given: `stream_prometheus.py 1 1`.
"""

import gzip
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from producers.core.attempts import kubernetes_version, process_start_ms
from producers.core.chunks import encode_chunks
from producers.core.exposition import parse
from producers.core.keys import Keys
from tests.bench import _exposed, _report
from tests.bench._servers import KEYS_MAX, Cluster, exposition
from tests.bench._stage import Stage, described
from tests.scrapes import rule_folder
from tests.services import process, prometheus

NAME = "stream_prometheus"
SERVERS, MEMBERS = 3, 3
INTERVAL_S = 15
SIZES = (0, 100_000)
"""Samples of an API server at least; 0: as many as were captured, 23 k."""
SEED = 3
WARM_MIN, MEASURED_MIN = 6, 5
CYCLES_A_MINUTE = 60 // INTERVAL_S
PORT_S_MAX = 60.0
GOAL = 50.0


@dataclass(slots=True)
class Minute:
    """CPU seconds of one minute."""

    prometheus_s: float = 0.0
    stage_s: float = 0.0
    producers_s: float = 0.0


def main() -> None:
    """Print both, and how many times more Prometheus needs."""
    warm_min, measured_min = map(int, sys.argv[1:3] or (WARM_MIN, MEASURED_MIN))
    _report.head(NAME, prometheus.version())
    ratio = min(_compare(samples_min, warm_min, measured_min) for samples_min in SIZES)
    _report.result(NAME, ratio, GOAL, "higher")


def _compare(samples_min: int, warm_min: int, measured_min: int) -> float:
    cluster = _exposed.cluster(*_numbers(samples_min))
    with (
        tempfile.TemporaryDirectory(prefix="planewatch-bench-") as folder,
        _targets(Path(folder), samples_min) as port,
        prometheus.Prometheus(_config(cluster, port)) as server,
    ):
        server.start()
        ours = _Ours(cluster)
        minutes = [_minute(server, ours) for _ in range(warm_min + measured_min)]
        _check(server)
    return _show(minutes[warm_min:], ours, warm_min)


def _numbers(samples_min: int) -> tuple[int, int, int, int, int]:
    return SERVERS, MEMBERS, samples_min, INTERVAL_S * 1000, SEED


class _Ours:
    """The stage, and beside it what producers do with a body."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.stage = cluster, Stage()
        self._keys = Keys(KEYS_MAX)

    def cycle(self, minute: Minute) -> None:
        """Take one cycle of scrapes, and add its CPU time to the minute."""
        for one, envelope, records in self.cluster.cycle():
            began_s = time.process_time()
            for value in records:
                self.stage.take(value, envelope.tick_ms)
            minute.stage_s += time.process_time() - began_s
            body = gzip.compress(exposition(one), _exposed.GZIP_LEVEL)
            began_s = time.process_time()
            found = parse(gzip.decompress(body), self._keys, samples_max=KEYS_MAX)
            process_start_ms(found.columns, None), kubernetes_version(found.columns.layout)
            encode_chunks(envelope, found.columns)
            minute.producers_s += time.process_time() - began_s


def _minute(server: prometheus.Prometheus, ours: _Ours) -> Minute:
    minute, before_s = Minute(), _report.cpu_s(server.pid)
    end_s = time.monotonic()
    for _ in range(CYCLES_A_MINUTE):
        end_s += INTERVAL_S
        ours.cycle(minute)
        time.sleep(max(0.0, end_s - time.monotonic()))
    minute.prometheus_s = _report.cpu_s(server.pid) - before_s
    return minute


@contextmanager
def _targets(folder: Path, samples_min: int) -> Iterator[int]:
    """Run the processes that are scraped; yields their port."""
    port_file = folder / "port"
    numbers = [str(one) for one in _numbers(samples_min)]
    command = [sys.executable, "-m", "tests.bench._exposed", *numbers, str(port_file)]
    running = process.start(command, log=folder / "targets.log")
    try:
        end_s = time.monotonic() + PORT_S_MAX
        while not port_file.exists():
            assert running.poll() is None and time.monotonic() < end_s, (
                folder / "targets.log"
            ).read_text()
            time.sleep(0.05)
        yield int(port_file.read_text())
    finally:
        process.kill(running)


def _config(cluster: Cluster, port: int) -> str:
    jobs: dict[str, list[tuple[int, str]]] = {}
    for number, one in enumerate(cluster.processes):
        jobs.setdefault(one.shape.job, []).append((number, cluster.instance(number)))
    every = f"{INTERVAL_S}s"
    scrapes = [
        {
            "job_name": f"{job}-{number}",
            "metrics_path": f"/{number}",
            "static_configs": [
                {
                    "targets": [f"127.0.0.1:{port}"],
                    "labels": {"job": job, "instance": instance, "cluster": cluster.name},
                }
            ],
        }
        for job, members in jobs.items()
        for number, instance in members
    ]
    tree = {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": [str(rule_folder() / "*.yaml")],
        "scrape_configs": scrapes,
    }
    return yaml.safe_dump(tree)


def _check(server: prometheus.Prometheus) -> None:
    """Make sure that Prometheus did the work: every target up, no rule failing."""
    now_ms = int(time.time() * 1000)
    up = server.query("up", now_ms)
    assert len(up) == SERVERS + MEMBERS and set(up.values()) == {1.0}, up
    groups = json.loads(server.get("/api/v1/rules"))["data"]["groups"]
    bad = [rule for group in groups for rule in group["rules"] if rule["health"] == "err"]
    took_ms = sum(group["evaluationTime"] for group in groups) * 1e3
    print(f"Prometheus: {len(groups)} groups took {took_ms:.0f} ms last, {len(bad)} rules failed")
    for rule in bad:
        print(f"  {rule['name']}: {rule['lastError']}")


def _show(minutes: list[Minute], ours: _Ours, warm_min: int) -> float:
    samples = sum(one.shape.samples for one in ours.cluster.processes)
    print(
        f"\n{SERVERS} API servers, {MEMBERS} etcd: {samples} samples a cycle of {INTERVAL_S} s, "
        f"{described(ours.stage.rules)}; {len(minutes)} min after {warm_min} min"
    )
    rows = {
        f"{prometheus.version().split(' (')[0]}": [one.prometheus_s for one in minutes],
        "planewatch, streams": [one.stage_s for one in minutes],
        "planewatch, producers": [one.producers_s for one in minutes],
    }
    medians = {
        name: statistics.median(seconds) / CYCLES_A_MINUTE * 1e3 for name, seconds in rows.items()
    }
    for name, median_ms in medians.items():
        print(f"{name:32} {median_ms:9.1f} CPU ms a cycle")
    theirs, streams, producers = medians.values()
    print(f"Prometheus / (streams + producers) = {theirs / (streams + producers):.1f}")
    print(f"Prometheus / streams = {theirs / streams:.1f}")
    return theirs / streams


if __name__ == "__main__":
    main()
