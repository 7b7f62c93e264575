"""The number that an alert compares with is replaced, and no other."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.rules.files import load_rules
from streams.core.rules.judged import judged
from streams.core.rules.threshold import ThresholdError, with_threshold
from streams.rulefiles import shipped_files


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x > 5", "x > 7.5"),
        ("x >5", "x >7.5"),
        ("x > bool 5", "x > bool 7.5"),
        ("(x > 5)", "(x > 7.5)"),
        ("x > -5", "x > 7.5"),
        ("x > (14.40 * 0.01000)", "x > 7.5"),
        ("x > (1) * (2) and y", "x > 7.5 and y"),
        ("x > 0x10 # not > 5", "x > 7.5 # not > 5"),
        ("# 5 > 5\nx\n  > 5", "# 5 > 5\nx\n  > 7.5"),
        ('x{a="> 5", b=~"5|}"} > 5', 'x{a="> 5", b=~"5|}"} > 7.5'),
        ("rate(x_5[5m] offset 5m) > 5", "rate(x_5[5m] offset 5m) > 7.5"),
        ("x @ 5 > 5", "x @ 5 > 7.5"),
        ("max_over_time((x / 5)[5m:5s]) > 5", "max_over_time((x / 5)[5m:5s]) > 7.5"),
        ("topk(5, x) * 5 > 5", "topk(5, x) * 5 > 7.5"),
        ("quantile by (a) (0.5, x) > .5", "quantile by (a) (0.5, x) > 7.5"),
        (
            'label_replace(x, "a", "5", "b", ">5") > 5',
            'label_replace(x, "a", "5", "b", ">5") > 7.5',
        ),
        ("a / (b > 0) > 5", "a / (b > 0) > 7.5"),
        ("count(x > 3) >= 5", "count(x > 3) >= 7.5"),
        ("5 * x > 5 and on () y / 5", "5 * x > 7.5 and on () y / 5"),
        ("x > 5 or x > 5", "x > 7.5 or x > 7.5"),
        ("x < +Inf", "x < 7.5"),
        ("vector(inf) * inf:x > 5", "vector(inf) * inf:x > 7.5"),
    ],
)
def test_the_number_is_replaced(before: str, after: str) -> None:
    assert after == with_threshold(before, 7.5)


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        ("x", "compares nothing with a number"),
        ("absent(x)", "compares nothing with a number"),
        ("x > y", "compares nothing with a number"),
        ("5 < x", "compares nothing with a number"),
        ("x > 5 and y > 5", r"several comparisons with a number \(> 5, > 5\)"),
        ("(x > 5) < 8", r"several comparisons with a number \(< 8, > 5\)"),
        ("x > 5 and x < 9", r"several comparisons with a number \(> 5, < 9\)"),
        ("x > 5 or x > 6", r"several comparisons with a number \(> 5, > 6\)"),
    ],
)
def test_what_could_be_meant_otherwise_is_refused(expr: str, why: str) -> None:
    with pytest.raises(ThresholdError, match=why):
        with_threshold(expr, 7.5)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS)
def test_every_number_can_be_given(number: float) -> None:
    after = with_threshold("sum(rate(x[5m])) * 5 > 5 and on () vector(5)", number)
    assert number == judged(after).threshold
    assert after.startswith("sum(rate(x[5m])) * 5 > ") and after.endswith(" and on () vector(5)")


def test_whole_numbers_stay_whole() -> None:
    assert "x > 300" == with_threshold("x > 5", 300.0)


def test_most_shipped_alerts_have_one_threshold_that_can_be_set() -> None:
    alerts = [plan.rule for plan in load_rules(shipped_files()).program.alerts]
    changed = 0
    for rule in alerts:
        try:
            after = judged(with_threshold(rule.expr, 0.4711))
        except ThresholdError:
            continue
        assert replace(rule.judged, threshold=0.4711) == after
        changed += 1
    assert changed > 0.75 * len(alerts)
