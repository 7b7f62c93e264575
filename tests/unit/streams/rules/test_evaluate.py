"""The evaluator of one cluster: records, alerts, inputs, and that order does not matter."""

from collections.abc import Sequence
from functools import partial
from itertools import permutations

import pytest
import yaml

from schemas.arrow import INDICATOR_SCHEMA
from schemas.records import Outcome, Status
from streams.core.evaluate import Evaluator, Inputs, Limits
from streams.core.rules.alerts import AlertBook
from streams.core.rules.files import AlertingRule, load_rules
from streams.core.samples import FactSample
from tests.evaluation import World
from tests.scrapes import CLUSTER, failed, scrape

STEP = 5_000


def evaluator(rules: str) -> Evaluator:
    indented = "".join(f"      - {line}\n" for line in rules.strip().splitlines())
    return Evaluator(
        load_rules({"f.yaml": f"groups:\n  - name: g\n    rules:\n{indented}"}), CLUSTER
    )


def rule_of(one: Evaluator) -> AlertingRule:
    return one.rules.program.alerts[0].rule


def test_results_carry_core_labels_other_labels_and_no_cluster() -> None:
    world = World(["sum by (cluster, instance, verb) (y)"])
    world.scrape('y{verb="GET"} 1\ny{verb="GET",x="1"} 2\n', 0, instance="i")
    rows = world.group(0).rows
    assert rows.schema.equals(INDICATOR_SCHEMA)
    (row,) = rows.to_pylist()
    assert (row["metric"], row["verb"], row["labels"]) == ("r:0:x", "GET", '{"instance":"i"}')
    assert (row["value"], row["coverage"]) == (3.0, 1.0)


def test_the_cluster_is_a_label_of_every_series_and_every_result() -> None:
    one = evaluator("{alert: A, expr: vector(1)}\n{alert: B, expr: 'y{cluster=\"c1\"}'}")
    one.accept(scrape("y 1\n", 0))
    assert [alert.labels["cluster"] for alert in one.evaluate_alerts(0)] == ["c1", "c1"]


def test_a_rule_cannot_take_the_cluster_away() -> None:
    one = evaluator("{alert: A, expr: vector(1), labels: {cluster: other, alertname: b}}")
    (alert,) = one.evaluate_alerts(0)
    assert (alert.labels["cluster"], alert.labels["alertname"]) == ("c1", "A")


def test_a_slow_group_that_is_late_reads_what_was_recorded_at_its_time() -> None:
    rules = load_rules(
        {
            "f.yaml": """
groups:
  - {name: quick, interval: 5s, rules: [{record: "a:b:c", expr: "y"}]}
  - {name: slow, interval: 60s, rules: [{record: "d:e:f", expr: "a:b:c"}]}
"""
        }
    )
    one = Evaluator(rules, CLUSTER)
    quick, slow = rules.groups
    for step in range(11, 60):
        one.accept(scrape(f"y {step}\n", step * STEP))
        one.evaluate_records(quick, step * STEP)
        if step in (14, 30):  # 12 and 24 are the minutes; a target was waited for
            (row,) = one.evaluate_records(slow, step // 12 * 60_000).rows.to_pylist()
            assert row["value"] == step // 12 * 12
    assert one._recorded.names == {"a:b:c"}  # nobody reads the other one
    assert len(one._recorded._noted["a:b:c"]["quick", 0]) <= 31


def test_records_are_visible_to_later_rules_of_the_set() -> None:
    world = World(["y", "r:0:x * 10", "r:1:x + r:0:x"])
    world.scrape("y 2\n", 0)
    assert [result.value for result in world.aligned(0)] == [2.0, 20.0, 22.0]


def test_a_recorded_name_ages() -> None:
    world = World(["r:1:x + 1", "y"])  # the first rule reads the evaluation before
    for step in range(2):
        world.scrape(f"y {step + 1}\n", step * STEP)
    assert [result.value for result in world.aligned(0)] == [1.0]
    assert [result.value for result in world.aligned(STEP)] == [2.0, 2.0]


def test_rules_of_several_groups_record_under_one_name() -> None:
    groups = [
        {"name": name, "rules": [{"record": "a:b:c", "expr": name, "labels": {"of": name}}]}
        for name in ("y", "z")
    ]
    groups.append({"name": "sum", "rules": [{"record": "s:s:s", "expr": "sum(a:b:c)"}]})
    rules = load_rules({"f.yaml": yaml.safe_dump({"groups": groups})})
    one = Evaluator(rules, CLUSTER)
    one.accept(scrape("y 2\nz 3\n", 0))
    results = [one.evaluate_records(group, 0).rows.to_pylist() for group in rules.groups]
    assert [5.0] == [row["value"] for row in results[2]]


def test_without_a_cluster_nothing_is_added_and_nothing_taken_away() -> None:
    one = Evaluator(evaluator("{alert: A, expr: y}").rules, "")
    one.accept(scrape('y{cluster="of the series"} 1\n', 0))
    (alert,) = one.evaluate_alerts(0)
    assert "of the series" == alert.labels["cluster"]


def test_how_much_an_alert_must_have_seen_is_a_setting() -> None:
    one = Evaluator(
        evaluator("{alert: A, expr: 'increase(x[1h]) > 0'}").rules, CLUSTER, coverage_min=0.0
    )
    one.accept(scrape("x 1\n", 0))
    one.accept(scrape("x 2\n", STEP))
    assert 1 == len(one.evaluate_alerts(STEP))


def test_an_alert_waits_for_no_record() -> None:
    one = evaluator(
        "{record: a:b:c, expr: sum(y), labels: {kept: l}}\n"
        "{alert: A, expr: 'a:b:c{kept=\"l\"} > 1', "
        "annotations: {s: '{{ $labels.kept }}{{ $value }}'}}"
    )
    one.accept(scrape("y 2\n", 0))
    (alert,) = one.evaluate_alerts(0)
    assert alert.annotations == {"s": "l2"}


def test_idle_quantiles_are_not_published() -> None:
    world = World(["histogram_quantile(0.9, h_bucket)"])
    world.scrape(
        '# TYPE h histogram\nh_bucket{le="1"} 0\nh_bucket{le="+Inf"} 0\nh_sum 0\nh_count 0\n', 0
    )
    assert world.group(0).rows.num_rows == 0


def test_a_rule_over_its_limit_fails_alone_and_visibly() -> None:
    world = World(["y", "sum(y)"], limit=2)
    world.scrape('y{s="a"} 1\ny{s="b"} 2\ny{s="c"} 3\n', 0)
    found = world.group(0)
    assert found.failures == (("r:0:x", "3 results; at most 2 are allowed"),)
    assert found.rows.num_rows == 1


def test_limits_of_the_configuration_hold_where_a_group_states_none() -> None:
    rules = "groups: [{name: g, rules: [{record: r:0:x, expr: y}, {alert: A, expr: y}]}]"
    one = Evaluator(load_rules({"f.yaml": rules}), CLUSTER, Limits(records_max=1, alerts_max=2))
    one.accept(scrape('y{s="a"} 1\ny{s="b"} 2\n', 0))
    assert one.evaluate_records(one.rules.groups[0], 0).failures == (
        ("r:0:x", "2 results; at most 1 are allowed"),
    )
    assert len(one.evaluate_alerts(0)) == 2
    one.accept(scrape('y{s="a"} 1\ny{s="b"} 2\ny{s="c"} 2\n', STEP))
    one.evaluate_alerts(STEP)
    assert one.alert_failures == (("A", "3 results; at most 2 are allowed"),)


def test_a_failed_alerting_rule_says_nothing_and_is_known() -> None:
    one = evaluator("{alert: A, expr: y * on(s) z}\n{alert: B, expr: y}")
    one.accept(scrape('y{s="a"} 2\nz{s="a"} 2\n', 0))
    assert [alert.value for alert in one.evaluate_alerts(0)] == [4.0, 2.0]
    one.accept(scrape('y{s="a"} 3\nz{s="a",t="1"} 2\nz{s="a",t="2"} 2\n', STEP))
    assert [alert.value for alert in one.evaluate_alerts(STEP)] == [3.0]
    assert one.unjudged == {"g/A"}
    ((rule, why),) = one.alert_failures
    assert rule == "A"
    assert "several series" in why
    one.accept(scrape('y{s="a"} 3\nz{s="a"} 2\n', 2 * STEP))
    assert [alert.value for alert in one.evaluate_alerts(2 * STEP)] == [6.0, 3.0]
    assert one.unjudged == frozenset()


def test_rule_labels_that_make_two_alerts_the_same_fail() -> None:
    one = evaluator("{alert: A, expr: y, labels: {s: same}}")
    one.accept(scrape('y{s="a"} 2\ny{s="b"} 2\n', 0))
    assert one.evaluate_alerts(0) == ()
    assert one.alert_failures == (("A", "the rule's labels make two alerts the same"),)


def test_an_alert_too_long_for_a_record_fails_its_rule() -> None:
    one = evaluator("{alert: A, expr: y}\n{alert: B, expr: sum(y)}")
    one.accept(scrape(f'y{{s="{"x" * 20_000}"}} 2\n', 0))
    assert [alert.rule.alert for alert in one.evaluate_alerts(0)] == ["B"]
    ((rule, why),) = one.alert_failures
    assert rule == "A"
    assert why.endswith("characters; at most 20000 are allowed")


def test_an_alert_that_saw_less_than_half_of_its_window_stays_inactive() -> None:
    one = evaluator("{alert: A, expr: 'increase(x[20s]) > 0'}")
    seen = []
    for step in range(4):
        one.accept(scrape(f"x {step + 1}\n", step * STEP))
        seen.append(len(one.evaluate_alerts(step * STEP)))
    assert seen == [0, 0, 1, 1]


def test_a_series_born_while_watched_alerts_at_once() -> None:
    one = evaluator("{alert: A, expr: 'increase(x[10m]) > 0'}")
    one.accept(scrape("y 1\n", 0))
    one.accept(scrape("y 1\nx 3\n", STEP))
    assert [alert.value for alert in one.evaluate_alerts(STEP)] == [3.0]


def test_facts_are_series_of_job_planewatch() -> None:
    one = evaluator(
        '{alert: A, expr: \'increase(lines_total{job="planewatch",level="error"}[1m]) > 0\'}\n'
        "{alert: Up, expr: up}"
    )
    for step, lines in enumerate([0, 0, 4]):
        facts = [
            FactSample("lines_total", {"level": "error", "instance": "m1"}, float(lines)),
            FactSample("age", {"lease": "l"}, 2.0),
        ]
        one.accept_facts(step * STEP, STEP, facts if lines else facts[1:])
    (alert,) = one.evaluate_alerts(2 * STEP)
    assert (alert.value, alert.labels["job"], alert.labels["instance"]) == (4.0, "planewatch", "m1")


def test_the_order_of_targets_does_not_matter() -> None:
    """Sums of floats depend on their order, so targets are added in the order of their names."""

    sizes = {"a": 1e16, "b": -1e16, "c": 0.5}

    def run(order: Sequence[str]) -> object:
        world = World(["sum(x)", "sum(increase(x[1m]))", "max by (instance) (x)", "avg(x)"])
        for step in range(4):
            for name in order:
                world.scrape(f"x {sizes[name] + step}\n", step * STEP, instance=name)
        return world.group(3 * STEP).rows.to_pylist()

    first, *others = [run(order) for order in permutations("abc")]
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    "events, expected",
    [
        pytest.param([Outcome.OK], Inputs.PRESENT, id="fresh"),
        pytest.param([Outcome.OK, Outcome.TIMEOUT], Inputs.GONE, id="failed"),
        pytest.param([Outcome.OK, Outcome.SILENT], Inputs.GONE, id="silent"),
        pytest.param([Outcome.OK, Outcome.REMOVED], Inputs.REMOVED, id="removed"),
        pytest.param([Outcome.OK, Outcome.TIMEOUT, Outcome.OK], Inputs.PRESENT, id="back"),
    ],
)
@pytest.mark.parametrize("expr", ["y > 1", "increase(y[1m]) > 0", "a:b:c > 1"])
def test_inputs_of_an_alert(events: list[Outcome], expected: Inputs, expr: str) -> None:
    one = evaluator(f"{{alert: A, expr: '{expr}'}}\n{{record: a:b:c, expr: y}}")
    for step, outcome in enumerate(events):
        for instance in ("a", "b"):
            good = outcome is Outcome.OK or instance == "b"
            one.accept(
                scrape("y 2\n", step * STEP, instance=instance)
                if good
                else failed(step * STEP, outcome, instance=instance)
            )
    t_ms = (len(events) - 1) * STEP
    assert one.inputs_present(rule_of(one), {"instance": "a"}, t_ms) is expected
    assert one.inputs_present(rule_of(one), {}, t_ms) is Inputs.PRESENT  # of b


def test_inputs_must_agree_with_the_labels_of_the_alert() -> None:
    one = evaluator("{alert: A, expr: y > 1, labels: {component: x}}")
    one.accept(scrape('y{s="1",component="z"} 2\n', 0))
    labels = {"s": "1", "component": "x", "alertname": "A", "cluster": "c1"}
    assert one.inputs_present(rule_of(one), labels, 0)
    assert not one.inputs_present(rule_of(one), {**labels, "s": "2"}, 0)


def test_inputs_grow_old() -> None:
    one = evaluator("{alert: A, expr: y > 1}\n{alert: B, expr: up == 0}")
    one.accept(scrape("y 2\n", 0))
    a, b = (plan.rule for plan in one.rules.program.alerts)
    assert one.inputs_present(a, {}, 12_500)
    assert one.inputs_present(b, {}, 12_500)
    assert not one.inputs_present(a, {}, 12_501)
    assert not one.inputs_present(b, {}, 12_501)


@pytest.mark.parametrize("expr", ["vector(1)", "absent(y)"])
def test_a_rule_that_needs_no_series_always_has_its_inputs(expr: str) -> None:
    one = evaluator(f"{{alert: A, expr: {expr}}}")
    assert one.inputs_present(rule_of(one), {}, 0)


def test_a_removed_target_ends_its_alert() -> None:
    one, book = evaluator("{alert: Down, expr: up == 0}"), AlertBook(CLUSTER, epoch=1)
    said = []
    for step, outcome in enumerate([Outcome.REFUSED, Outcome.REFUSED, Outcome.REMOVED]):
        t_ms = step * STEP
        one.accept(failed(t_ms, outcome))
        present = partial(one.inputs_present, t_ms=t_ms)
        active = one.evaluate_alerts(t_ms)
        said += book.update(active, t_ms, watermark_ms=t_ms, present=present)
    assert [(alert.status, alert.reason) for alert in said] == [
        (Status.FIRING, ""),
        (Status.RESOLVED, "target_removed"),
    ]


def test_a_target_whose_labels_changed_is_another_target() -> None:
    world = World(["increase(x[1m])"])
    world.scrape("x 1\n", 0, labels={"zone": "a"})
    world.scrape("x 5\n", STEP, labels={"zone": "b"})
    world.scrape("x 7\n", 2 * STEP, labels={"zone": "b"})
    (result,) = world.live(2 * STEP)
    assert (result.value, dict(result.labels)["zone"]) == (2.0, "b")


@pytest.mark.parametrize("live", [False, True])
def test_the_label_of_the_cluster_keeps_no_two_results_apart(live: bool) -> None:
    """Recorded results carry it, fresh aggregations do not."""
    text = """
groups:
- name: g
  rules:
  - {record: "a:b:sum", expr: sum(y)}
  - {record: "a:b:missing", expr: "a:b:sum - count(y)"}
  - {record: "a:b:either", expr: "a:b:sum or count(y)"}
  - {alert: Many, expr: "a:b:sum - on (cluster) count(y) > 0"}
"""
    rules = load_rules({"test.yaml": text})
    evaluator = Evaluator(rules, CLUSTER)
    evaluator.accept(scrape("y 5\n", 0))
    if live:
        (alert,) = evaluator.evaluate_alerts(0)
        assert (alert.value, alert.labels["cluster"]) == (4.0, CLUSTER)
        return
    rows = evaluator.evaluate_records(rules.groups[0], 0).rows.to_pylist()
    assert [(row["metric"], row["value"]) for row in rows] == [
        ("a:b:sum", 5.0),
        ("a:b:missing", 4.0),
        ("a:b:either", 5.0),
    ]
