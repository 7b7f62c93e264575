"""Thresholds of quantiles sit on edges of their buckets.

In: all alerts that compare a quantile with a number, and the edges in the captures of Kubernetes
1.31, 1.35 and 1.36. The rule this file owns: between two edges a quantile is a guess, so an alert
there fires early or late by as much as the bucket is wide.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import promql_parser as ast

from tests.rules.test_inputs import captured, recorded, rules, selectors

ASIDE: Final = 1e-9
COMPARISONS: Final = frozenset({">", ">=", "<", "<="})
BY_SOURCE: Final = {
    "apiserver_admission_webhook_admission_duration_seconds_bucket": (
        *(0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0),
    ),
}
"""Edges of histograms that were not captured, by their source code."""


def compared(expr: Any) -> Iterator[tuple[Any, float]]:
    """Return what is compared with a number, and that number."""
    match expr:
        case ast.BinaryExpr():
            if str(expr.op) in COMPARISONS and isinstance(expr.rhs, ast.NumberLiteral):
                yield _bare(expr.lhs), expr.rhs.val
            yield from compared(expr.lhs)
            yield from compared(expr.rhs)
        case ast.ParenExpr() | ast.AggregateExpr():
            yield from compared(expr.expr)
        case ast.Call():
            for each in expr.args:
                yield from compared(each)


def _bare(expr: Any) -> Any:
    while isinstance(expr, ast.ParenExpr):
        expr = expr.expr
    return expr


def quantiles(expr: Any) -> Iterator[Any]:
    """Return the calls of histogram_quantile that an expression is, by whatever name."""
    if isinstance(expr, ast.Call) and expr.func.name == "histogram_quantile":
        yield expr
    elif isinstance(expr, ast.VectorSelector):
        for rule in recorded().get(str(expr.name), ()):
            yield from quantiles(_bare(ast.parse(rule["expr"])))


def edges(quantile: Any) -> frozenset[float]:
    """Return the edges that its histogram has in any release; none where nobody knows them."""
    found: set[float] = set()
    for one in selectors(quantile):
        found |= set(BY_SOURCE.get(str(one.name), ()))
        if str(one.name) in captured():
            for series in captured()[str(one.name)].series.values():
                found |= {float(labels["le"]) for labels in series if "le" in labels}
    return frozenset(found)


def off_edge(expr: Any) -> list[tuple[str, float]]:
    """Return the histograms that an alert compares with a number between two edges."""
    return [
        (str(next(selectors(quantile)).name), number)
        for what, number in compared(expr)
        for quantile in quantiles(what)
        if (known := edges(quantile)) and not any(abs(number - one) < ASIDE for one in known)
    ]


def test_thresholds_of_quantiles_are_edges(shared_fixtures: Path) -> None:
    judged = 0
    for _, rule in rules():
        if "alert" in rule:
            expr = ast.parse(rule["expr"])
            assert off_edge(expr) == [], rule["alert"]
            judged += sum(1 for what, _ in compared(expr) for _ in quantiles(what))
    assert judged >= 10


def test_a_threshold_between_two_edges_is_found(shared_fixtures: Path) -> None:
    written = "histogram_quantile(0.99, rate(apiserver_request_duration_seconds_bucket[1m]))"
    recorded_name = "(apiserver:request:latency_p99_5m) > 9 and up == 1"
    for text, number in ((f"{written} > 7", 7.0), (recorded_name, 9.0)):
        assert [one for _, one in off_edge(ast.parse(text))] == [number]
    assert off_edge(ast.parse(f"{written} > 8")) == []
