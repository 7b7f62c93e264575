"""Judge all shipped alerts the moment a scrape arrives. In: a cluster of 3 API servers of 23 k
series and 3 etcd, scraped every 15 s, then every second. Out: the CPU and wall time of one live
evaluation of all rules (median, p99), the same with everything computed anew, the same of the rules
that are due, and evaluations by event second.

Rule: an evaluation is all that a worker does between the scrape and the alerts: results of rules,
states, records. Only what the scrape can have changed should be computed again, and at most once a
second. The result is that of all rules, rested or not. CPU time counts: the machine may be busy.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from streams.core.cluster import ClusterEngine
from streams.core.evaluate import ActiveAlert, Evaluator
from streams.core.outputs import Outputs
from streams.core.promql.nodes import Kept
from tests.bench import _report
from tests.bench._servers import API_SERVER, ETCD, Cluster, shape
from tests.bench._stage import Stage, described, replaced

NAME = "live_evaluation"
SERVERS, MEMBERS = 3, 3
WARM_CYCLES = 22
CYCLES = 40
DENSE_CYCLES = 60
GOAL_MS = 25.0


@dataclass(slots=True)
class Times:
    """CPU and wall time of each evaluation, in ms."""

    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)

    def show(self, what: str) -> None:
        """Print median and p99."""
        texts = [
            f"{name} {statistics.median(values):7.2f} / {_report.percentile(values, 99):7.2f} ms"
            for name, values in (("CPU", self.cpu_ms), ("wall", self.wall_ms))
        ]
        print(f"{what:24} {len(self.cpu_ms):5} x  {'   '.join(texts)}   (median / p99)")


def main() -> None:
    """Print all, and the median of one evaluation."""
    _report.head(NAME)
    cluster, stage = _cluster(15_000), Stage()
    print(f"{SERVERS} API servers, {MEMBERS} etcd, {described(stage.rules)}")
    _run(cluster, stage, WARM_CYCLES)
    times = _measured(cluster, stage, CYCLES, before=_wake)
    times.show("after one scrape")
    _measured(cluster, stage, CYCLES, before=_forget_results).show("everything anew")
    _measured(cluster, stage, CYCLES, before=lambda _: None).show("what is due")
    _by_second(cluster, stage, CYCLES)
    dense = _cluster(1_000)
    _by_second(dense, Stage(), DENSE_CYCLES)
    _report.result(NAME, statistics.median(times.cpu_ms), GOAL_MS, "lower")


def _cluster(interval_ms: int) -> Cluster:
    shapes = [shape(API_SERVER)] * SERVERS + [shape(ETCD)] * MEMBERS
    return Cluster("bench", shapes, interval_ms=interval_ms, seed=2)


def _run(cluster: Cluster, stage: Stage, cycles: int) -> None:
    for _ in range(cycles):
        for _, envelope, records in cluster.cycle():
            for value in records:
                stage.take(value, envelope.tick_ms)


def _measured(
    cluster: Cluster,
    stage: Stage,
    cycles: int,
    *,
    before: Callable[[ClusterEngine], None],
) -> Times:
    """Return the times of the evaluations of some cycles; `before` is called before each."""
    times, judge = Times(), ClusterEngine._judge_alerts

    def timed(engine: ClusterEngine, out: Outputs) -> None:
        before(engine)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        judge(engine, out)
        times.cpu_ms.append((time.process_time() - cpu_s) * 1e3)
        times.wall_ms.append((time.perf_counter() - wall_s) * 1e3)

    with replaced(ClusterEngine, "_judge_alerts", timed):
        _run(cluster, stage, cycles)
    return times


def _by_second(cluster: Cluster, stage: Stage, cycles: int) -> None:
    count, evaluate = 0, Evaluator.evaluate_alerts

    def counted(evaluator: Evaluator, t_ms: int, since_ms: int) -> tuple[ActiveAlert, ...]:
        nonlocal count
        count += 1
        return evaluate(evaluator, t_ms, since_ms)

    with replaced(Evaluator, "evaluate_alerts", counted):
        _run(cluster, stage, cycles)
    event_s = cycles * cluster.interval_ms / 1000
    scrapes = cycles * len(cluster.processes)
    print(
        f"scrapes every {cluster.interval_ms // 1000:2} s: {count} evaluations after {scrapes} "
        f"scrapes in {event_s:.0f} event seconds: {count / event_s:.2f} a second"
    )


def _wake(engine: ClusterEngine) -> None:
    """Let no rule rest at the next evaluation."""
    engine._budget.taken_ms = 0


def _forget_results(engine: ClusterEngine) -> None:
    """Drop what earlier evaluations found, so that the next one computes everything."""
    _wake(engine)
    evaluator = engine._evaluator
    evaluator._kept = Kept()
    for target in evaluator._targets.values():
        target._vectors.clear()
        target._counters._windows.clear()
        target._counters._increases.clear()


if __name__ == "__main__":
    main()
