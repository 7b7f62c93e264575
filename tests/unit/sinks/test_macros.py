"""Macros expand as Grafana's ClickHouse data source expands them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SinkRefused
from sinks.core.macros import expand


def expanded(sql: str, *, interval_s: int = 60) -> str:
    return expand(sql, from_ms=1_500, to_ms=9_999, interval_s=interval_s)


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        ("$__timeFilter(ts)", "ts >= toDateTime(1) AND ts <= toDateTime(9)"),
        (
            "$__timeFilter_ms(a.ts)",
            "a.ts >= fromUnixTimestamp64Milli(1500) AND a.ts <= fromUnixTimestamp64Milli(9999)",
        ),
        (
            "$__dateFilter(d)",
            "d >= toDate(toDateTime(1), 'UTC') AND d <= toDate(toDateTime(9), 'UTC')",
        ),
        (
            "$__dt(d, ts)",
            "(d >= toDate(toDateTime(1), 'UTC') AND d <= toDate(toDateTime(9), 'UTC')) AND "
            "(ts >= toDateTime(1) AND ts <= toDateTime(9))",
        ),
        ("$__timeInterval(ts)", "toStartOfInterval(toDateTime(ts), INTERVAL 60 second)"),
        (
            "$__timeInterval_ms(ts)",
            "toStartOfInterval(toDateTime64(ts, 3), INTERVAL 60000 millisecond)",
        ),
        (
            "$__timeInterval(if(a, greatest(b, c), d))",
            "toStartOfInterval(toDateTime(if(a, greatest(b, c), d)), INTERVAL 60 second)",
        ),
        ("x / greatest($__interval_s, 15)", "x / greatest(60, 15)"),
        ("$__fromTime, $__toTime", "toDateTime(1), toDateTime(9)"),
        (
            "$__fromTime_ms, $__toTime_ms",
            "fromUnixTimestamp64Milli(1500), fromUnixTimestamp64Milli(9999)",
        ),
        ("SELECT {cluster:String}, '$1', $x", "SELECT {cluster:String}, '$1', $x"),
        ("", ""),
    ],
)
def test_a_macro_is_its_expansion(sql: str, plain: str) -> None:
    assert plain == expanded(sql)


def test_the_long_name_means_the_same() -> None:
    assert expanded("$__dt(d, ts)") == expanded("$__dateTimeFilter(d, ts)")


def test_a_step_is_a_second_at_least() -> None:
    assert "1" == expanded("$__interval_s", interval_s=0)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("$__nothing(ts)", "unknown macro \\$__nothing"),
        ("$__timeFilter", "arguments in parentheses"),
        ("$__timeFilter(ts", "closing parenthesis"),
        ("$__timeFilter(a, b)", "takes 1 arguments, not 2"),
        ("$__dt(a)", "takes 2 arguments, not 1"),
    ],
)
def test_a_wrong_macro_is_named(sql: str, says: str) -> None:
    with pytest.raises(SinkRefused, match=says):
        expanded(sql)


@given(st.text().filter(lambda text: "$__" not in text))
def test_a_text_without_macros_stays_as_it_is(sql: str) -> None:
    assert sql == expanded(sql)
