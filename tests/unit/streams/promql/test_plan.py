"""Plans: what the language has, what is refused and why."""

import pytest

from streams.core.promql.plan import PlanError, Planner
from streams.core.rules.model import RecordingRule


def planner(*, live: bool = True, **recorded: str) -> Planner:
    rules = {
        name.replace("__", ":"): [RecordingRule(name.replace("__", ":"), expr, {}, 1)]
        for name, expr in recorded.items()
    }
    return Planner(rules, live=live)


@pytest.mark.parametrize(
    "expression, reason",
    [
        ("sum by (", "not PromQL"),
        ("rate(x)", "expected type matrix"),
        ("x offset -5m", "asks for the future"),
        ("x @ 5", "@ with a time is not supported"),
        ("rate(x[1d:10s])", "at most 1500 steps"),
        ("x[5m]", "a function must read it"),
        ("x[5m:1m]", "a function must read it"),
        ("limitk(1, x)", "limitk is not supported: it is experimental"),
        ("limit_ratio(0.5, x)", "limit_ratio is not supported: it is experimental"),
        ("topk(NaN, x)", "NaN is no number of series"),
        ("bottomk(1e19, x)", "10000000000000000000 is no number of series"),
        ('count_values("", x)', '"" is no label name'),
        ('sort_by_label(x, "a")', "sort_by_label() is not supported: it is experimental"),
        ("info(x)", "info() is not supported: it is experimental"),
        ("histogram_avg(x)", "histogram_avg() is not supported: it reads native histograms"),
        ("x + fill(0) y", "fill is not supported: it is experimental"),
        ('label_replace(x, "", "a", "b", "c")', 'label_replace: "" is no label name'),
        ('label_replace(x, "a", "", "b", "(")', "label_replace: wrong regular expression"),
        ('label_replace(x, "a", "", "b", "(a{999}){999}")', "wrong regular expression"),
        ('label_join(x, "a", "-", "")', 'label_join: "" is no label name'),
        ("rate(x[41d])", "at most 40 are kept"),
        ("avg_over_time(x[41d])", "at most 40 are kept"),
        ("max_over_time(x[25h])", "sees 1 day at most"),
        ('"text"', "a text is no result"),
        ('{job="x"}', "needs a metric name"),
        ("sum(x)[5m:1m]", "a function must read it"),
        ('{__name__=~"x.*"}', "can only be compared with ="),
        ('x{a=~"("}', "illegal regex"),
        ("rate(up[5m])", "up is a gauge"),
        ("sum by (type) (rate(etcd_requests_total[5m]))", "group and resource in Kubernetes 1.34"),
        ('etcd_requests_total{type="pods"}', "group and resource in Kubernetes 1.34"),
        ("apiserver_flowcontrol_request_concurrency_limit", "nominal_limit_seats"),
        ('{a="b" or c="d"}', "`or` between matchers"),
        ("x" * 30_000, "longer than"),
        ("(" * 9_000 + "1" + ")" * 9_000, "more than 500 operators"),
        ("-" * 9_000 + "1", "more than 500 operators"),
        ("abs(" * 150 + "x" + ")" * 150, "nested deeper"),
    ],
    ids=lambda text: text[:40],
)
def test_refused(expression: str, reason: str) -> None:
    with pytest.raises(PlanError) as caught:
        planner(a__b="x").plan(expression)
    assert reason in str(caught.value)


def test_brackets_in_texts_and_comments_are_no_operators() -> None:
    brackets = "(" * 600
    planner().plan(f'x{{a="{brackets}"}} # {brackets}')


def test_equal_expressions_are_one_node() -> None:
    plans = planner()
    assert plans.plan("sum(rate(x[5m]))") is plans.plan(" sum( rate(x[5m]) ) ")


def test_a_recorded_name_stands_for_its_expression_only_where_nothing_is_waited_for() -> None:
    assert not planner(a__b="x", live=True).plan("a:b").changes
    assert planner(a__b="x", live=False).plan("a:b").changes


def test_a_recorded_name_that_depends_on_itself_is_refused_with_the_chain() -> None:
    with pytest.raises(PlanError, match="a:b -> c:d -> a:b"):
        planner(a__b="c:d", c__d="a:b + 1").plan("a:b > 1")
