"""The notation of series in rule tests."""

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.rules.unittests.model import Mark, Point
from streams.core.rules.unittests.notation import NotationError, metric, points

MISSING, STALE = Mark.MISSING, Mark.STALE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", [1.0]),
        ("1 2 3", [1.0, 2.0, 3.0]),
        ("1x3", [1.0] * 4),
        ("0x5", [0.0] * 6),
        ("1+2x3", [1.0, 3.0, 5.0, 7.0]),
        ("1-2x3", [1.0, -1.0, -3.0, -5.0]),
        ("-2+4x3", [-2.0, 2.0, 6.0, 10.0]),
        ("1e3+.5x1", [1000.0, 1000.5]),
        ("1x0", [1.0]),
        ("_", [MISSING]),
        ("1 _x3 stale", [1.0, MISSING, MISSING, MISSING, STALE]),
        ("+Inf -Inf Inf", [math.inf, -math.inf, math.inf]),
        ("  1   \n 2  ", [1.0, 2.0]),
        ("", []),
    ],
)
def test_points(text: str, expected: list[Point]) -> None:
    assert list(points(text)) == expected


def test_a_number_that_is_none() -> None:
    (found,) = points("NaN")
    assert isinstance(found, float) and math.isnan(found)


def test_steps_are_added_as_promtool_adds_them() -> None:
    assert sum([0.1] * 7, 0.1) == points("0.1+0.1x7")[-1] != 0.1 + 0.1 * 7


@pytest.mark.parametrize(
    "text", ["x3", "1+2", "1x", "1xa", "stalex3", "_x", "one", "1,2", "0x1F", "--1", "1x-1"]
)
def test_what_promtool_refuses_is_refused(text: str) -> None:
    with pytest.raises(NotationError, match="cannot read"):
        points(text)


def test_native_histograms_are_refused_by_name() -> None:
    with pytest.raises(NotationError, match="native histograms are not supported"):
        points("{{schema:1 sum:3 count:2}}x4")


@pytest.mark.parametrize("text", ["1x1000000", "_x99999999999", "1x999999 1"])
def test_points_are_bounded(text: str) -> None:
    with pytest.raises(NotationError, match="more than 1000000 points"):
        points(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("up", {"__name__": "up"}),
        ("up{}", {"__name__": "up"}),
        ('up{job="a"}', {"__name__": "up", "job": "a"}),
        ("up { job = 'a' , x=`b`, }", {"__name__": "up", "job": "a", "x": "b"}),
        ('{__name__="up", job="a"}', {"__name__": "up", "job": "a"}),
        ('{"a name", "a label"="x"}', {"__name__": "a name", "a label": "x"}),
        (r'x{a="say \"}\", \\ and \u00e9\n"}', {"__name__": "x", "a": 'say "}", \\ and é\n'}),
        ('x{a=""}', {"__name__": "x"}),
        ('a:b:c{le="+Inf"}', {"__name__": "a:b:c", "le": "+Inf"}),
    ],
)
def test_metrics(text: str, expected: dict[str, str]) -> None:
    assert metric(text) == expected


@pytest.mark.parametrize("text", ["", "x{", "x}", "x{a}", "x{a=b}", 'x{a="b" c="d"}', "x y", "1x"])
def test_what_is_no_metric_is_refused(text: str) -> None:
    with pytest.raises(NotationError):
        metric(text)


@given(st.text(alphabet="0123456789+-x_ staleINFnf.e{}", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(NotationError):
        points(text)
