"""Aggregations: Prometheus' results, edge cases first."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.promql.aggregations import means, sums
from streams.core.promql.ranked import VALUES_MAX
from tests.evaluation import World, by_labels

INF, NAN = math.inf, math.nan
SERIES = """
m{i="1",g="a"} 1
m{i="2",g="a"} NaN
m{i="3",g="a"} +Inf
m{i="4",g="a"} -Inf
m{i="5",g="b"} NaN
m{i="6",g="b"} NaN
m{i="7",g="c"} -2.5
m{i="8",g="c"} 2.5
m{i="9",g="c"} 0
m{i="10",g="d"} +Inf
m{i="11",g="d"} +Inf
n{i="1"} 1
n{i="2"} 2
n{i="3"} 4
big{i="1"} 1e308
big{i="2"} 1.5e308
big{i="3"} 1e308
small{i="1"} 1e100
small{i="2"} 1
small{i="3"} -1e100
"""


def world_of(expression: str, text: str = SERIES) -> World:
    world = World([expression])
    world.scrape(text, 0)
    return world


def by(label: str, expression: str) -> dict[str, float]:
    """Return the values of the results by one of their labels."""
    found = world_of(expression).live(0)
    return {dict(result.labels).get(label, ""): result.value for result in found}


def groups(a: float, b: float, c: float, d: float) -> object:
    return pytest.approx({"a": a, "b": b, "c": c, "d": d}, nan_ok=True)


@pytest.mark.parametrize(
    "aggregation, expected",
    [
        ("sum", groups(NAN, NAN, 0, INF)),
        ("avg", groups(NAN, NAN, 0, INF)),
        ("min", groups(-INF, NAN, -2.5, INF)),
        ("max", groups(INF, NAN, 2.5, INF)),
        ("count", groups(4, 2, 3, 2)),
        ("group", groups(1, 1, 1, 1)),
        ("stdvar", groups(NAN, NAN, 12.5 / 3, NAN)),
        ("stddev", groups(NAN, NAN, math.sqrt(12.5 / 3), NAN)),
    ],
)
def test_numbers_that_are_none(aggregation: str, expected: object) -> None:
    assert by("g", f"{aggregation} by (g) (m)") == expected


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("avg(big)", 1.1666666666666667e308),
        ("sum(big)", INF),
        ("stddev(big)", INF),
        ("sum(small)", 1.0),
        ("avg(small)", 1 / 3),
        ("stdvar(n)", 14 / 9),
        ("stdvar(n > 2)", 0.0),
        ("group(n)", 1.0),
        ("avg(n / 0)", INF),
        ("avg(-n / 0)", -INF),
        ("quantile(0.5, n)", 2.0),
        ("quantile(0.25, n)", 1.5),
        ("quantile(1, n)", 4.0),
        ("quantile(-1, n)", -INF),
        ("quantile(1.0000001, n)", INF),
        ("quantile(NaN, n)", NAN),
        ("quantile(scalar(gone), n)", NAN),
        ("quantile(0, m)", NAN),  # NaN is the least value
        ("quantile(0.5, m)", 0.0),
        ('quantile(1, m{g="d"})', NAN),  # Inf * 0: no weight for the value above
        ("quantile(0.9, n > 2)", 4.0),
    ],
)
def test_one_group(expression: str, expected: float) -> None:
    assert by("", expression) == pytest.approx({"": expected}, nan_ok=True)


def test_quantiles_of_groups() -> None:
    assert by("g", "quantile by (g) (0.5, m)") == groups(-INF, NAN, 0, INF)


@pytest.mark.parametrize(
    "aggregation", ["group", "stddev", "topk(1,", "quantile(0.5,", 'count_values("v",']
)
def test_nothing_of_nothing(aggregation: str) -> None:
    separator = "" if aggregation.endswith(",") else "("
    assert world_of(f"{aggregation}{separator}gone)").live(0) == []
    assert world_of(f"{aggregation}{separator}n > 9)").live(0) == []


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("topk by (g) (2, m)", {"1", "3", "5", "6", "8", "9", "10", "11"}),
        ("bottomk by (g) (2, m)", {"1", "4", "5", "6", "7", "9", "10", "11"}),
        ("topk by (g) (3, m)", {"1", "3", "4", "5", "6", "7", "8", "9", "10", "11"}),
        ("topk(0, n)", set()),
        ("topk(-1, n)", set()),
        ("topk(0.5, n)", set()),
        ("topk(1.9, n)", {"3"}),
        ("topk(100, n)", {"1", "2", "3"}),
        ("topk(2, n < 4)", {"1", "2"}),
        ('topk(scalar(n{i="2"}), n)', {"2", "3"}),
        ("bottomk(1, n)", {"1"}),
        ("topk without (i) (1, n)", {"3"}),
        ("topk(2, n * 0)", {"1", "2"}),
    ],
)
def test_the_largest_and_the_least(expression: str, expected: set[str]) -> None:
    assert set(by("i", expression)) == expected


def test_topk_keeps_values_and_labels() -> None:
    assert world_of("topk(1, n)").live(0) == [by_labels({"__name__": "n", "i": "3"}, 4.0)]


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a")])
def test_of_equal_rows_those_are_taken_whose_labels_come_first(order: tuple[str, ...]) -> None:
    world = world_of("topk(2, n)", "".join(f'n{{i="{i}"}} 7\n' for i in order))
    assert {dict(result.labels)["i"] for result in world.live(0)} == {"a", "b"}


@pytest.mark.parametrize("k", ["scalar(gone)", "1 / 0", 'scalar(n{i="9"})', "10 ^ 19", "-1 / 0"])
def test_a_parameter_that_is_no_number_of_rows_fails_alone(k: str) -> None:
    ((_, reason),) = world_of(f"topk({k}, n)").group(0).failures
    assert reason.endswith("is no number of series")
    assert world_of(f"topk({k}, gone)").group(0).failures == ()


@pytest.mark.parametrize(
    "expression, expected",
    [
        (
            'count_values("v", m)',
            {"+Inf": 3, "-2.5": 1, "-Inf": 1, "0": 1, "1": 1, "2.5": 1, "NaN": 3},
        ),
        ('count_values("v", n * 1e20)', {f"{n}00000000000000000000": 1 for n in (1, 2, 4)}),
        ('count_values("v", n / 1e10)', {f"0.000000000{n}": 1 for n in (1, 2, 4)}),
        ('count_values("v", n * 0 * -1)', {"-0": 3}),
        ('count_values by (g) ("v", m{g="d"})', {"+Inf": 2}),
        ('count_values without (i, v) ("v", m{g="c"})', {"": 3}),
    ],
)
def test_count_values(expression: str, expected: dict[str, float]) -> None:
    assert by("v", expression) == expected


@pytest.mark.parametrize(
    "expression, labels",
    [
        ('count_values by (g) ("v", m{g="d"})', {"g": "d", "v": "+Inf"}),
        ('count_values by (g) ("g", m{g="d"})', {"g": "+Inf"}),
        ('count_values without (i) ("v", m{g="d"})', {"g": "d", "v": "+Inf"}),
        ('count_values("__name__", m{g="d"})', {"__name__": "+Inf"}),
    ],
)
def test_the_labels_of_counted_values(expression: str, labels: dict[str, str]) -> None:
    assert world_of(expression).live(0) == [by_labels(labels, 2.0)]


def test_too_many_different_values_fail_alone() -> None:
    text = "".join(f'n{{i="{i}"}} {i}\n' for i in range(VALUES_MAX + 1))
    ((_, reason),) = world_of('count_values("v", n)', text).group(0).failures
    assert reason == f"count_values: more than {VALUES_MAX} different values"
    assert world_of(f'count_values("v", n < {VALUES_MAX})', text).group(0).failures == ()


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-1e9, 1e9)), min_size=1, max_size=30))
def test_sums_and_means_are_those_of_exact_arithmetic(rows: list[tuple[int, float]]) -> None:
    ids = np.array([group for group, _ in rows])
    values = np.array([value for _, value in rows])
    exact = [math.fsum(value for group, value in rows if group == i) for i in range(4)]
    assert sums(values, ids, 4) == pytest.approx(exact, rel=1e-12, abs=1e-300)
    for i, mean in enumerate(means(values, ids, 4).tolist()):
        count = int((ids == i).sum())
        assert math.isnan(mean) if not count else mean == pytest.approx(exact[i] / count)
