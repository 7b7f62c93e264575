"""Operators, aggregations and functions, table by table, as Prometheus defines them."""

import math

import pytest

from tests.evaluation import World

SERIES = """
a{s="x",t="1"} 1
a{s="y",t="1"} 2
a{s="z",t="2"} 4
b{s="x",t="9"} 10
b{s="y",t="9"} 20
one{t="1",extra="e1"} 100
one{t="2",extra="e2"} 200
none{s="x"} NaN
"""

Rows = dict[tuple[tuple[str, str], ...], float]


def rows(expression: str) -> Rows:
    """Labels (without job, instance, cluster) and values of the result."""
    world = World([expression])
    world.scrape(SERIES, 0)
    return {result.labels: result.value for result in world.live(0)}


def of(value: float, **labels: str) -> tuple[tuple[tuple[str, str], ...], float]:
    named = {"__name__" if name == "name" else name: text for name, text in labels.items()}
    return tuple(sorted(named.items())), value


@pytest.mark.parametrize(
    "expression, expected",
    [
        # aggregations
        ("sum(a)", [of(7)]),
        ("sum by (t) (a)", [of(3, t="1"), of(4, t="2")]),
        ("sum without (s, instance, job, cluster) (a)", [of(3, t="1"), of(4, t="2")]),
        ("sum by (nothing) (a)", [of(7)]),
        ("avg(a)", [of(7 / 3)]),
        ("min by (t) (a)", [of(1, t="1"), of(4, t="2")]),
        ("max by (t) (a)", [of(2, t="1"), of(4, t="2")]),
        ("count by (t) (a)", [of(2, t="1"), of(1, t="2")]),
        ("count(a > 1)", [of(2)]),
        ("sum(absent_metric)", []),
        ("max(none)", [of(math.nan)]),
        ("sum by (__name__) (a)", [of(7, name="a")]),
        ("sum without () (a > 2)", [of(4, s="z", t="2")]),
        # a vector and a number
        ("a * 10", [of(10, s="x", t="1"), of(20, s="y", t="1"), of(40, s="z", t="2")]),
        ("1 - a", [of(0, s="x", t="1"), of(-1, s="y", t="1"), of(-3, s="z", t="2")]),
        ("a ^ 2 % 3", [of(1, s="x", t="1"), of(1, s="y", t="1"), of(1, s="z", t="2")]),
        ("a > 1", [of(2, name="a", s="y", t="1"), of(4, name="a", s="z", t="2")]),
        ("1 < a", [of(2, name="a", s="y", t="1"), of(4, name="a", s="z", t="2")]),
        ("a == bool 2", [of(0, s="x", t="1"), of(1, s="y", t="1"), of(0, s="z", t="2")]),
        ("none != 1", [of(math.nan, name="none", s="x")]),
        ("none > 1", []),
        ("-a", [of(-1, s="x", t="1"), of(-2, s="y", t="1"), of(-4, s="z", t="2")]),
        ("+(a > 2)", [of(4, name="a", s="z", t="2")]),
        ("-a{s='z'} ^ 2", [of(-16, s="z", t="2")]),
        ("a{s='x'} atan2 0", [of(math.pi / 2, s="x", t="1")]),
        ("vector(1 atan2 -0.5)", [of(math.atan2(1, -0.5))]),
        ("vector(-5 % 3)", [of(-2)]),
        ("vector(5 % -3)", [of(2)]),
        ("vector(5 % 0)", [of(math.nan)]),
        ("vector(5.5 % Inf)", [of(5.5)]),
        ("vector(Inf % 5)", [of(math.nan)]),
        ("vector((-8) ^ (1/3))", [of(math.nan)]),
        ("vector(1 ^ NaN)", [of(1)]),
        ("vector(NaN ^ 0)", [of(1)]),
        ("vector(0 ^ -1)", [of(math.inf)]),
        ("vector((-1) ^ Inf)", [of(1)]),
        ("vector(2 ^ 3 ^ 2)", [of(512)]),
        ("vector(1 == bool NaN)", [of(0)]),
        ("vector(NaN != bool NaN)", [of(1)]),
        ("none == none", []),
        ("none != none", [of(math.nan, name="none", s="x")]),
        ("2 > bool a{s='x'}", [of(1, s="x", t="1")]),
        # two vectors, one to one
        ("a == a{s='x'}", [of(1, name="a", s="x", t="1")]),
        ("a{s='x'} < on() b{s='y'}", [of(1)]),
        ("a{s='x'} < on(__name__) a{s='y'}", [of(1, name="a")]),
        ("a{s='x'} < on(__name__) b{s='y'}", []),
        ("a{s='x'} < ignoring(s, t) b{s='y'}", [of(1, name="a")]),
        ("a{s='x'} < ignoring(s, t, __name__) b{s='y'}", [of(1)]),
        ("a{s='x'} + ignoring(s, t) b{s='y'}", [of(21)]),
        ("a > on(t) one / 100", [of(2, t="1"), of(4, t="2")]),  # one of each t is left
        ("a + on(t) (one > 1000)", []),
        ("(one > 1000) + on() a", []),
        ("vector(1) == vector(1)", [of(1)]),
        ("a + on(s) b", [of(11, s="x"), of(22, s="y")]),
        ("b - ignoring(t) a", [of(9, s="x"), of(18, s="y")]),
        ("b / a", []),
        ("b > on(s) a", [of(10, s="x"), of(20, s="y")]),
        ("b > bool on(s) a * 15", [of(0, s="x"), of(0, s="y")]),
        (
            "a / 0",
            [of(math.inf, s="x", t="1"), of(math.inf, s="y", t="1"), of(math.inf, s="z", t="2")],
        ),
        # many to one
        (
            "a * on(t) group_left(extra) one",
            [
                of(100, s="x", t="1", extra="e1"),
                of(200, s="y", t="1", extra="e1"),
                of(800, s="z", t="2", extra="e2"),
            ],
        ),
        (
            "one / on(t) group_right a",
            [of(100, s="x", t="1"), of(50, s="y", t="1"), of(50, s="z", t="2")],
        ),
        (
            "a < on(t) group_left(extra) one",
            [
                of(1, name="a", s="x", t="1", extra="e1"),
                of(2, name="a", s="y", t="1", extra="e1"),
                of(4, name="a", s="z", t="2", extra="e2"),
            ],
        ),
        ("one > on(t) group_right() a{s='x'}", [of(100, name="a", s="x", t="1")]),
        ("one > bool on(t) group_right() a{s='x'}", [of(1, s="x", t="1")]),
        ("a{s='x'} * on(t) group_left(extra, no) one", [of(100, s="x", t="1", extra="e1")]),
        ("a{s='x'} * on(t) group_left(__name__) one", [of(100, name="one", s="x", t="1")]),
        ("one{t='1'} * on(t) group_left(extra) a{s='x'}", [of(100, t="1")]),
        # sets
        ("a and on() vector(1) > 3", []),
        ("a{s='x'} and vector(1)", []),
        ("a{s='x'} and on() vector(1)", [of(1, name="a", s="x", t="1")]),
        ("a unless on() vector(1)", []),
        ("a{s='x'} unless a{s='y'}", [of(1, name="a", s="x", t="1")]),
        ("sum(gone) or vector(0)", [of(0)]),
        ("vector(0) or sum(a)", [of(0)]),
        ("sum(a) or vector(0)", [of(7)]),
        ("a{s='x'} or vector(0)", [of(1, name="a", s="x", t="1"), of(0)]),
        ("a{s='x'} or on() vector(0)", [of(1, name="a", s="x", t="1")]),
        (
            "a{s='x'} or ignoring(t, job, instance, cluster) b{s='x'}",
            [of(1, name="a", s="x", t="1")],
        ),
        ("a{s='x'} and on(__name__) a{s='y'}", [of(1, name="a", s="x", t="1")]),
        ("a{s='x'} and on(__name__) b{s='y'}", []),
        ("a and on(s) b", [of(1, name="a", s="x", t="1"), of(2, name="a", s="y", t="1")]),
        ("a unless on(s) b", [of(4, name="a", s="z", t="2")]),
        ("sum by (s) (a > 2) or sum by (s) (b)", [of(4, s="z"), of(10, s="x"), of(20, s="y")]),
        ("sum by (s) (a) or sum by (s) (b)", [of(1, s="x"), of(2, s="y"), of(4, s="z")]),
        ("a and on(s) (b > 15)", [of(2, name="a", s="y", t="1")]),
        (
            "a unless on() (b > 100)",
            [
                of(1, name="a", s="x", t="1"),
                of(2, name="a", s="y", t="1"),
                of(4, name="a", s="z", t="2"),
            ],
        ),
        ("absent_metric or vector(3)", [of(3)]),
        ("a and absent_metric", []),
        # functions
        ("absent(a)", []),
        ('absent(gone{s="x",t=~"1"})', [of(1, s="x")]),
        ("absent(sum(gone))", [of(1)]),
        ("vector(1 + 2 * 3)", [of(7)]),
        ("abs(-a)", [of(1, s="x", t="1"), of(2, s="y", t="1"), of(4, s="z", t="2")]),
        ("clamp_max(a, 2)", [of(1, s="x", t="1"), of(2, s="y", t="1"), of(2, s="z", t="2")]),
        ("clamp_min(a, 2)", [of(2, s="x", t="1"), of(2, s="y", t="1"), of(4, s="z", t="2")]),
        ("vector(time())", [of(0)]),
        ("vector(1 > bool 2)", [of(0)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_expression(
    expression: str, expected: list[tuple[tuple[tuple[str, str], ...], float]]
) -> None:
    assert rows(expression) == pytest.approx(dict(expected), nan_ok=True)


@pytest.mark.parametrize(
    "expression, reason",
    [
        ("b + on(t) a", "several series of the right side"),
        ("a + on(t) one", "several series of the left side"),
        ("a * on(t) group_left(s) sum by (t, s) (a)", "several series of the right side"),
    ],
)
def test_an_ambiguous_match_fails_alone_and_visibly(expression: str, reason: str) -> None:
    world = World([expression, "sum(a)"])
    world.scrape(SERIES, 0)
    found = world.group(0)
    ((rule, message),) = found.failures
    assert rule == "r:0:x"
    assert reason in message
    assert found.rows.num_rows == 1


def test_coverage_is_the_mean_of_a_group_and_the_least_of_two_sides() -> None:
    world = World(
        ["sum(increase(x[1m]))", "y * on() sum(increase(x[1m]))", "y and on() increase(x[1m])"]
    )
    world.scrape("x 0\ny 2\n", 0)
    world.scrape("x 5\ny 2\n", 5_000)
    assert [result.coverage for result in world.live(5_000)] == pytest.approx([5 / 60] * 3)
