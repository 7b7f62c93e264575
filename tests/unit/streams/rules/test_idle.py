"""Rules that a story cannot wake are left out, and no others."""

import pytest

from streams.core.rules.model import RecordingRule
from streams.core.rules.unittests.idle import awake


def rules(*exprs: str) -> list[RecordingRule]:
    return [RecordingRule(f"r:{i}:x", expr, {}, 1) for i, expr in enumerate(exprs)]


@pytest.mark.parametrize(
    "expr", ["x", "sum(rate(x[5m])) / y", "z or x", "x unless y", "max_over_time(x[5m:])"]
)
def test_a_rule_sleeps_without_its_series(expr: str) -> None:
    assert awake(rules(expr), ["other"]) == set()
    assert awake(rules(expr), ["x"]) == {0}


@pytest.mark.parametrize(
    "expr",
    [
        *("absent(x)", "absent_over_time(x[5m])", "x or vector(0)", "time()", "hour() > x", "1"),
        *('{__name__=~"x.*"}', '{job="a"}', "vector(scalar(x))", "not PromQL ("),
    ],
)
def test_what_may_come_of_nothing_is_awake(expr: str) -> None:
    assert awake(rules(expr), []) == {0}


def test_a_rule_wakes_those_that_read_its_record() -> None:
    chain = rules("r:1:x", "r:2:x", "x", "r:4:x", "y")
    assert awake(chain, ["x"]) == {0, 1, 2}


def test_older_names_are_todays() -> None:
    assert awake(rules("apiserver_storage_objects"), ["apiserver_resource_objects"]) == {0}
    assert awake(rules("apiserver_resource_objects"), ["apiserver_storage_objects"]) == {0}
