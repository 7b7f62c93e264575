"""Kill a worker that owns 100 clusters of 3 API servers, and wait until another has them all.

In: a real Kafka with 12 min of scrapes at 15 s of every target, which one worker has evaluated,
while new ones keep coming; a second worker with nothing to do. Out: seconds from `kill -9` until
the other worker has published new results of every cluster, and where they went. Rule: the log is
what production has: whole records of 22,853 samples, zstd, in the order of time. All targets have
the same label sets; values differ. Where memory or disk do not reach for 100 clusters fewer are
used, and what is by cluster is extrapolated: then both numbers are printed.

The number of clusters may be given: `failover.py 10`.
"""

import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.clock import wall_ms
from schemas.kafka import producer_settings
from schemas.partition import partition_of
from schemas.records import ScrapeEnvelope
from schemas.topics import TopicName, full_name
from tests.bench import _report
from tests.bench._servers import API_SERVER, Process, envelope_of, shape
from tests.kafkalog import KafkaLog, create_topics
from tests.services import kafka
from tests.services.kafka import KafkaBroker
from tests.services.stages import Stages

NAME = "failover"
CLUSTERS, SERVERS = 100, 3
INTERVAL_MS = 15_000
FILL_CYCLES = 48
LIVE_S = 25.0
"""New scrapes before the kill: every target at least once."""
PREFIX, PARTITIONS = "bench", 2
WORKERS = ("one", "two")
STREAMS = "streams"
EVALUATED_S_MAX = 3_000.0
FAILOVER_S_MAX = 600.0
POLL_S = 0.05
GOAL_S = 30.0

MB = 1_000_000
CLUSTER_MB = 60.0
"""Of memory in each worker; see memory.py."""
RECORD_MB = 0.25
"""On disk, with room to spare: a record has 0.46 MB before zstd."""
REST_MB = 4_000.0


@dataclass(slots=True)
class Times:
    """Seconds since the kill."""

    assigned_s: float = 0.0
    reading_s: float = 0.0
    results_s: dict[str, float] = field(default_factory=dict)  # of each cluster: its first
    cpu_s: float = 0.0  # of the worker that took over


def main() -> None:
    """Print where the time went, and how long it took."""
    _report.head(NAME, f"Kafka {kafka.VERSION} (Java {kafka.java_version()})")
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else CLUSTERS
    clusters = min(wanted, _affordable())
    with tempfile.TemporaryDirectory(prefix="planewatch-bench-") as folder, KafkaBroker() as broker:
        broker.start()
        times = _failover(Path(folder), broker.bootstrap, clusters)
    _show(times, clusters)


def _affordable() -> int:
    """Return for how many clusters there is memory and disk."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free_mb = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1e3
    disk_mb = shutil.disk_usage(tempfile.gettempdir()).free / MB
    by_memory = (free_mb - REST_MB) / (CLUSTER_MB * len(WORKERS))
    by_disk = (disk_mb - REST_MB) / (SERVERS * (FILL_CYCLES + 10) * RECORD_MB)
    return max(1, int(min(by_memory, by_disk)))


def _failover(folder: Path, bootstrap: str, count: int) -> Times:
    workers = {name: _worker(folder, bootstrap, name) for name in WORKERS}
    create_topics(bootstrap, workers[WORKERS[0]].settings)
    try:
        for worker in workers.values():
            worker.start(STREAMS)
        partition, victim, heir = _owners(workers)
        feed = _Feed(bootstrap, _names(count, partition), partition)
        began_s = time.monotonic()
        feed.fill()
        print(f"{count} clusters: {feed.count} records in {time.monotonic() - began_s:.0f} s")
        _wait_until_evaluated(KafkaLog(bootstrap, PREFIX), partition, feed)
        print(f"evaluated by worker {victim} after {time.monotonic() - began_s:.0f} s")
        with feed.live():
            time.sleep(LIVE_S)
            _wait_until_evaluated(KafkaLog(bootstrap, PREFIX), partition, feed, behind=100)
            consumer = _consumer(bootstrap, partition)
            return _killed(workers[victim], workers[heir], consumer, feed)
    finally:
        for worker in workers.values():
            worker.close()


def _worker(folder: Path, bootstrap: str, name: str) -> Stages:
    tree = {
        "kafka": {
            "bootstrap": bootstrap,
            "prefix": PREFIX,
            "partitions": PARTITIONS,
            "replication": 1,
        },
        "streams": {"instance_id": name},
    }
    return Stages(folder / name, tree)


def _owners(workers: dict[str, Stages]) -> tuple[int, str, str]:
    """Return a partition, the worker that has it, and the one that has the other."""
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        owned = {name: _assigned(worker) for name, worker in workers.items()}
        if sorted(owned.values()) == ["0", "1"]:
            victim, heir = sorted(owned, key=lambda name: owned[name])
            return int(owned[victim]), victim, heir
        time.sleep(POLL_S)
    raise AssertionError(f"not one partition each: {owned}")


def _assigned(worker: Stages) -> str:
    found = [
        line.rpartition("assigned partitions=")[2].strip()
        for line in worker.log(STREAMS).read_text().splitlines()
        if "assigned partitions=" in line
    ]
    return found[-1] if found else ""


def _names(count: int, partition: int) -> list[str]:
    every = (f"c{number}" for number in range(100 * PARTITIONS * (count + 1)))
    mine = [name for name in every if partition_of(name, PARTITIONS) == partition]
    return mine[:count]


class _Feed:
    """Writes the scrapes of all targets: first the past, then as time passes."""

    def __init__(self, bootstrap: str, clusters: list[str], partition: int) -> None:
        base = producer_settings({"bootstrap.servers": bootstrap}, "bench", 64 * MB)
        self._producer = Producer({**base, "log_level": 3})
        self._topic, self.partition = full_name(TopicName.SCRAPES, PREFIX), partition
        self._processes = [Process(shape(API_SERVER), seed) for seed in range(SERVERS)]
        self.clusters, self.count = clusters, 0
        self._t_ms = wall_ms() // INTERVAL_MS * INTERVAL_MS - FILL_CYCLES * INTERVAL_MS

    def fill(self) -> None:
        """Write the past; return when Kafka has it."""
        for _ in range(FILL_CYCLES):
            for value in self._cycle():
                self._write(value)
        assert not self._producer.flush(60)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Write on in real time until the end of the block."""
        done = threading.Event()

        def write() -> None:
            due_s, each_s = time.monotonic(), INTERVAL_MS / 1e3 / len(self.clusters) / SERVERS
            while not done.is_set():
                for value in self._cycle():
                    due_s += each_s
                    if done.wait(max(0.0, due_s - time.monotonic())):
                        return
                    self._write(value)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._producer.flush(10)

    def _cycle(self) -> Iterator[bytes]:
        """Yield the records of one scrape of each target, in the order of time."""
        for process in self._processes:
            process.advance(INTERVAL_MS / 1000)
        step_ms = INTERVAL_MS // SERVERS
        for server, process in enumerate(self._processes):
            for number, cluster in enumerate(self.clusters):
                phase_ms = server * step_ms + number * step_ms // len(self.clusters)
                yield self._record(process, cluster, server, self._t_ms + phase_ms)
        self._t_ms += INTERVAL_MS

    def _record(self, process: Process, cluster: str, server: int, t_ms: int) -> bytes:
        instance = f"10.0.0.{server}:443"
        envelope = envelope_of(cluster, "apiserver", instance, t_ms, INTERVAL_MS)
        whole: ScrapeEnvelope = msgspec.structs.replace(envelope, scrape_id=f"{server}-{t_ms}")
        (value,) = process.records(whole)
        return value

    def _write(self, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, b"key", self.partition)
                break
            except BufferError:
                self._producer.poll(POLL_S)
        self._producer.poll(0)
        self.count += 1


def _wait_until_evaluated(log: KafkaLog, partition: int, feed: _Feed, *, behind: int = 0) -> None:
    end_s = time.monotonic() + EVALUATED_S_MAX
    while log.committed(TopicName.SCRAPES, partition, STREAMS) < feed.count - behind:
        assert time.monotonic() < end_s, f"not evaluated in {EVALUATED_S_MAX} s"
        time.sleep(0.5)


def _killed(victim: Stages, heir: Stages, consumer: Consumer, feed: _Feed) -> Times:
    times, log = Times(), heir.log(STREAMS)
    pid = heir.wait_until_ready(STREAMS)["pid"]
    known = len(log.read_text())
    cpu_s, killed_ms, began_s = _report.cpu_s(pid), wall_ms(), time.monotonic()
    victim.kill(STREAMS)
    while len(times.results_s) < len(feed.clusters):
        since_s = time.monotonic() - began_s
        assert since_s < FAILOVER_S_MAX, heir.tail(STREAMS)
        news = log.read_text()[known:]
        if not times.assigned_s and "assigned partitions=0,1" in news:
            times.assigned_s = since_s
        if not times.reading_s and f"reading partition={feed.partition}" in news:
            times.reading_s = since_s
        for message in consumer.consume(500, POLL_S):
            assert message.error() is None, message.error()
            cluster, _, group = (message.key() or b"").decode().partition("/")
            if message.timestamp()[1] > killed_ms and group != "facts":
                times.results_s.setdefault(cluster, time.monotonic() - began_s)
    consumer.close()
    times.cpu_s = _report.cpu_s(pid) - cpu_s
    return times


def _consumer(bootstrap: str, partition: int) -> Consumer:
    """Return a consumer of indicators that begins at their end, and stands there."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-indicators"})
    at = TopicPartition(full_name(TopicName.INDICATORS, PREFIX), partition)
    _, at.offset = consumer.get_watermark_offsets(at, timeout=20.0)
    consumer.assign([at])
    return consumer


def _show(times: Times, clusters: int) -> None:
    first_s, last_s = min(times.results_s.values()), max(times.results_s.values())
    print(f"{times.assigned_s:7.1f} s  the dead worker was given up, its partition assigned")
    print(f"{times.reading_s:7.1f} s  the table was read, the replay began")
    print(f"{first_s:7.1f} s  the first cluster was evaluated")
    print(f"{statistics.median(times.results_s.values()):7.1f} s  half of them")
    print(f"{last_s:7.1f} s  all {clusters}; the worker used {times.cpu_s:.1f} CPU s till then")
    if clusters < CLUSTERS:
        each_s = (last_s - times.reading_s) / clusters
        last_s += each_s * (CLUSTERS - clusters)
        print(f"extrapolated to {CLUSTERS} clusters: {each_s:.2f} s for each more")
    _report.result(NAME, last_s, GOAL_S, "lower")


if __name__ == "__main__":
    main()
