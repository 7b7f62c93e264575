"""Queries of templates. In: the text of a query, as it was with two different sets of labels. Out:
the expression that is planned when rules are loaded, and which of its results a text asks for.

The rule this file owns: what a query reads is known when rules are loaded. Labels of the alert may
stand only as values of `=` matchers of the only selector, `up{job="..."}`, and what is around it
must leave its labels alone, as `rate(x{job="..."}[5m]) > 0` does.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import promql_parser as ast

from streams.core.gotemplate.quoting import quoted
from streams.core.promql.plan import PlanError, parse
from streams.core.promql.selectors import Matcher, Op

Found = Sequence[tuple[Mapping[str, str], float]]
"""What a query gave: labels and value of each result."""
Matchers = list[tuple[str, str, str]]


class QueryError(ValueError):
    """A query cannot be used, or not with this text."""


@dataclass(frozen=True, slots=True)
class Query:
    """A call of `query`."""

    expr: str  # what is planned
    open: tuple[str, ...] = ()  # labels that the text compares, and `expr` does not
    descending: bool | None = None  # whether results are sorted by value; else by labels

    def chosen(self, text: str, find: Callable[[str], Found]) -> Found:
        """Return the results that a text asks for, in the order it asks for."""
        wanted = self._wanted(text) if self.open else ()
        if not self.open and text != self.expr:
            raise QueryError(f"query: {text!r} was not known when the rules were loaded")
        found = [
            one
            for one in find(self.expr)
            if all(matcher.test()(one[0].get(matcher.label, "")) for matcher in wanted)
        ]
        found.sort(key=lambda one: sorted(one[0].items()))
        if self.descending is not None:
            found.sort(key=lambda one: _rank(one[1], descending=self.descending is True))
        return found

    def _wanted(self, text: str) -> tuple[Matcher, ...]:
        parsed = _parsed(text)
        selector = _selector(parsed)
        if selector is None or _without(parsed, selector, self.open) != self.expr:
            raise QueryError(f"query: {text!r} was not known when the rules were loaded")
        return tuple(
            Matcher(name, Op.EQUAL, value)
            for name, _, value in _matchers(selector)
            if name in self.open
        )


def query_of(one: str, other: str) -> Query:
    """Return the query whose texts are these with different labels."""
    parsed = _parsed(one)
    if one == other:
        return Query(one, descending=_order(parsed))
    beside = _parsed(other)
    left, right = _selector(parsed), _selector(beside)
    if left is None or right is None or len(_matchers(left)) != len(_matchers(right)):
        raise QueryError(
            "query: labels and values may only stand in the matchers of the only selector, "
            'as in printf `up{job="%s"}` $labels.job, and not below an aggregation'
        )
    pairs = zip(_matchers(left), _matchers(right), strict=True)
    names = tuple(dict.fromkeys(mine[0] for mine, theirs in pairs if mine != theirs))
    closed = all(op == "=" for name, op, _ in _matchers(left) if name in names)
    expr = _without(parsed, left, names)
    if not closed or "__name__" in names or expr != _without(beside, right, names):
        raise QueryError('query: labels and values may only be compared with =, as in job="..."')
    return Query(expr, names, _order(parsed))


def _parsed(text: str) -> ast.Expr:
    try:
        return parse(text)
    except PlanError as error:
        raise QueryError(f"query: {text!r}: {error}") from error


def _selector(expr: ast.Expr) -> ast.VectorSelector | None:
    """Return the only selector, where all around it leaves its labels alone."""
    if isinstance(expr, ast.VectorSelector):
        return None if expr.offset or expr.at else expr
    if isinstance(expr, ast.MatrixSelector):
        return _selector(expr.vector_selector)
    if isinstance(expr, ast.ParenExpr | ast.UnaryExpr):
        return _selector(expr.expr)
    parts: list[ast.Expr] = []
    if isinstance(expr, ast.BinaryExpr):
        parts = [expr.lhs, expr.rhs]
    elif isinstance(expr, ast.Call) and expr.func.name not in _RELABELLING:
        parts = list(expr.args)
    inner = [part for part in parts if not isinstance(part, ast.NumberLiteral)]
    return _selector(inner[0]) if len(inner) == 1 else None


def _unwrapped(expr: ast.Expr) -> ast.Expr:
    while isinstance(expr, ast.ParenExpr):
        expr = expr.expr
    return expr


def _matchers(selector: ast.VectorSelector) -> Matchers:
    found = ((one.name, _OPS[str(one.op)], one.value) for one in selector.matchers.matchers)
    return list(found)


def _without(expr: ast.Expr, selector: ast.VectorSelector, names: Sequence[str]) -> str:
    """Return the text of an expression without its selector's matchers on these labels."""
    kept = [one for one in _matchers(selector) if one[0] not in names]
    matchers = ",".join(f"{name}{op}{quoted(value)}" for name, op, value in kept)
    wider = f"{selector.name or ''}{{{matchers}}}"
    return str(expr.prettify()).replace(selector.prettify(), wider, 1)


def _order(expr: ast.Expr) -> bool | None:
    """Return whether the results are sorted by value, descending."""
    expr = _unwrapped(expr)
    if isinstance(expr, ast.Call):
        return _SORTED.get(expr.func.name)
    return _SORTED.get(str(expr.op)) if isinstance(expr, ast.AggregateExpr) else None


def _rank(value: float, *, descending: bool) -> tuple[bool, float]:
    """NaN comes last, whichever way."""
    if math.isnan(value):
        return True, 0.0
    return False, -value if descending else value


_RELABELLING: Final = frozenset(
    ("absent", "absent_over_time", "histogram_fraction", "histogram_quantile", "scalar", "vector")
)
_OPS: Final = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}
_SORTED: Final = {"sort": False, "sort_desc": True, "topk": True, "bottomk": False}
