"""The past of series: functions of ranges, offset, @, subqueries, recorded names over time."""

import numpy as np
import pytest

from schemas.records import Outcome
from streams.core.evaluate import Evaluator
from streams.core.promql.history import LEVEL, History
from streams.core.rules.files import load_rules
from tests.evaluation import Result, World, by_labels
from tests.scrapes import CLUSTER, scrape

STEP = 5_000


def gauge(value: float, s: str = "a") -> str:
    return f'g{{s="{s}"}} {value}\n'


def world(*expressions: str, values: list[float | None]) -> World:
    made = World(expressions)
    for step, value in enumerate(values):
        made.scrape("always 1\n" + ("" if value is None else gauge(value)), step * STEP)
    return made


def one(expression: str, values: list[float | None], t_ms: int | None = None) -> list[Result]:
    at_ms = (len(values) - 1) * STEP if t_ms is None else t_ms
    return world(expression, values=values).aligned(at_ms)


@pytest.mark.parametrize(
    "expression, value",
    [
        # samples at 10, 15, 20 s: 4 2 8
        ("avg_over_time(g[15s])", 14 / 3),
        ("sum_over_time(g[15s])", 14),
        ("min_over_time(g[15s])", 2),
        ("max_over_time(g[15s])", 8),
        ("count_over_time(g[15s])", 3),
        ("last_over_time(g[15s])", 8),
        ("present_over_time(g[15s])", 1),
        ("stdvar_over_time(g[15s])", 56 / 9),
        ("quantile_over_time(0.5, g[15s])", 4),
        ("quantile_over_time(0.25, g[15s])", 3),
        ("changes(g[15s])", 2),
        ("resets(g[15s])", 1),
        ("idelta(g[15s])", 6),
        ("irate(g[15s])", 6 / 5),
        ("deriv(g[15s])", 0.4),
        ("predict_linear(g[15s], 10)", 14 / 3 + 0.4 * 15),
        ("delta(g[15s])", 4 * 15 / 10),  # 5 s beyond the first sample is within 1.1 intervals
        ("max_over_time(g[15s] offset 5s)", 4),
        ("g offset 10s", 4),
        ("g @ end() offset 15s", 3),
        ("sum_over_time(g[10s:5s])", 10),
        ("max_over_time((g > 3)[20s:5s])", 8),
        ("max_over_time(max(g)[20s:5s] offset 10s)", 4),
        ("sum_over_time((g @ end())[15s:5s])", 24),
        ("timestamp(g)", 20),
        ("timestamp(g offset 5s)", 15),
    ],
)
def test_functions_of_ranges(expression: str, value: float) -> None:
    (result,) = one(expression, [1, 3, 4, 2, 8])
    assert result.value == pytest.approx(value)


def test_the_mean_of_a_constant_is_the_constant() -> None:
    for samples in range(2, 20):
        (result,) = one("avg_over_time(g[1h]) == g", [0.1] * samples)
        assert result.value == 0.1
    (result,) = one("avg_over_time(g[1h])", [1.7e308, 1.7e308])
    assert result.value == 1.7e308


def test_a_range_does_not_hold_its_first_moment() -> None:
    assert [r.value for r in one("count_over_time(g[10s])", [1, 1, 1, 1])] == [2.0]
    assert one("count_over_time(g[10s])", [1, 1, None, None], 15_000) == []


def test_functions_of_one_sample_that_need_two_have_no_result() -> None:
    for name in ("irate", "idelta", "delta", "deriv"):
        assert one(f"{name}(g[5s])", [1, 2]) == []


def test_absent_over_time_is_there_while_nothing_is() -> None:
    expression = 'absent_over_time(g{s="a"}[10s])'
    assert one(expression, [1, 1]) == []
    assert one(expression, [1, None, None, None]) == [by_labels({"s": "a"}, 1.0)]


def test_offset_finds_nothing_where_a_scrape_failed() -> None:
    made = world("g offset 10s", "count_over_time(g[20s])", values=[1, 2])
    made.scrape("", 2 * STEP, outcome=Outcome.TIMEOUT)
    made.scrape(gauge(4), 3 * STEP)
    made.scrape(gauge(5), 4 * STEP)
    (count,) = made.aligned(20_000)
    assert count.value == 3


def test_up_over_time_counts_failed_scrapes() -> None:
    made = world("avg_over_time(up[20s])", values=[1, 2, 3])
    made.scrape("", 3 * STEP, outcome=Outcome.TIMEOUT)
    made.scrape("", 4 * STEP, outcome=Outcome.SKIPPED)
    (result,) = made.aligned(20_000)
    assert result.value == pytest.approx(2 / 3)


def test_a_subquery_sees_the_leader_changes_of_all_members() -> None:
    made = World(["increase(max(changes_total)[1m:5s])"])
    for step in range(13):
        for member, value in (("a", 0), ("b", 2 if step > 6 else 1)):
            made.scrape(f"changes_total {value}\n", step * STEP, instance=member)
    (result,) = made.aligned(60_000)
    assert result.value == pytest.approx(12 / 11)


def test_recorded_names_have_a_past() -> None:
    text = """
groups:
- name: g
  interval: 5s
  rules:
  - {record: "a:b:sum", expr: sum(g)}
  - {record: "a:b:max", expr: "max_over_time(a:b:sum[10s])"}
  - {record: "a:b:then", expr: "a:b:sum offset 10s"}
"""
    rules = load_rules({"test.yaml": text})
    evaluator = Evaluator(rules, CLUSTER)
    for step, value in enumerate([9, 7, 5, 6, 4]):
        evaluator.accept(scrape(gauge(value), step * STEP))
        found = evaluator.evaluate_records(rules.groups[0], step * STEP)
    rows = {row["metric"]: row["value"] for row in found.rows.to_pylist()}
    assert rows == {"a:b:sum": 4, "a:b:max": 6, "a:b:then": 5}


def test_sums_of_rates_are_those_of_each_series() -> None:
    aggregated = "sum by (s, le) (increase(h_bucket[1m]))"
    apart = "sum by (s, le) (increase(h_bucket[1m]) > -1)"  # the comparison keeps them apart
    whole = 'sum(increase(h_bucket{le=~"1|2"}[1m]))'
    whole_apart = 'sum(increase(h_bucket{le=~"1|2"}[1m]) > -1)'
    for expression, other in ((aggregated, apart), (whole, whole_apart)):
        results = []
        for each in (expression, other):
            made = World([each])
            for step in range(8):
                text = "# TYPE h histogram\n" + "".join(
                    f'h_bucket{{s="{s}",v="{v}",le="{le}"}} {step * k * n}\n'
                    + (f'h_sum{{s="{s}",v="{v}"}} 1\nh_count{{s="{s}",v="{v}"}} {step * k * 3}\n')
                    * (le == "+Inf")
                    for k, (s, v) in enumerate([("a", "x"), ("a", "y"), ("b", "x")], 1)
                    for n, le in enumerate(["1", "2", "+Inf"], 1)
                )
                for instance in ("a", "b"):
                    made.scrape(text, step * STEP, instance=instance)
            found = made.live(7 * STEP)
            results.append(sorted((r.labels, round(r.value, 9)) for r in found))
        assert results[0] == results[1] != []


def test_a_live_evaluation_computes_only_what_a_scrape_changed() -> None:
    made = World(["sum(rate(x_total[1m]))", 'max(y{job="etcd"}) + 1', "sum(y) by (job)"])
    for job in ("apiserver", "etcd"):
        for step in range(3):
            made.scrape(f"x_total {step}\ny {step}\n", step * STEP, job=job)
    evaluator = made.evaluator
    nodes = [node for _, node in evaluator._program.records["g"]]

    def values() -> list[object]:
        context = evaluator._context(3 * STEP, live=True)
        return [context.value(node) for node in nodes]

    first = values()
    assert all(a is b for a, b in zip(first, values(), strict=True))
    made.scrape("x_total 9\ny 9\n", 3 * STEP, job="apiserver")
    assert [a is b for a, b in zip(first, values(), strict=True)] == [False, True, False]


def test_what_was_counted_before_a_window_leaves_no_trace_in_it() -> None:
    found = []
    for base in (0, 10**15):
        history = History(600_000)
        for t_ms, count in ((0, 0), (3_000, 7), (10_000, 8), (13_000, 19)):
            history.add(t_ms, np.array([base + count], np.float64))
        found += [history.increase(1_000, 13_000, 1), history.increase(1_000, 11_000, 1)]
    assert [one.tobytes() for one in found[:2]] == [one.tobytes() for one in found[2:]]


def test_old_vectors_are_thinned_and_growth_is_kept() -> None:
    history, step_ms = History(600_000), 15_000
    for k in range(6 * 5760):  # six days
        history.add(k * step_ms, np.array([float(k)]))
        history.forget(k * step_ms - 4 * 86_400_000)
    newest_ms = (6 * 5760 - 1) * step_ms
    times = np.array(history.times_ms)
    assert len(times) < 1_000
    ages, gaps = newest_ms - times[:-1], np.diff(times)
    assert (gaps[ages <= 600_000] == step_ms).all()
    assert (gaps <= np.maximum(ages / (LEVEL / 2), step_ms)).all()
    for width_ms in (60_000, 3_600_000, 3 * 86_400_000):
        grown = history.increase(newest_ms - width_ms, newest_ms, 1)[0]
        assert grown == pytest.approx(width_ms / step_ms)  # a constant slope stays exact


HOUR = 3_600_000


def test_sums_reach_back_for_days() -> None:
    """Of 40 hours the newest 30; the past is one sample an hour, so nothing is thinned yet."""
    names = ("sum", "count", "avg", "present")
    made = World([*(f"{name}_over_time(g[30h])" for name in names), "sum_over_time(up[30h])"])
    for hour in range(41):
        series = gauge(hour) + (gauge(1, s="b") if hour < 20 else "")
        outcome = Outcome.TIMEOUT if hour == 35 else Outcome.OK
        made.scrape(series, hour * HOUR, interval_ms=HOUR, outcome=outcome)
    found = {(r.labels, round(r.value, 6)) for r in made.aligned(40 * HOUR)}
    seen = [hour for hour in range(11, 41) if hour != 35]
    a, b = (("s", "a"),), (("s", "b"),)
    assert found == {
        *((a, float(x)) for x in (sum(seen), len(seen), round(sum(seen) / len(seen), 6), 1)),
        *((b, float(x)) for x in (9, 1)),
        ((), 29.0),
    }


def test_sums_of_recorded_names_reach_back_for_days() -> None:
    text = """
groups:
- name: g
  interval: 1h
  rules:
  - {record: "a:b:now", expr: sum(g)}
  - {record: "a:b:avg", expr: 'avg_over_time(a:b:now{cluster!=""}[30d])'}
"""
    rules = load_rules({"test.yaml": text})
    evaluator = Evaluator(rules, CLUSTER)
    for hour in range(31 * 24):
        evaluator.accept(scrape(gauge(hour % 24), hour * HOUR, interval_ms=HOUR))
        found = evaluator.evaluate_records(rules.groups[0], hour * HOUR)
    rows = {row["metric"]: row["value"] for row in found.rows.to_pylist()}
    assert rows["a:b:avg"] == pytest.approx(11.5, rel=5e-3)  # the edge is known to 1/64 of its age
    past = evaluator.recorded_past()
    assert past is not None and len(past.sums[0].times_ms) < 500
    again = Evaluator(rules, CLUSTER)
    again.restore({}, past)
    again.accept(scrape(gauge(23), 31 * 24 * HOUR - HOUR, interval_ms=HOUR))
    rows_again = again.evaluate_records(rules.groups[0], 31 * 24 * HOUR - HOUR).rows.to_pylist()
    assert {row["metric"]: row["value"] for row in rows_again} == rows
