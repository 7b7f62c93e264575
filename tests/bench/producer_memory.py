"""Measure what a series costs producers in memory, and whether one process keeps up with many.

In: targets of one cluster, each an API server of 23 k series whose values change (`_bodies`), and a
real Kafka broker. Out: resident bytes a series, as the growth from 10 targets to 40 that are
scraped every 3 s; then, of 100 targets every 15 s, the share of a core, skipped and late ticks, and
memory. Rule: memory is that of the whole process (VmRSS), the median of its last seconds, so bodies
in flight count as they come; what a process has without series is shown, and is not in the value.

A tick is late whose request was sent more than 1 s after it. Other work on the machine makes ticks
late, too: how busy it was stands above and beside the numbers.
"""

import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.arrow import decode_scrape
from schemas.records import Outcome
from schemas.topics import TopicName, full_name
from tests.bench import _report
from tests.bench._servers import API_SERVER, shape
from tests.kafkalog import create_topics
from tests.services import kafka, process
from tests.services.kafka import KafkaBroker
from tests.services.records import read_all
from tests.services.stages import Stages

NAME = "producer_memory"
GOAL_BYTES = 250.0
FEW, MORE, MANY = 10, 40, 100
OFTEN_S, USUAL_S = 3.0, 15.0
OFTEN_RUN_S, IDLE_RUN_S = 36.0, 6.0
USUAL_WARM_S, USUAL_RUN_S = 25.0, 60.0
MEDIAN_OF_S = 10.0
LATE_MS = 1_000
PARTITIONS = 4
PORT_S_MAX = 120.0
SEED = 7
JOB = "apiserver"


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of a process in its last seconds."""

    median: float
    peak: int


@dataclass(frozen=True, slots=True)
class Ticks:
    """What became of the ticks of a while."""

    planned: int
    outcomes: Counter[str]
    late: int
    delay_ms_p99: float


def main() -> None:
    """Print memory by targets, and how one process did with many."""
    _report.head(NAME, f"Kafka {kafka.VERSION} (Java {kafka.java_version()})")
    series = shape(API_SERVER).samples
    with tempfile.TemporaryDirectory(prefix="planewatch-bench-") as name, KafkaBroker() as broker:
        broker.start()
        folder = Path(name)
        with _serving(folder) as url:
            runs = Runs(folder, url, broker)
            idle = runs.memory(0)
            few, more = runs.memory(FEW), runs.memory(MORE)
            print(f"{series} series a target, each scraped every {OFTEN_S:.0f} s:")
            print(f"  no target  {idle.median / 1e6:6.0f} MB")
            for count, found in ((FEW, few), (MORE, more)):
                each = (found.median - idle.median) / count / series
                sizes = f"{found.median / 1e6:6.0f} MB (at most {found.peak / 1e6:.0f})"
                print(f"  {count:3} targets {sizes}, {each:.0f} bytes a series beyond that")
            runs.many(series)
    value = (more.median - few.median) / (MORE - FEW) / series
    _report.result(NAME, value, GOAL_BYTES, "lower")


class Runs:
    """Producers of some targets, one process after the other."""

    def __init__(self, folder: Path, url: str, broker: KafkaBroker) -> None:
        self._folder, self._url, self._broker = folder, url, broker

    def memory(self, targets: int) -> Memory:
        """Return what a process has once all of it has settled."""
        with self._running(targets, OFTEN_S) as pid:
            time.sleep((OFTEN_RUN_S if targets else IDLE_RUN_S) - MEDIAN_OF_S / 2)
            return _memory(pid)

    def many(self, series: int) -> None:
        """Print how one process does with many targets."""
        with self._running(MANY, USUAL_S) as pid:
            time.sleep(USUAL_WARM_S)
            begin_ms, cpu_s, began_s = _now_ms(), _report.cpu_s(pid), time.monotonic()
            time.sleep(USUAL_RUN_S)
            share = (_report.cpu_s(pid) - cpu_s) / (time.monotonic() - began_s)
            end_ms, memory = _now_ms(), _memory(pid)
        ticks = self._ticks(begin_ms, end_ms)
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ticks.outcomes.items()))
        print(f"{MANY} targets of {series} series every {USUAL_S:.0f} s, one process:")
        print(f"  {100 * share:.0f} % of a core, {memory.median / 1e6:.0f} MB", end="")
        print(f" (at most {memory.peak / 1e6:.0f}); load {os.getloadavg()[0]:.1f} (1 min)")
        print(f"  {ticks.planned} ticks: {told}; {ticks.late} late", end="")
        print(f" (99 % were sent within {ticks.delay_ms_p99:.0f} ms)")

    @contextmanager
    def _running(self, targets: int, interval_s: float) -> Iterator[int]:
        """Run producers of so many targets; without any, of one that nobody listens for."""
        listed: list[dict[str, object]] = [
            {"job": JOB, "instance": f"{i}", "url": f"{self._url}/{i}", "interval_s": interval_s}
            for i in range(targets)
        ]
        nobody: dict[str, object] = {
            "job": "etcd",
            "instance": "nobody",
            "url": "http://127.0.0.1:1/metrics",
        }
        where = {"bootstrap": self._broker.bootstrap, "prefix": _prefix(targets)}
        tree = {
            "kafka": where | {"partitions": PARTITIONS, "replication": 1},
            "clusters": [{"id": "bench", "targets": listed or [nobody]}],
        }
        stages = Stages(self._folder / str(targets), tree)
        create_topics(self._broker.bootstrap, stages.settings)
        try:
            yield stages.start("producers").pid
            assert 0 == stages.stop("producers"), stages.tail("producers")
        finally:
            stages.close()

    def _ticks(self, begin_ms: int, end_ms: int) -> Ticks:
        """Return what became of the ticks of many targets between two moments."""
        outcomes: Counter[str] = Counter()
        delays_ms: list[float] = []
        topic = full_name(TopicName.SCRAPES, _prefix(MANY))
        for message in read_all(self._broker.bootstrap, topic):
            one = decode_scrape(message.value()).envelope
            if one.job == JOB and one.chunk == 0 and begin_ms <= one.tick_ms < end_ms:
                outcomes[one.outcome] += 1
                if one.outcome is not Outcome.SKIPPED:
                    delays_ms.append(one.start_ms - one.tick_ms)
        planned = round(MANY * (end_ms - begin_ms) / 1000 / USUAL_S)
        late = sum(delay_ms > LATE_MS for delay_ms in delays_ms)
        return Ticks(planned, outcomes, late, _report.percentile(delays_ms, 99))


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    port_file, log = folder / "port", folder / "bodies.log"
    command = [sys.executable, "-m", "tests.bench._bodies", "0", str(SEED), str(port_file)]
    running = process.start(command, log=log)
    try:
        end_s = time.monotonic() + PORT_S_MAX
        while not port_file.exists():
            assert running.poll() is None and time.monotonic() < end_s, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port_file.read_text()}"
    finally:
        process.kill(running)


def _prefix(targets: int) -> str:
    return f"memory-{targets}"


def _memory(pid: int) -> Memory:
    """Watch a process for a while."""
    found, end_s = [], time.monotonic() + MEDIAN_OF_S
    while time.monotonic() < end_s:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        line = next(one for one in lines if one.startswith("VmRSS:"))
        found.append(int(line.split()[1]) * 1024)
        time.sleep(0.25)
    return Memory(statistics.median(found), max(found))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
