"""Measure what a cluster takes in memory. In: clusters of 3 API servers of 23 k series and 3 etcd,
12 min of scrapes at 15 s each, all shipped rules. Out: MB a cluster, and how it grows with targets
and with rules.

Rule: a child process takes in one cluster after the other and tells its resident set after each.
A cluster is the growth from the first to the last; what the first brings with it (code, pools of
the allocators) is not one. All clusters are fed by the same simulated processes.
"""

import gc
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from msgspec.structs import replace

from streams.core.rules.files import RuleSet, load_rules
from streams.rulefiles import shipped_files
from tests.bench import _report
from tests.bench._servers import API_SERVER, ETCD, Cluster, shape
from tests.bench._stage import Stage, described

NAME = "memory"
INTERVAL_MS = 15_000
CYCLES = 48
CHILD_S_MAX = 900
GOAL_MB = 40.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One child."""

    clusters: int = 4
    servers: int = 3
    members: int = 3
    files: int | None = None  # of the shipped ones, in their order; None: all


def main() -> None:
    """Print the growth by cluster, by target, by rule."""
    _report.head(NAME)
    found = _child(Trial())
    print(f"3 API servers, 3 etcd, {described(_rules(None))}; RSS after each cluster:")
    print("  " + ", ".join(f"{rss_mb:.0f} MB" for rss_mb in found))
    print("\nAPI servers (and 3 etcd)   MB a cluster   MB a server more")
    before = None
    for servers in (1, 3, 6, 9):
        mb = _slope(found if servers == 3 else _child(Trial(clusters=3, servers=servers)))
        more = f"{(mb - before[1]) / (servers - before[0]):14.1f}" if before else ""
        print(f"{servers:11} {mb:27.1f} {more}")
        before = servers, mb
    print("\nrules                                     MB a cluster")
    files = len(shipped_files())
    for count in sorted({1, -(-files // 2), files}):
        mb = _slope(found if count == files else _child(Trial(clusters=3, files=count)))
        print(f"{described(_rules(count)):40} {mb:13.1f}")
    _report.result(NAME, _slope(found), GOAL_MB, "lower")


def _slope(rss_mb: list[float]) -> float:
    return (rss_mb[-1] - rss_mb[0]) / (len(rss_mb) - 1)


def _child(trial: Trial) -> list[float]:
    """Return the resident set of a child after each of its clusters, in MB."""
    command = [sys.executable, __file__, json.dumps(asdict(trial))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_S_MAX, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[float] = json.loads(done.stdout)
    return found


def _rules(files: int | None) -> RuleSet:
    every = shipped_files()
    return load_rules({name: every[name] for name in [*every][:files]})


def _measure(trial: Trial) -> list[float]:
    stage = Stage(_rules(trial.files))
    shapes = [shape(API_SERVER)] * trial.servers + [shape(ETCD)] * trial.members
    found = []
    for number in range(trial.clusters):
        cluster = Cluster("any", shapes, interval_ms=INTERVAL_MS, seed=number)
        for _ in range(CYCLES):
            for process, envelope, _records in cluster.cycle():
                for value in process.records(replace(envelope, cluster=f"c{number}")):
                    stage.take(value, envelope.tick_ms)
        gc.collect()
        found.append(_rss_mb())
    assert len(stage.shard.engines) == trial.clusters
    return found


def _rss_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in status if line.startswith("VmRSS:"))
    return int(kilobytes) / 1000


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_measure(Trial(**json.loads(sys.argv[1])))))
    else:
        main()
