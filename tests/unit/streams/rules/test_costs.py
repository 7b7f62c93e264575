"""What rules cost and read, and what is most likely a mistake."""

import re

import pytest

from streams.core.facts import FACTS
from streams.core.rules.costs import STEP_MS, Cost, costs, names_read, plans, steps_of
from streams.core.rules.files import RuleSet, load_rules
from streams.core.rules.lint import duplicates
from streams.rulefiles import shipped_files
from tests.fixtures import REPOSITORY


def loaded(*rules: str) -> RuleSet:
    lines = "".join(f"      - {line}\n" for line in rules)
    return load_rules({"f.yaml": f"groups:\n  - name: g\n    rules:\n{lines}"})


def cost(expr: str, *more: str, known: tuple[str, ...] = ()) -> Cost:
    return costs(loaded(f"{{record: 'a:b:c', expr: '{expr}'}}", *more), known)[0]


def test_steps_are_those_of_the_plan() -> None:
    assert 1 == cost("x").steps
    assert 2 == cost("sum(x)").steps
    assert 5 == cost("sum(x) / sum(y)").steps
    assert 3 == cost("sum(x) / sum(x)").steps  # equal ones are one
    assert 3 * STEP_MS == cost("sum(x) / sum(x)").evaluation_ms


def test_rules_share_steps() -> None:
    rules = loaded("{record: 'a:b:c', expr: sum(x)}", "{record: 'a:b:d', expr: sum(x) + 1}")
    assert [2, 4] == [one.steps for one in costs(rules, ())]
    assert 4 == steps_of(plans(rules))


@pytest.mark.parametrize(
    ("expr", "accumulators", "windows", "longest_s"),
    [
        ("x > 1", 0, 0, 0),
        ("sum(rate(x[5m]))", 1, 0, 300),
        ("rate(x[5m]) / rate(x[1h])", 1, 0, 3600),
        ("rate(x[5m]) + rate(y[10m])", 2, 0, 600),
        ("max_over_time(x[10m])", 0, 1, 600),
        ("x offset 10m", 0, 1, 900),
    ],
)
def test_what_is_kept(expr: str, accumulators: int, windows: int, longest_s: int) -> None:
    found = cost(expr)
    assert (found.accumulators, found.windows) == (accumulators, windows)
    assert longest_s * 1000 == found.longest_ms


def test_names_that_nobody_knows() -> None:
    found = cost("x_bucket + y + r:r:r", "{record: 'r:r:r', expr: z}", known=("x_count",))
    assert ("y",) == found.unknown


def test_an_alert_reads_what_its_records_read() -> None:
    rules = loaded("{record: 'a:b:c', expr: sum(x)}", "{alert: A, expr: 'a:b:c > 1'}")
    record, alert = costs(rules, ())
    assert (("x",), ("x",)) == (record.unknown, alert.unknown)
    assert {"x", "a:b:c"} == set(names_read(rules))


def test_facts_that_are_computed_are_known() -> None:
    """A new fact gets its line in FACTS, or `rules check` calls it unknown."""
    made = set()
    for file in (REPOSITORY / "streams" / "core").rglob("*.py"):
        text = file.read_text()
        made |= set(re.findall(r'FactSample\(\s*"(planewatch_\w+)"', text))
        if re.search(r"FactSample\(\s*METRIC\b", text):
            made |= set(re.findall(r'^METRIC: Final = "(\w+)"', text, re.MULTILINE))
    assert made == set(FACTS)


def test_rules_that_are_there_twice() -> None:
    rules = loaded(
        "{record: 'a:b:c', expr: x}",
        "{record: 'a:b:c', expr: y, labels: {l: a}}",
        "{record: 'a:b:c', expr: z}",
        "{alert: A, expr: x, labels: {severity: warning}}",
        "{alert: A, expr: x, labels: {severity: critical}}",
        "{alert: A, expr: y, labels: {severity: critical}}",
    )
    first, second = duplicates(rules.groups)
    assert "f.yaml:6: the record a:b:c is there twice" in str(first)
    assert "the first is at line 4" in str(first)
    assert ("y", 9) == (second.expr, second.line)


def test_ours_are_there_once() -> None:
    assert [] == duplicates(load_rules(shipped_files()).groups)


def test_one_name_in_two_files_is_no_mistake() -> None:
    text = "groups: [{name: g, rules: [{record: 'a:b:c', expr: x}]}]"
    assert [] == duplicates(load_rules({"a": text, "b": text}).groups)
