"""Functions of present values: Prometheus' results, edge cases first."""

import math

import pytest

from tests.evaluation import World

INF, NAN = math.inf, math.nan
SERIES = """
m{i="1"} 1
m{i="2"} NaN
m{i="3"} +Inf
m{i="4"} -Inf
m{i="5"} -2.5
m{i="6"} 2.5
m{i="7"} 0
a{s="x"} 1
a{s="y"} 2
t{d="epoch"} 0
t{d="leap"} 951827696
t{d="before"} -1
t{d="fraction"} 1230768000.9
t{d="far"} 253402300800
t{d="none"} NaN
"""


def values(expression: str, text: str = SERIES, *, t_ms: int = 0) -> list[float]:
    """Return the values of the results, in the order of the series."""
    world = World([expression])
    world.scrape(text, t_ms)
    return [result.value for result in world.live(t_ms)]


def value(expression: str, *, t_ms: int = 0) -> float:
    """Return the value of the only result."""
    (found,) = values(expression, t_ms=t_ms)
    return found


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("abs(m)", [1, NAN, INF, INF, 2.5, 2.5, 0]),
        ("ceil(m)", [1, NAN, INF, -INF, -2, 3, 0]),
        ("floor(m)", [1, NAN, INF, -INF, -3, 2, 0]),
        ("round(m)", [1, NAN, INF, -INF, -2, 3, 0]),
        ("round(m, 0)", [NAN] * 7),
        ("round(m, 0.3)", [0.9, NAN, INF, -INF, -2.4, 2.4, 0]),
        ("round(m, -1)", [1, NAN, INF, -INF, -3, 2, 0]),
        ("round(m, NaN)", [NAN] * 7),
        ("exp(m)", [math.e, NAN, INF, 0, math.exp(-2.5), math.exp(2.5), 1]),
        ("sqrt(m)", [1, NAN, INF, NAN, NAN, math.sqrt(2.5), 0]),
        ("ln(m)", [0, NAN, INF, NAN, NAN, math.log(2.5), -INF]),
        ("log2(m)", [0, NAN, INF, NAN, NAN, math.log2(2.5), -INF]),
        ("log10(m)", [0, NAN, INF, NAN, NAN, math.log10(2.5), -INF]),
        ("sgn(m)", [1, NAN, 1, -1, -1, 1, 0]),
        ("clamp(m, -1, 1)", [1, NAN, 1, -1, -1, 1, 0]),
        ("clamp(m, 2, 2)", [2, NAN, 2, 2, 2, 2, 2]),
        ("clamp(m, 1, -1)", []),
        ("clamp(m, NaN, 1)", [NAN] * 7),
        ("clamp(m, -1, NaN)", [NAN, NAN, NAN, -1, NAN, NAN, NAN]),
        ("clamp_min(m, 0)", [1, NAN, INF, 0, 0, 2.5, 0]),
        ("clamp_max(m, 0)", [0, NAN, 0, -INF, -2.5, 0, 0]),
        ("clamp_min(m, NaN)", [NAN, NAN, INF, NAN, NAN, NAN, NAN]),
        ("clamp_max(m, NaN)", [NAN, NAN, NAN, -INF, NAN, NAN, NAN]),
        ('clamp_max(m, scalar(a{s="y"}))', [1, NAN, 2, -INF, -2.5, 2, 0]),
        ("sin(m)", [math.sin(1), NAN, NAN, NAN, math.sin(-2.5), math.sin(2.5), 0]),
        ("acos(m)", [0, NAN, NAN, NAN, NAN, NAN, math.pi / 2]),
        ("acosh(m)", [0, NAN, INF, NAN, NAN, math.acosh(2.5), NAN]),
        ("atanh(m)", [INF, NAN, NAN, NAN, NAN, NAN, 0]),
        ("tanh(m)", [math.tanh(1), NAN, 1, -1, math.tanh(-2.5), math.tanh(2.5), 0]),
        ("deg(m * pi())", [180, NAN, INF, -INF, -450, 450, 0]),
        ("rad(m * 180)", [math.pi, NAN, INF, -INF, -2.5 * math.pi, 2.5 * math.pi, 0]),
    ],
)
def test_each_value(expression: str, expected: list[float]) -> None:
    assert values(expression) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "name", ["cos", "tan", "asin", "atan", "sinh", "cosh", "asinh", "exp", "sin", "tanh"]
)
def test_a_function_has_the_meaning_of_its_name(name: str) -> None:
    assert value(f"{name}(vector(0.3))") == pytest.approx(getattr(math, name)(0.3))


@pytest.mark.parametrize("number, expected", [(0.5, 1), (-0.5, 0), (1.5, 2), (2.5, 3)])
def test_round_rounds_halves_up(number: float, expected: float) -> None:
    assert value(f"round(vector({number}))") == expected


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("vector(pi())", math.pi),
        ('vector(scalar(a{s="x"}))', 1),
        ("vector(scalar(a))", NAN),
        ("vector(scalar(gone))", NAN),
        ('vector(scalar(m{i="2"}))', NAN),
        ("vector(scalar(a > 1))", 2),
        ("vector(time())", 90.5),
        ("sum(sort(a)) - sum(sort_desc(a))", 0),
    ],
)
def test_scalars(expression: str, expected: float) -> None:
    assert value(expression, t_ms=90_500) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "part, expected",
    [
        ("minute", [0, 34, 59, 0, 0]),
        ("hour", [0, 12, 23, 0, 0]),
        ("day_of_week", [4, 2, 3, 4, 6]),
        ("day_of_month", [1, 29, 31, 1, 1]),
        ("day_of_year", [1, 60, 365, 1, 1]),
        ("days_in_month", [31, 29, 31, 31, 31]),
        ("month", [1, 2, 12, 1, 1]),
        ("year", [1970, 2000, 1969, 2009, 10000]),
    ],
)
def test_dates(part: str, expected: list[float]) -> None:
    assert values(f'{part}(t{{d!="none"}})') == expected
    assert value(f"{part}()", t_ms=951_827_696_000) == expected[1]


@pytest.mark.parametrize(
    "expression, expected",
    [
        # what Prometheus gives for numbers that are no time of 64 bits
        ("year({})", 292_277_026_596),
        ("month({})", 12),
        ("day_of_month({})", 4),
        ("day_of_year({})", 339),
        ("day_of_week({})", 0),
        ("hour({})", 15),
        ("minute({})", 30),
    ],
)
@pytest.mark.parametrize("number", ["NaN", "Inf", "-Inf", "1e300", "9.3e18"])
def test_dates_of_what_is_no_time(expression: str, expected: float, number: str) -> None:
    assert value(expression.format(f"vector({number})")) == expected


@pytest.mark.parametrize(
    "seconds, year",
    [
        (1e18, 31_688_740_476),
        (-1e18, -31_688_736_537),
        (-62_135_596_801, 0),
        (4_102_444_799, 2099),
        (4_102_444_800, 2100),
        (951_782_399, 2000),
        (-2_208_988_801, 1899),
    ],
)
def test_years(seconds: float, year: float) -> None:
    assert value(f"year(vector({seconds}))") == year


def test_functions_leave_the_name_behind_and_selectors_keep_it() -> None:
    world = World(["abs(a)", "a", "+a", "sort(a)", "hour(a)", "-a", "a + 0", "a > bool 0"])
    world.scrape('a{s="x"} 1\n', 0)
    named = [("__name__", "a") in result.labels for result in world.live(0)]
    assert named == [False, True, True, True, False, False, False, False]


@pytest.mark.parametrize("expression", ["abs({})", "-{}", "1 + {}", "{} > bool 1", "hour({})"])
def test_series_that_only_their_names_tell_apart_fail_once_they_lose_them(expression: str) -> None:
    world = World([f"sum({expression.format('(a or on(__name__) b)')})"])
    world.scrape('a{s="x"} 1\nb{s="y"} 2\n', 0)
    assert world.group(0).failures == ()
    world.scrape('a{s="x"} 1\nb{s="x"} 2\n', 5_000)
    ((_, reason),) = world.group(5_000).failures
    assert reason == "without the metric name: two results have the same labels"


@pytest.mark.parametrize(
    "matchers, labels",
    [
        ('s="x"', (("s", "x"),)),
        ('s="x",s!="y"', ()),
        ('s="x",s="x"', ()),
        ('s=~"x",s="x"', (("s", "x"),)),
        ('s="x",s=~"x"', ()),
        ('s=""', ()),
    ],
)
def test_absent_has_the_labels_that_its_selector_fixes(
    matchers: str, labels: tuple[tuple[str, str], ...]
) -> None:
    world = World([f"absent(gone{{{matchers}}})", f"absent((gone{{{matchers}}}))"])
    assert [result.labels for result in world.live(0)] == [labels, labels]
