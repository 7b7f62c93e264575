"""Texts of alerts in the evaluator: labels, values, and queries on the same evaluation."""

import pytest

from streams.core.evaluate import Evaluator, Limits
from streams.core.rules.files import RuleErrors, load_rules
from tests.scrapes import CLUSTER, scrape

STEP = 5_000
RULE = """
groups:
  - name: g
    rules:
      - record: half:y
        expr: y / 2
      - alert: A
        expr: {expr}
        annotations:
          s: '{text}'
"""


def evaluator(text: str, *, expr: str = "y > 1", limits: Limits | None = None) -> Evaluator:
    rules = load_rules({"f.yaml": RULE.format(expr=expr, text=text)})
    return Evaluator(rules, CLUSTER, limits)


def texts(one: Evaluator, t_ms: int) -> list[str]:
    alerts = one.evaluate_alerts(t_ms)
    assert one.alert_failures == ()
    return [alert.annotations["s"] for alert in alerts]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("{{ $labels.__name__ }} of {{ $labels.s }} in {{ $labels.cluster }}", "y of a in c1"),
        ('{{ query "x" | first | value }}', "7"),
        ('{{ query "sum(x) + 1" | first | value }}', "8"),
        ('{{ query "2 * 3" | first | value }}', "6"),
        ('{{ with query "x > 100" }}x{{ else }}nothing{{ end }}', "nothing"),
        ('{{ query "half:y" | first | value }}', "1.5"),
        ('{{ printf `x{s="%s"}` $labels.s | query | first | label "t" }}', "of a"),
        ('{{ (query "increase(x[10s])" | first).Value }}', "3"),
        ('{{ printf `increase(x{s="%s"}[10s])` $labels.s | query | first | value }}', "3"),
        ('{{ printf `increase(x{s="%s"}[10s])` $labels.t | query | len }}', "0"),
        ('{{ range query "sort_desc(z)" }}{{ .Value }};{{ end }}', "3;2;1;"),
    ],
)
def test_text(text: str, expected: str) -> None:
    one = evaluator(text)
    z = 'z{i="1"} 2\nz{i="2"} 3\nz{i="3"} 1\n'
    one.accept(scrape(f'y{{s="a"}} 2\nx{{s="a",t="of a"}} 4\n{z}', 0))
    one.accept(scrape(f'y{{s="a"}} 3\nx{{s="a",t="of a"}} 7\n{z}', STEP))
    assert texts(one, STEP) == [expected]


def test_each_alert_gets_the_results_of_its_own_labels() -> None:
    one = evaluator('{{ printf `x{s="%s"}` $labels.s | query | first | value }}')
    one.accept(scrape('y{s="a"} 2\ny{s="b"} 3\nx{s="a"} 10\nx{s="b"} 20\n', 0))
    assert texts(one, 0) == ["10", "20"]


def test_a_query_reads_the_present() -> None:
    one = evaluator('{{ query "x" | first | value }}')
    for step in range(3):
        one.accept(scrape(f"y 2\nx {step}\n", step * STEP))
        assert texts(one, step * STEP) == [str(step)]


@pytest.mark.parametrize(
    "query, limits, reason",
    [
        ("x + on() z", Limits(), "several series of the right side"),
        ("z", Limits(records_max=2), "3 results; at most 2 are allowed"),
        ("x > 100", Limits(), "the query found nothing"),
    ],
)
def test_a_query_that_fails_is_said_in_the_text(query: str, limits: Limits, reason: str) -> None:
    one = evaluator(f'{{{{ query "{query}" | first | value }}}}', limits=limits)
    one.accept(scrape('y 2\nx 1\nz{i="1"} 1\nz{i="2"} 1\nz{i="3"} 1\n', 0))
    (text,) = texts(one, 0)
    assert text.startswith("<error expanding template: ")
    assert reason in text


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{{ query "limitk(1, x)" | len }}', "annotations.s: query 'limitk(1, x)': limitk is not"),
        ('{{ query "sum(" | len }}', "annotations.s: query: 'sum(': not PromQL"),
        ("{{ gt $value 5 }}", "annotations.s: float64 is not compared with int"),
    ],
)
def test_a_wrong_query_is_a_problem_of_its_rule(text: str, reason: str) -> None:
    with pytest.raises(RuleErrors) as caught:
        evaluator(text)
    assert str(caught.value).startswith("f.yaml:")
    assert reason in str(caught.value)


def test_what_only_a_query_reads_is_no_input_of_the_alert() -> None:
    one = evaluator('{{ query "x" | len }}')
    (plan,) = one.rules.program.alerts
    assert [selector.name for selector in plan.inputs] == ["y"]


def test_labels_of_alerts_are_templates_too() -> None:
    rules = RULE.format(expr="y > 1", text="x").replace("annotations", "labels")
    one = Evaluator(load_rules({"f.yaml": rules.replace("'x'", "'{{ $value | humanize }}'")}), "c1")
    one.accept(scrape("y 1500\n", 0))
    (alert,) = one.evaluate_alerts(0)
    assert (alert.labels["s"], "__name__" in alert.labels) == ("1.5k", False)
