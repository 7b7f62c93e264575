"""Say what an alert judges. In: its expression. Out: the indicator, and the number it is compared
with.

The rule this file owns: it is the first comparison with a number, in reading order; an expression
without one judges its first series. A product of numbers is a number, too: `> 14.4 * 0.01`.
"""

import operator as op
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import promql_parser as ast

from streams.core.promql.operators import COMPARISONS
from streams.core.promql.plan import parse
from streams.core.rules.model import Judged

_EQUAL: Final = ast.MatchOp.Equal
_ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": op.add,
    "-": op.sub,
    "*": op.mul,
    "/": op.truediv,
}


def judged(text: str) -> Judged:
    """Return what the expression judges, or raise PlanError where it is no PromQL."""
    parsed = parse(text)
    for expr in parts_of(parsed):
        if isinstance(expr, ast.BinaryExpr) and str(expr.op) in COMPARISONS:
            threshold = number_of(expr.rhs)
            if threshold is not None:
                return _judged(expr.lhs, str(expr.op), threshold)
    return _judged(parsed, "", None)


def _judged(expr: ast.Expr, operator: str, threshold: float | None) -> Judged:
    below = list(parts_of(expr))
    names = [one.name for one in below if isinstance(one, ast.VectorSelector) and one.name]
    windows = [one.range.total_seconds() for one in below if isinstance(one, ast.MatrixSelector)]
    width_ms = round(max(windows, default=0.0) * 1000)
    return Judged(names[0] if names else "", operator, threshold, width_ms)


def names_read(text: str) -> set[str]:
    """Return the names of the series that an expression reads, or raise PlanError."""
    selectors = [one for one in parts_of(parse(text)) if isinstance(one, ast.VectorSelector)]
    matched = [each for one in selectors for each in one.matchers.matchers]
    equal = {str(one.value) for one in matched if one.name == "__name__" and one.op == _EQUAL}
    return equal | {one.name for one in selectors if one.name}


def number_of(expr: ast.Expr) -> float | None:
    """Return the number that an expression of nothing but numbers is; None for any other."""
    if isinstance(expr, ast.ParenExpr):
        return number_of(expr.expr)
    if isinstance(expr, ast.UnaryExpr):
        inner = number_of(expr.expr)
        return None if inner is None else -inner
    if isinstance(expr, ast.BinaryExpr) and (apply := _ARITHMETIC.get(str(expr.op))):
        left, right = number_of(expr.lhs), number_of(expr.rhs)
        return None if left is None or right is None else _finite(apply, left, right)
    return expr.val if isinstance(expr, ast.NumberLiteral) else None


def _finite(apply: Callable[[float, float], float], left: float, right: float) -> float | None:
    try:
        return apply(left, right)
    except ZeroDivisionError:
        return None


def parts_of(expr: ast.Expr) -> Iterator[ast.Expr]:
    """Yield an expression and all that it is made of, in reading order."""
    yield expr
    if isinstance(expr, ast.ParenExpr | ast.UnaryExpr | ast.AggregateExpr | ast.SubqueryExpr):
        yield from parts_of(expr.expr)
    elif isinstance(expr, ast.BinaryExpr):
        yield from parts_of(expr.lhs)
        yield from parts_of(expr.rhs)
    elif isinstance(expr, ast.Call):
        for argument in expr.args:
            yield from parts_of(argument)
    elif isinstance(expr, ast.MatrixSelector):
        yield from parts_of(expr.vector_selector)
