"""Rule tests, run by our engine: what must follow from series, and what people are told."""

from typing import Any

import pytest
import yaml

from streams.core.rules.entries import Problems
from streams.core.rules.unittests.run import Failure, RateSemantics, run_file
from streams.core.rules.unittests.testfile import parse

RULES = """
groups:
  - name: g
    rules:
      - {record: "sum:of:y", expr: sum by (x) (y)}
      - alert: High
        expr: sum:of:y > 5
        for: 2m
        labels: {severity: warning}
        annotations: {summary: "{{ $labels.x }} is {{ $value }}"}
      - {alert: Down, expr: up == 0}
"""


def run(
    story: dict[str, Any],
    rules: str = RULES,
    *,
    semantics: RateSemantics = RateSemantics.PROMETHEUS,
    **more: Any,
) -> list[Failure]:
    """Run one story; intervals are a minute."""
    text = yaml.safe_dump({"rule_files": ["r.yaml"], "tests": [story], **more})
    problems = Problems()
    found = parse("t.yaml", text, problems)
    assert found is not None and not problems.found, problems.found
    return run_file(found, {"r.yaml": rules}, semantics)


def series(**values: str) -> list[dict[str, str]]:
    """Return input series; `y_a` is y{x="a"}."""
    return [
        {"series": f'{name[0]}{{x="{name[2:]}"}}' if "_" in name else name, "values": text}
        for name, text in values.items()
    ]


def asks(expr: str, t: str, *expected: tuple[str, float]) -> dict[str, Any]:
    samples = [{"labels": labels, "value": value} for labels, value in expected]
    return {"expr": expr, "eval_time": t, "exp_samples": samples}


def high(t: str, *labels: dict[str, str], **annotations: str) -> dict[str, Any]:
    alerts = [
        {"exp_labels": {"severity": "warning", **one}, "exp_annotations": annotations}
        for one in labels
    ]
    return {"eval_time": t, "alertname": "High", "exp_alerts": alerts}


def test_an_alert_fires_when_its_time_has_come() -> None:
    story = {
        "input_series": series(y_a="1 6x5", y_b="1x6"),
        "alert_rule_test": [
            high("2m59s"),  # judged as of 2m
            high("3m", {"x": "a"}, summary="a is 6"),
        ],
    }
    assert run(story) == []


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (high("3m"), ["got:", 'labels: {alertname="High", severity="warning", x="a"}']),
        (high("3m", {"x": "b"}, summary="a is 6"), ['-   labels: {alertname="High"', 'x="b"}']),
        (high("3m", {"x": "a"}, summary="a is 7"), ["-     summary: a is 7", "+     summary: a"]),
        (high("3m", {"x": "a"}), ["+     summary: a is 6"]),
        (high("1m", {"x": "a"}, summary="a is 6"), ["nothing", "alertname: High, time: 1m"]),
        (high("3m", *[{"x": "a"}] * 2, summary="a is 6"), ["difference"]),
        (asks("y", "1m"), ["got:", 'y{x="a"} 6.0']),
        (asks("y", "1m", ('y{x="a"}', 6.0001)), ["- ", "+ "]),
        (asks("y", "1m", ('{x="a"}', 6)), ["- ", "+ "]),
        (asks("sum(", "1m"), ["not PromQL"]),
        (asks("1", "1m", ("{}", 2)), ["{} 1.0"]),
        (asks("1", "1m", ("x{", 2)), ["labels: cannot read"]),
        (
            {"expr": "y", "eval_time": "0", "exp_samples": [{"labels": "y", "histogram": "{{}}"}]},
            ["native histograms are not supported"],
        ),
    ],
)
def test_what_is_not_so_is_told(check: dict[str, Any], told: list[str]) -> None:
    kind = "promql_expr_test" if "expr" in check else "alert_rule_test"
    (failure,) = run({"name": "why", "input_series": series(y_a="1 6x5"), kind: [check]})
    for text in ["name: why", *told]:
        assert text in str(failure)


def test_expressions_see_series_and_records() -> None:
    story = {
        "input_series": series(y_a="1+1x5", y_b="2x5"),
        "promql_expr_test": [
            asks("sum:of:y", "2m", ('sum:of:y{x="b"}', 2), ('sum:of:y{x="a"}', 3)),
            asks("y * 2", "4m", ('{x="a"}', 10), ('{x="b"}', 4)),
            asks("time()", "3m", ("{}", 180)),
            asks("time()", "0m", ("{}", 0)),
            asks("vector(1) / 3", "0", ("{}", 1 / 3)),
            asks("nothing", "0"),
        ],
    }
    assert run(story) == []


def test_a_point_that_is_missing_leaves_the_one_before_for_five_minutes() -> None:
    story = {
        "input_series": series(y_a="1 _x9", y_b="1 stale _x9", y_c="1"),
        "promql_expr_test": [
            asks("y", "0", *((f'y{{x="{x}"}}', 1) for x in "abc")),
            asks("y", "4m", ('y{x="a"}', 1), ('y{x="c"}', 1)),
            asks("y", "5m1s"),
        ],
    }
    assert run(story) == []


def test_up_is_what_the_story_says() -> None:
    rows = [
        {"series": 'up{job="kube-apiserver", zone="z"}', "values": "1 0"},
        {"series": 'up{job="b"}', "values": "1 2"},
    ]
    expected = {"exp_labels": {"job": "kube-apiserver", "zone": "z"}}
    story = {
        "input_series": rows,
        "alert_rule_test": [{"eval_time": "1m", "alertname": "Down", "exp_alerts": [expected]}],
        "promql_expr_test": [
            asks("up > 0", "1m", ('up{job="b"}', 2)),
        ],
    }
    assert run(story) == []


def test_labels_come_back_as_they_were_written() -> None:
    labels = '{cluster="c", instance="i", job="kube-dns", le="1.50", exported_job="e"}'
    story = {
        "input_series": [{"series": f"y{labels}", "values": "1"}],
        "promql_expr_test": [
            asks("y", "0", (f"y{labels}", 1)),
            asks("sum by (cluster) (y)", "0", ('{cluster="c"}', 1)),
            asks("absent(nothing)", "0", ("{}", 1)),
        ],
    }
    assert run(story) == []


def test_an_alert_whose_inputs_vanished_has_ended() -> None:
    story = {
        "input_series": [{"series": "up", "values": "0 stale"}],
        "alert_rule_test": [
            {"eval_time": "0", "alertname": "Down", "exp_alerts": [{}]},
            {"eval_time": "1m", "alertname": "Down", "exp_alerts": []},
        ],
    }
    assert run(story) == []


def test_recorded_names_may_be_given_as_series() -> None:
    rows = [
        {"series": 'sum:of:y{x="given"}', "values": "9x9"},
        *series(y_a="1x9"),
    ]
    story = {
        "input_series": rows,
        "alert_rule_test": [high("3m", {"x": "given"}, summary="given is 9")],
        "promql_expr_test": [
            asks("sum:of:y", "3m", ('sum:of:y{x="given"}', 9), ('sum:of:y{x="a"}', 1))
        ],
    }
    assert run(story) == []


def test_windows_over_recorded_names_see_given_samples_at_their_own_times() -> None:
    story = {
        "interval": "30s",
        "input_series": [{"series": 'sum:of:y{x="g"}', "values": "1 2 _ 4 5 stale"}],
        "promql_expr_test": [
            asks("count_over_time(sum:of:y[3m])", "2m", ('{x="g"}', 4)),
            asks("sum_over_time(sum:of:y[3m])", "2m", ('{x="g"}', 12)),
            asks("sum_over_time(sum:of:y[1m])", "2m", ('{x="g"}', 9)),
            asks("sum:of:y", "3m"),
        ],
    }
    assert run(story) == []


def test_alerts_are_series_for_the_rules_after_them() -> None:
    rules = """
groups:
  - name: g
    rules:
      - {alert: A, expr: y > 0, for: 1m}
      - {alert: B, expr: 'ALERTS{alertname="A", alertstate="firing"} == 1'}
      - {record: "of:the:alerts", expr: count by (alertstate) (ALERTS)}
"""
    story = {
        "input_series": series(y="1x9"),
        "alert_rule_test": [
            {"eval_time": "0", "alertname": "B", "exp_alerts": []},
            {
                "eval_time": "1m",
                "alertname": "B",
                "exp_alerts": [{"exp_labels": {"alertstate": "firing"}}],
            },
        ],
        "promql_expr_test": [
            asks("of:the:alerts", "0", ('of:the:alerts{alertstate="pending"}', 1)),
            asks('ALERTS_FOR_STATE{alertname="A"}', "2m", ('ALERTS_FOR_STATE{alertname="A"}', 0)),
        ],
    }
    assert run(story, rules) == []


@pytest.mark.parametrize(("order", "seen"), [(["late", "early"], 1), (["early", "late"], 2)])
def test_groups_are_evaluated_in_the_order_of_the_file(order: list[str], seen: float) -> None:
    rules = """
groups:
  - {name: late, rules: [{record: "b:b:b", expr: "a:a:a"}]}
  - {name: early, rules: [{record: "a:a:a", expr: y}]}
"""
    story = {
        "input_series": series(y="1+1x9"),
        "promql_expr_test": [asks("b:b:b", "1m", ("b:b:b", seen))],
    }
    assert run(story, rules, group_eval_order=order) == []


@pytest.mark.parametrize(
    ("semantics", "expected"), [(RateSemantics.PROMETHEUS, 3.75), (RateSemantics.LINEAR, 3)]
)
def test_rates_are_extrapolated_or_counted(semantics: RateSemantics, expected: float) -> None:
    story = {
        "input_series": series(y="10 10 11 11 13 13"),
        "promql_expr_test": [asks("increase(y[5m])", "5m", ("{}", expected))],
    }
    assert run(story, semantics=semantics) == []


def test_external_labels_are_for_templates_alone() -> None:
    rules = (
        "groups: [{name: g, rules: [{alert: A, expr: y, annotations: "
        '{s: "{{ $externalLabels.region }}{{ .ExternalLabels.region }}{{ $externalLabels.x }}"}}]}]'
    )
    story = {
        "external_labels": {"region": "r"},
        "input_series": series(y="1"),
        "alert_rule_test": [
            {"eval_time": "0", "alertname": "A", "exp_alerts": [{"exp_annotations": {"s": "rr"}}]}
        ],
    }
    assert run(story, rules) == []


def test_the_story_ends_where_a_rule_fails() -> None:
    rules = 'groups: [{name: g, rules: [{record: "a:b:c", expr: y * on() group_left z}]}]'
    story = {
        "input_series": [*series(y="1x9"), *series(z_a="_ 1x9", z_b="_ 1x9")],
        "promql_expr_test": [asks("y", "0", ("y", 1)), asks("y", "9m", ("y", 2))],
    }
    (failure,) = run(story, rules)
    assert "rule: a:b:c, time: 1m" in str(failure)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"series": "x{", "values": "1"}, "t.yaml:5: series: cannot read"),
        ({"series": "x", "values": "a"}, "values: cannot read 'a'"),
        ({"series": "x", "values": "{{sum:1}}"}, "values: native histograms are not supported"),
    ],
)
def test_a_series_that_cannot_be_read_spoils_its_story_alone(
    wrong: dict[str, str], told: str
) -> None:
    stories = [
        {"name": "spoilt", "input_series": [wrong], "promql_expr_test": [asks("y", "0", ("y", 9))]},
        {
            "name": "good",
            "input_series": series(y="1"),
            "promql_expr_test": [asks("y", "0", ("y", 9))],
        },
    ]
    spoilt, good = run(stories[0], tests=stories)
    assert told in str(spoilt)
    assert "name: good" in str(good)


def test_a_rule_that_is_refused_is_a_failure_and_all_others_are_tested() -> None:
    rules = RULES + '      - {record: "a:b:c", expr: sum(}\n'
    story = {"input_series": series(y_a="1"), "promql_expr_test": [asks("y", "0")]}
    refused, wrong = run(story, rules)
    assert "r.yaml:12: not PromQL" in str(refused)
    assert 'expr: "y", time: 0s' in str(wrong)


@pytest.mark.parametrize(
    ("start", "expected"), [("1700000000", 1.7e9), ("2023-11-14T22:13:20Z", 1.7e9)]
)
def test_a_story_may_begin_at_another_time(start: str, expected: float) -> None:
    story = {
        "start_timestamp": start,
        "input_series": series(y="1x9"),
        "promql_expr_test": [
            asks("time()", "1m", ("{}", expected + 60)),
            asks("y", "3m", ("y", 1)),
        ],
    }
    assert run(story) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file says nothing"),
        ("tests: [{input_serie: []}]", "unknown field input_serie"),
        ("tests: [{alert_rule_test: [{eval_time: 1m}]}]", "alertname is missing"),
        ("tests: [{alert_rule_test: [{eval_time: soon, alertname: A}]}]", "eval_time: 'soon'"),
        ("tests: [{promql_expr_test: [{eval_time: 1m}]}]", "expr is missing"),
        ("group_eval_order: [a, a]", "group name repeated in evaluation order: a"),
        ("rule_files: a", "rule_files must be a list"),
        ("tests: [{start_timestamp: soon}]", "neither seconds since 1970"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(text: str, told: str) -> None:
    problems = Problems()
    parse("t.yaml", text, problems)
    assert told in "\n".join(map(str, problems.found))
    assert all(str(one).startswith("t.yaml:1: ") for one in problems.found)


def test_a_story_may_be_long() -> None:
    story = {
        "interval": "200y",
        "promql_expr_test": [asks("time()", "200y", ("{}", 200 * 365 * 86400))],
    }
    assert run(story, evaluation_interval="100y") == []


def test_steps_are_bounded() -> None:
    (failure,) = run({"promql_expr_test": [asks("time()", "100y")]}, evaluation_interval="1s")
    assert "more than 5000000 steps" in str(failure)


def test_given_samples_of_a_recorded_name_stand_for_five_minutes() -> None:
    story = {
        "input_series": [{"series": "sum:of:y", "values": "9 _x9"}],
        "promql_expr_test": [
            asks("sum:of:y", "4m59s", ("sum:of:y", 9)),
            asks("sum:of:y", "5m"),
        ],
    }
    assert run(story) == []


@pytest.mark.parametrize("semantics", RateSemantics)
def test_an_alert_need_not_have_seen_its_window(semantics: RateSemantics) -> None:
    rules = "groups: [{name: g, rules: [{alert: A, expr: 'increase(y[1h]) > 0'}]}]"
    story = {
        "input_series": series(y="1 2 3"),
        "alert_rule_test": [{"eval_time": "1m", "alertname": "A", "exp_alerts": [{}]}],
    }
    assert run(story, rules, semantics=semantics) == []


def test_an_alert_that_is_kept_says_what_it_said() -> None:
    rules = (
        "groups: [{name: g, rules: [{alert: A, expr: y > 1, keep_firing_for: 2m, "
        'annotations: {s: "{{ $value }}"}}]}]'
    )
    kept = [{"exp_annotations": {"s": "3"}}]
    story = {
        "input_series": series(y="2 3 0 0 0"),
        "alert_rule_test": [
            {"eval_time": "3m", "alertname": "A", "exp_alerts": kept},
            {"eval_time": "4m", "alertname": "A", "exp_alerts": []},
        ],
    }
    assert run(story, rules) == []


def test_of_a_series_that_is_there_twice_the_last_counts() -> None:
    rows = [
        {"series": 'y{a="1", b="2"}', "values": "1"},
        {"series": 'y{b="2",a="1"}', "values": "2"},
    ]
    story = {
        "input_series": rows,
        "promql_expr_test": [asks("y", "0", ('y{a="1", b="2"}', 2))],
    }
    assert run(story) == []
