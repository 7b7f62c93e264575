"""Take in scrapes and evaluate all shipped rules, beside a plain loop over JSON messages.

In: a cluster of 3 API servers, scraped every 15 s at phases of their own, with 23 k and then with
100 k samples each. Out: CPU ns a sample of both, ours by step, and samples/s of one core, as
medians of interleaved cycles. Rule: both get the same samples; ours evaluates aligned groups and
live alerts as a worker does, the peer adds values up. The worse of both sizes counts.
"""

import gc
import statistics
import time
from dataclasses import dataclass
from importlib.metadata import version

from tests.bench import _json_loop, _report
from tests.bench._servers import API_SERVER, Cluster, shape
from tests.bench._stage import REST, STEPS, Stage, described, steps

NAME = "stream_rate"
SIZES = (0, 100_000)
"""Samples at least; 0: as many as were captured, 23 k."""
SERVERS = 3
INTERVAL_MS = 15_000
WARM_CYCLES = 22
"""5 min and a half: windows and histories are filled."""
CYCLES = 15
GOAL = 20.0


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle of scrapes: CPU seconds of the peer, of us, and of each of our steps."""

    peer_s: float
    ours_s: float
    steps_s: dict[str, float]


def main() -> None:
    """Print both, and the smaller of the ratios."""
    _report.head(NAME, f"orjson {version('orjson')}")
    ratio = min(_compare(samples_min) for samples_min in SIZES)
    _report.result(NAME, ratio, GOAL, "higher")


def _compare(samples_min: int) -> float:
    kind = shape(API_SERVER, samples_min)
    cluster = Cluster("bench", [kind] * SERVERS, interval_ms=INTERVAL_MS, seed=1)
    stage, sums = Stage(), dict[tuple[str, ...], float]()
    for _ in range(WARM_CYCLES):
        for _, envelope, records in cluster.cycle():
            for value in records:
                stage.take(value, envelope.tick_ms)
    with steps() as spent:
        cycles = [_cycle(cluster, stage, sums, spent) for _ in range(CYCLES)]
    return _printed(cycles, kind.samples, stage)


def _cycle(
    cluster: Cluster, stage: Stage, sums: dict[tuple[str, ...], float], spent: dict[str, float]
) -> Cycle:
    peer_s = ours_s = 0.0
    before = dict(spent)
    for process, envelope, records in cluster.cycle():
        own = {"cluster": cluster.name, "job": envelope.job, "instance": envelope.instance}
        batch = _json_loop.messages(process, own, envelope.start_ms)
        gc.collect()  # neither pays for what the bench itself made
        began = time.process_time()
        _json_loop.consume(batch, sums)
        peer_s += time.process_time() - began
        gc.collect()
        began = time.process_time()
        for value in records:
            stage.take(value, envelope.tick_ms)
        ours_s += time.process_time() - began
    return Cycle(peer_s, ours_s, {step: spent[step] - before[step] for step in STEPS})


def _printed(cycles: list[Cycle], samples: int, stage: Stage) -> float:
    each = samples * SERVERS
    print(f"\n{SERVERS} API servers x {samples} samples, {described(stage.rules)}, {CYCLES} cycles")
    rows = {
        "orjson loop": [one.peer_s for one in cycles],
        "planewatch": [one.ours_s for one in cycles],
    }
    for step in STEPS:
        rows[f"  {step}"] = [one.steps_s[step] for one in cycles]
    rows[f"  {REST}"] = [one.ours_s - sum(one.steps_s.values()) for one in cycles]
    medians = {name: statistics.median(seconds) for name, seconds in rows.items()}
    for name, median in medians.items():
        line = f"{name:36} {median / each * 1e9:8.1f} ns a sample {median * 1e3:8.2f} ms a cycle"
        print(line if name.startswith(" ") else f"{line} {each / median / 1e6:8.2f} M samples/s")
    return medians["orjson loop"] / medians["planewatch"]


if __name__ == "__main__":
    main()
