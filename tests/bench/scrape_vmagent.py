"""Scrape API servers and hand the samples on, beside vmagent.

In: bodies of 23 k samples from three targets, then of 100 k from one, scraped every second; both
agents get the same ones, in turn. Ours: HTTP, columns, records that a real Kafka broker has
acknowledged; vmagent (Debian) with its defaults: HTTP, remote writes that a receiver on loopback
has acknowledged. Each runs pinned to one core, the broker and the servers on the others. Out: CPU
ns a sample of the whole process (/proc/PID/stat), and bytes on the wire, as medians of interleaved
rounds. Rule: what counts is what arrived. The smaller share of the goal of both sizes counts.

Rounds and seconds of each may be given: `scrape_vmagent.py 1 10`.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import urllib3
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.kafka import topic_plans
from schemas.settings import KafkaSettings
from schemas.topics import TopicName, full_name
from tests.bench import _report
from tests.services import process, vmagent
from tests.services.kafka import KafkaBroker
from tests.services.stages import Stages

NAME = "scrape_vmagent"
CASES = ((23_000, 3, 5.0), (100_000, 1, 8.0))
"""Samples of a target, targets, goal."""
INTERVAL_S = 1.0
ROUNDS, MEASURED_S = 5, 20
WARM_S = 6.0
PORT_S_MAX = 300.0
PARTITIONS = 4
SEED = 7
CORE = {0}


@dataclass(slots=True)
class Found:
    """CPU ns and bytes a sample, of each round."""

    cpu_ns: list[float] = field(default_factory=list)
    wire_bytes: list[float] = field(default_factory=list)

    def add(self, cpu_s: float, wire_bytes: float, samples: int) -> None:
        """Note a round."""
        self.cpu_ns.append(cpu_s * 1e9 / samples)
        self.wire_bytes.append(wire_bytes / samples)

    def show(self, who: str) -> None:
        """Print the medians."""
        cpu, wire = statistics.median(self.cpu_ns), statistics.median(self.wire_bytes)
        print(f"  {who:10} {cpu:7.0f} ns of CPU, {wire:5.2f} bytes sent a sample")


class Bodies:
    """The servers that are scraped, and the receiver, as one process."""

    def __init__(self, port: int, samples: int, targets: int) -> None:
        self.url, self.samples, self.targets = f"http://127.0.0.1:{port}", samples, targets
        self._http = urllib3.PoolManager()

    def count(self, name: str) -> int:
        """Return how often something happened."""
        said = json.loads(self._http.request("GET", f"{self.url}/counts").data)
        return int(said.get(name, 0))


def main() -> None:
    """Print both, and how many times more vmagent needs."""
    rounds, seconds = map(int, sys.argv[1:3] or (ROUNDS, MEASURED_S))
    _report.head(NAME, vmagent.version())
    os.sched_setaffinity(0, os.sched_getaffinity(0) - CORE or CORE)  # and all that it starts
    shares = []
    with KafkaBroker() as broker:
        broker.start()
        for samples, targets, goal in CASES:
            ratio = _compare(broker, samples, targets, rounds, seconds)
            print(f"  {ratio:.1f} times less, goal {goal:.0f}")
            shares.append(ratio / goal)
    _report.result(NAME, min(shares), 1.0, "higher")


def _compare(broker: KafkaBroker, samples: int, targets: int, rounds: int, seconds: int) -> float:
    ours, theirs = Found(), Found()
    with tempfile.TemporaryDirectory(prefix="planewatch-bench-") as name:
        folder = Path(name)
        with _serving(folder, samples, targets) as bodies:
            for number in range(rounds):
                _run_ours(bodies, broker, folder / str(number), seconds, ours)
                _run_vmagent(bodies, seconds, theirs)
    print(f"{targets} x {samples} samples every {INTERVAL_S:.0f} s, {rounds} rounds of {seconds} s")
    ours.show("planewatch")
    theirs.show("vmagent")
    return statistics.median(theirs.cpu_ns) / statistics.median(ours.cpu_ns)


@contextmanager
def _serving(folder: Path, samples: int, targets: int) -> Iterator[Bodies]:
    port_file = folder / "port"
    command = [sys.executable, "-m", "tests.bench._bodies", str(samples), str(SEED), str(port_file)]
    running = process.start(command, log=folder / "bodies.log")
    try:
        end_s = time.monotonic() + PORT_S_MAX
        while not port_file.exists():
            said = (folder / "bodies.log").read_text()
            assert running.poll() is None and time.monotonic() < end_s, said
            time.sleep(0.1)
        yield Bodies(int(port_file.read_text()), samples, targets)
    finally:
        process.kill(running)


def _run_ours(
    bodies: Bodies, broker: KafkaBroker, folder: Path, seconds: int, found: Found
) -> None:
    prefix = f"bench-{bodies.samples}-{folder.name}"
    settings = KafkaSettings(prefix=prefix, partitions=PARTITIONS, replication=1)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topics = [NewTopic(one.name, PARTITIONS, 1, config=one.config) for one in topic_plans(settings)]
    for future in admin.create_topics(topics).values():
        future.result(30.0)
    targets = [
        {"job": "apiserver", "instance": f"{i}", "url": f"{bodies.url}/{i}"}
        | {"interval_s": INTERVAL_S, "timeout_s": INTERVAL_S * 0.9}
        for i in range(bodies.targets)
    ]
    tree = {
        "kafka": {"bootstrap": broker.bootstrap, "prefix": prefix, "partitions": PARTITIONS},
        "clusters": [{"id": "bench", "targets": targets}],
    }
    stages = Stages(folder, tree)
    try:
        pid = stages.start("producers").pid
        _pin(pid)
        time.sleep(WARM_S)
        scraped, sent = bodies.count("scrapes"), _log_bytes(broker, prefix)
        records = _records(broker, prefix)
        cpu_s = _report.cpu_s(pid)
        time.sleep(seconds)
        cpu_s = _report.cpu_s(pid) - cpu_s
        scraped = bodies.count("scrapes") - scraped
        records = _records(broker, prefix) - records
        sent = _log_bytes(broker, prefix) - sent
    finally:
        stages.close()
    assert records >= scraped - 2 * bodies.targets, f"{records} records of {scraped} scrapes"
    found.add(cpu_s, sent, scraped * bodies.samples)


def _run_vmagent(bodies: Bodies, seconds: int, found: Found) -> None:
    jobs = "".join(
        f"  - {{job_name: '{i}', metrics_path: '/{i}', static_configs: [{{targets: "
        f"['{bodies.url.removeprefix('http://')}']}}]}}\n"
        for i in range(bodies.targets)
    )
    config = f"global: {{scrape_interval: {INTERVAL_S:.0f}s}}\nscrape_configs:\n{jobs}"
    with vmagent.Vmagent(config, f"{bodies.url}/write") as agent:
        agent.start()
        _pin(agent.pid)
        time.sleep(WARM_S)
        scraped, written = bodies.count("scrapes"), bodies.count("written_bytes")
        cpu_s = _report.cpu_s(agent.pid)
        time.sleep(seconds)
        cpu_s = _report.cpu_s(agent.pid) - cpu_s
        scraped = bodies.count("scrapes") - scraped
        written = bodies.count("written_bytes") - written
    assert scraped and written, "vmagent did not scrape"
    found.add(cpu_s, written, scraped * bodies.samples)


def _pin(pid: int) -> None:
    """Let a process run on one core, with all its threads."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), CORE)


def _records(broker: KafkaBroker, prefix: str) -> int:
    """Return how many records of scrapes the broker has acknowledged."""
    topic = full_name(TopicName.SCRAPES, prefix)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "bench"})
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10.0)[1]
            for partition in range(PARTITIONS)
        )
    finally:
        consumer.close()


def _log_bytes(broker: KafkaBroker, prefix: str) -> int:
    """Return how many bytes of scrapes are in the log of the broker, compressed as they came."""
    topic = full_name(TopicName.SCRAPES, prefix)
    return sum(file.stat().st_size for file in broker.data.glob(f"{topic}-*/*.log"))


if __name__ == "__main__":
    main()
