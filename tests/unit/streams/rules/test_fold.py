"""Series of a whole histogram become one row; whatever is folded comes back as it was written."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.rules.unittests.fold import Row, rows_of
from streams.core.rules.unittests.model import (
    ExprCheck,
    InputSeries,
    Mark,
    Sample,
    Story,
    TestFile,
)
from streams.core.rules.unittests.notation import metric, points
from streams.core.rules.unittests.run import RateSemantics, run_file

WHOLE = {
    'h_bucket{a="b", le="0.1"}': "1 2 4",
    'h_bucket{a="b", le="1"}': "1 3 9",
    'h_bucket{a="b", le="+Inf"}': "2 4 11",
    'h_count{a="b"}': "2 4 11",
    'h_sum{a="b"}': "0.5 1.5 9.25",
}


def rows(series: Mapping[str, str]) -> list[Row]:
    return rows_of([InputSeries(metric(name), points(text)) for name, text in series.items()])


def test_a_whole_histogram_is_one_row() -> None:
    assert rows(WHOLE) == [
        Row(
            "h",
            {"a": "b"},
            (0.5, 1.5, 9.25),
            "0.1,1",
            (2.0, 4.0, 11.0),
            ((1, 0, 1), (2, 1, 1), (4, 5, 2)),
        )
    ]


def test_a_histogram_that_ends_is_one_row_that_ends() -> None:
    (row,) = rows({name: f"{text} stale" for name, text in WHOLE.items()})
    assert (row.values[-1], row.buckets[-1]) == (Mark.STALE, ())


@pytest.mark.parametrize(
    "change",
    [
        {'h_sum{a="b"}': None},
        {'h_count{a="b"}': None},
        {'h_bucket{a="b", le="+Inf"}': None},
        {'h_bucket{a="b", le="1"}': "1 3.5 9"},
        {'h_bucket{a="b", le="1"}': "-1 3 9"},
        {'h_bucket{a="b", le="1"}': "1 3 stale"},
        {'h_count{a="b"}': "2 4 12"},
        {'h_bucket{a="b", le="1"}': None, 'h_bucket{a="b", le="1.0"}': "1 3 9"},
        {'h_bucket{a="b", le="1"}': None, 'h_bucket{a="b", le="one"}': "1 3 9"},
    ],
)
def test_anything_else_stays_as_it_is(change: dict[str, str | None]) -> None:
    series = {name: text for name, text in (WHOLE | change).items() if text is not None}
    found = rows(series)
    assert len(found) == len(series)
    assert all(row.counts is None for row in found)


def test_a_series_of_the_name_of_the_histogram_is_another_row() -> None:
    found = rows({**WHOLE, 'h{a="b"}': "7 7 7", 'other_bucket{a="b"}': "1 2 3"})
    assert ["h", "h", "other_bucket"] == [row.name for row in found]


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=5))
def test_what_is_folded_comes_back(steps: list[list[int]]) -> None:
    series = [
        InputSeries(
            {"__name__": "h_bucket", "le": bound},
            tuple(float(sum(step[: i + 1])) for step in steps),
        )
        for i, bound in enumerate(("0.25", "1", "10", "+Inf"))
    ]
    series.append(InputSeries({"__name__": "h_count"}, series[-1].points))
    series.append(InputSeries({"__name__": "h_sum"}, tuple(sum(step) / 8 for step in steps)))
    assert 1 == len(rows_of(series))
    t_ms = (len(steps) - 1) * 60_000
    checks = [
        ExprCheck(t_ms, name, tuple(_last(one) for one in series if _name(one) == name), ())
        for name in ("h_bucket", "h_count", "h_sum")
    ]
    story = Story("", 1, 60_000, 0, tuple(series), (), tuple(checks), {}, "", ())
    test = TestFile("t", (), 60_000, (), (story,))
    assert [] == [str(one) for one in run_file(test, {}, RateSemantics.PROMETHEUS)]


def _name(one: InputSeries) -> str:
    return one.labels["__name__"]


def _last(one: InputSeries) -> Sample:
    value = one.points[-1]
    assert isinstance(value, float)
    return Sample(one.labels, value)
