"""Recorded names, with a past: what our engine keeps of them against what Prometheus stores.

Prometheus' results of each rule at each evaluation are written back under the rule's name, with a
stale marker where a result vanished, as its rule manager does; so one server gives both the results
of rules and, later, of expressions over them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
import yaml

from streams.core.evaluate import Evaluator
from streams.core.rules.files import RuleSet, load_rules
from tests.differential.comparison import Answers, accepted, answers, mismatches, prometheus
from tests.differential.sources import POLLS, make
from tests.differential.test_differential import told
from tests.differential.world import BASE_MS, STEP_MS, World
from tests.scrapes import CLUSTER
from tests.services.prometheus import LabelSet, Prometheus, Sample, TimeSeries

EVERY_MS: Final = 30_000
"""The interval of the recording rules: every second scrape."""
RULES: Final = {
    "level:seats:sum": "sum by (level, instance) (seats_used)",
    "zone_queue:depth:max": "max by (zone, queue) (queue_depth)",
    "job:up:avg": "avg by (job) (up)",
    "instance:requests:sum": "sum by (instance) (requests_total)",
    "flapping:now": "flapping > 0",
    "level:seats:share": "level:seats:sum / on (level, instance) seats_limit",
    "all:seats:share": "avg(level:seats:share)",
}
EXPRESSIONS: Final = """
level:seats:sum
level:seats:sum{level="high",instance!~"b|c"}
zone_queue:depth:max > 10
sum(level:seats:sum) / sum(seats_used)
level:seats:share * 100
all:seats:share
avg_over_time(level:seats:sum[5m])
max_over_time(zone_queue:depth:max{zone="z1"}[10m])
min_over_time(job:up:avg[20m]) < 1
avg_over_time(job:up:avg[15m])
count_over_time(flapping:now[10m])
last_over_time(flapping:now[4m])
present_over_time(flapping:now[2m])
changes(flapping:now[10m])
sum_over_time(level:seats:share[7m])
quantile_over_time(0.8, level:seats:sum[10m])
stddev_over_time(level:seats:sum[10m])
deriv(zone_queue:depth:max[10m])
predict_linear(zone_queue:depth:max[10m], 300)
delta(level:seats:sum[3m])
rate(instance:requests:sum[5m])
sum(increase(instance:requests:sum[10m]))
irate(instance:requests:sum[5m])
resets(instance:requests:sum[20m])
level:seats:sum offset 5m
level:seats:sum - level:seats:sum offset 1m
flapping:now offset 2m
flapping:now unless flapping:now offset 1m
avg_over_time(level:seats:sum[5m] offset 5m)
max_over_time((sum by (level) (level:seats:sum))[5m:30s])
avg_over_time((level:seats:sum)[5m:1m] offset 2m)
absent(level:seats:sum{level="none"})
absent_over_time(flapping:now{n="7"}[5m])
timestamp(level:seats:sum)
topk(2, zone_queue:depth:max)
""".strip().splitlines()
INSTANTS: Final = tuple(BASE_MS + k * EVERY_MS for k in (3, 20, 33, 47, 60, 76))


def rule_set() -> RuleSet:
    """Return the recording rules, and behind them the expressions."""
    rules = [{"record": name, "expr": expr} for name, expr in RULES.items()]
    asked = [{"record": f"r:{i}:x", "expr": expr} for i, expr in enumerate(EXPRESSIONS)]
    asked += [
        {"record": f"r:{i}:nan", "expr": f"r:{i}:x != bool r:{i}:x"} for i in range(len(asked))
    ]
    groups = [
        {"name": "records", "interval": "30s", "rules": rules},
        {"name": "asked", "interval": "30s", "rules": asked},
    ]
    return load_rules({"test.yaml": yaml.safe_dump({"groups": groups})})


def ours(world: World) -> Answers:
    """Return what our engine says to the expressions, having evaluated the rules all along."""
    rules = rule_set()
    records, asked = rules.groups
    evaluator, found = Evaluator(rules, CLUSTER), Answers()
    due = list(range(BASE_MS, BASE_MS + (POLLS - 2) * STEP_MS, EVERY_MS))
    for t_ms, scrape in accepted(world):
        while due and t_ms > due[0] + STEP_MS:
            now_ms = due.pop(0)
            assert evaluator.evaluate_records(records, now_ms).failures == ()
            group = evaluator.evaluate_records(asked, now_ms)
            if now_ms in INSTANTS:
                found |= answers(group, EXPRESSIONS, now_ms)
        evaluator.accept(scrape)
    return found


def record(server: Prometheus, name: str) -> None:
    """Evaluate a rule all along, and store its results."""
    stored: dict[LabelSet, list[Sample]] = {}
    for t_ms in range(BASE_MS, BASE_MS + (POLLS - 2) * STEP_MS, EVERY_MS):
        found = server.query(RULES[name], t_ms)
        results = {
            frozenset({**dict(labels), "__name__": name, "cluster": CLUSTER}.items()): value
            for labels, value in found.items()
        }
        for labels in results.keys() | stored.keys():
            samples = stored.setdefault(labels, [])
            if labels in results or (samples and samples[-1][1] is not None):
                samples.append((t_ms, results.get(labels)))
    server.write([TimeSeries(dict(labels), samples) for labels, samples in stored.items()])


@pytest.fixture(scope="module", params=[4, 5])
def recorded(
    request: pytest.FixtureRequest, prometheus_program: Path
) -> Iterator[Sequence[Answers]]:
    """What both say: ours, Prometheus'."""
    world = make(request.param, steady=False)
    with Prometheus() as server:
        server.start()
        server.write(world.time_series())
        for name in RULES:
            record(server, name)
        yield ours(world), prometheus(server, EXPRESSIONS, INSTANTS)


def test_recorded_names_and_their_past_are_equal(recorded: Sequence[Answers]) -> None:
    mine, theirs = recorded
    found = mismatches(mine, theirs)
    assert not found, told(found)


def test_every_expression_over_recorded_names_has_results(recorded: Sequence[Answers]) -> None:
    _, theirs = recorded
    empty = {expr for expr in EXPRESSIONS if not any(theirs[expr, t].results for t in INSTANTS)}
    assert set() == empty
