"""Say what an alert judges. In: its expression. Out: the indicator, and the number it is compared
with.

The rule this file owns: it is the first comparison with a number, in reading order; an expression
without one judges its first series.
"""

from collections.abc import Iterator

import promql_parser as ast

from streams.core.promql.operators import COMPARISONS
from streams.core.promql.plan import parse
from streams.core.rules.model import Judged


def judged(text: str) -> Judged:
    """Return what the expression judges, or raise PlanError where it is no PromQL."""
    parsed = parse(text)
    for expr in _walk(parsed):
        if isinstance(expr, ast.BinaryExpr) and str(expr.op) in COMPARISONS:
            threshold = _number(expr.rhs)
            if threshold is not None:
                return _judged(expr.lhs, str(expr.op), threshold)
    return _judged(parsed, "", None)


def _judged(expr: ast.Expr, operator: str, threshold: float | None) -> Judged:
    below = list(_walk(expr))
    names = [one.name for one in below if isinstance(one, ast.VectorSelector) and one.name]
    windows = [one.range.total_seconds() for one in below if isinstance(one, ast.MatrixSelector)]
    width_ms = round(max(windows, default=0.0) * 1000)
    return Judged(names[0] if names else "", operator, threshold, width_ms)


def _number(expr: ast.Expr) -> float | None:
    while isinstance(expr, ast.ParenExpr):
        expr = expr.expr
    if isinstance(expr, ast.UnaryExpr):
        inner = _number(expr.expr)
        return None if inner is None else -inner
    return expr.val if isinstance(expr, ast.NumberLiteral) else None


def _walk(expr: ast.Expr) -> Iterator[ast.Expr]:
    yield expr
    if isinstance(expr, ast.ParenExpr | ast.UnaryExpr | ast.AggregateExpr | ast.SubqueryExpr):
        yield from _walk(expr.expr)
    elif isinstance(expr, ast.BinaryExpr):
        yield from _walk(expr.lhs)
        yield from _walk(expr.rhs)
    elif isinstance(expr, ast.Call):
        for argument in expr.args:
            yield from _walk(argument)
    elif isinstance(expr, ast.MatrixSelector):
        yield from _walk(expr.vector_selector)
