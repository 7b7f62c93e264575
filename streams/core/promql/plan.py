"""Turn expressions into plans. In: PromQL text and the recording rules around it. Out: nodes, or
the reason why a stream cannot evaluate it.

The rule this file owns: what is not in the language of this engine is refused here, when rules are
loaded, never when they run. Equal sub-expressions become one node.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

import promql_parser as ast

from schemas import eras
from streams.core.promql import calls
from streams.core.promql.labels import NAME
from streams.core.promql.leaves import Increase, Instant, Named, Number, Record, Recorded
from streams.core.promql.nodes import Node
from streams.core.promql.operators import Negate
from streams.core.promql.refusals import PlanError
from streams.core.promql.selectors import Matcher, Op, Selector
from streams.core.promql.target import SYNTHETIC

__all__ = ["PlanError", "Planner", "parse"]

WINDOW_MS_MAX: Final = 3_600_000
"""History is kept whole, so windows are bounded; longer ones need thinned history."""
EXPRESSION_CHARS_MAX: Final = 20_000
EXPRESSION_STEPS_MAX: Final = 500
"""Operators and brackets. The parser recurses, and too deep an expression would end the process."""
EXPRESSION_DEPTH_MAX: Final = 100

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|#[^\n]*')
_STEP: Final = re.compile(r"[-+*/%^<>=!(\[]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)


class Recording(Protocol):
    """A recording rule, as far as a plan is concerned."""

    @property
    def record(self) -> str: ...
    @property
    def expr(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


class Planner:
    """Plans for one way of evaluation: aligned, or live, where no recorded result is waited for."""

    def __init__(self, recorded: Mapping[str, Sequence[Recording]], *, live: bool) -> None:
        self._recorded, self._live = recorded, live
        self._nodes: dict[str, Node] = {}
        self._open: list[str] = []  # recorded names that are being expanded
        self._depth = 0

    def plan(self, text: str) -> Node:
        """Return the plan of an expression, or raise PlanError."""
        return self.node(parse(text))

    def node(self, expr: ast.Expr) -> Node:
        """Return the plan of a part of an expression; equal parts have one."""
        key = expr.prettify()
        if key not in self._nodes:
            self._depth += 1
            if self._depth > EXPRESSION_DEPTH_MAX:
                raise PlanError(f"nested deeper than {EXPRESSION_DEPTH_MAX}")
            try:
                self._nodes[key] = self._build(expr)
            finally:
                self._depth -= 1
        return self._nodes[key]

    def _build(self, expr: ast.Expr) -> Node:
        build = _BUILDERS.get(type(expr))
        if build is None:
            raise PlanError(_REFUSED.get(type(expr), f"{type(expr).__name__} is not supported"))
        return build(self, expr)

    def inner(self, expr: ast.ParenExpr) -> Node:
        """Return the plan of what is in parentheses."""
        return self.node(expr.expr)

    def negated(self, expr: ast.UnaryExpr) -> Node:
        """Return the plan of `-x`."""
        return Negate(self.node(expr.expr))

    def instant(self, expr: ast.VectorSelector) -> Node:
        """Return the plan of a selector: scraped series, or a recorded name."""
        selector = _selector(expr)
        if selector.name not in self._recorded:
            return Instant(selector)
        return self._named(selector) if self._live else Recorded(selector)

    def _named(self, selector: Selector) -> Node:
        name = selector.name
        if name in self._open:
            chain = " -> ".join([*self._open, name])
            raise PlanError(f"the recorded name {name} depends on itself: {chain}")
        self._open.append(name)
        try:
            rules = tuple(
                Record(name, tuple(sorted(rule.labels.items())), self.plan(rule.expr))
                for rule in self._recorded[name]
            )
        finally:
            self._open.pop()
        return Named(selector, rules)

    def call(self, expr: ast.Call) -> Node:
        """Return the plan of a function."""
        name = expr.func.name
        if name in _RANGES:
            return _RANGES[name](self, expr)
        return calls.call(self, expr, also=_RANGES)

    def increase(self, expr: ast.Call, *, per_second: bool) -> Node:
        """Return the plan of `rate` or `increase`."""
        (window,) = expr.args
        while isinstance(window, ast.ParenExpr):
            window = window.expr
        if not isinstance(window, ast.MatrixSelector):
            raise PlanError("subqueries are not supported")
        selector, width_ms = _selector(window.vector_selector), _ms(window.range)
        if selector.name in self._recorded:
            raise PlanError(
                f"{selector.name} is recorded; windows over recorded names are not kept"
            )
        if selector.name in SYNTHETIC:
            raise PlanError(f"{selector.name} is a gauge; {expr.func.name} of it means nothing")
        if not 0 < width_ms <= WINDOW_MS_MAX:
            raise PlanError(f"windows are at most {WINDOW_MS_MAX // 60_000} minutes")
        return Increase(selector, width_ms, per_second=per_second)


def parse(text: str) -> ast.Expr:
    """Return the syntax tree of an expression, or raise PlanError."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise PlanError(f"longer than {EXPRESSION_CHARS_MAX} characters")
    if len(_STEP.findall(_QUOTED.sub("", text))) > EXPRESSION_STEPS_MAX:
        raise PlanError(f"more than {EXPRESSION_STEPS_MAX} operators and brackets")
    try:
        return ast.parse(text)
    except ValueError as error:
        raise PlanError(f"not PromQL: {error}") from error


_RANGES: Final[dict[str, Callable[[Planner, ast.Call], Node]]] = {
    "increase": lambda planner, expr: planner.increase(expr, per_second=False),
    "rate": lambda planner, expr: planner.increase(expr, per_second=True),
}
"""The functions that read more of a series than its present value."""

_BUILDERS: Final[dict[type[Any], Callable[[Planner, Any], Node]]] = {
    ast.ParenExpr: Planner.inner,
    ast.NumberLiteral: lambda planner, expr: Number(expr.val),
    ast.UnaryExpr: Planner.negated,
    ast.VectorSelector: Planner.instant,
    ast.AggregateExpr: calls.aggregate,
    ast.BinaryExpr: calls.binary,
    ast.Call: Planner.call,
}

_REFUSED: Final[dict[type[Any], str]] = {
    ast.SubqueryExpr: "subqueries are not supported",
    ast.MatrixSelector: "a range is only for rate and increase",
    ast.StringLiteral: "a text is no result",
}


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def _selector(expr: ast.VectorSelector) -> Selector:
    if expr.offset is not None:
        raise PlanError("offset is not supported")
    if expr.at is not None:
        raise PlanError("@ is not supported: a stream has no other time than its own")
    if expr.matchers.or_matchers:
        raise PlanError("`or` between matchers is not supported")
    name, matchers = expr.name, []
    for matcher in expr.matchers.matchers:
        if matcher.name != NAME:
            matchers.append(Matcher(matcher.name, _op(matcher.op), matcher.value))
        elif matcher.op == ast.MatchOp.Equal:
            name = matcher.value
        else:
            raise PlanError(f"{NAME} can only be compared with =")
    if not name:
        raise PlanError("a selector needs a metric name")
    _check_name(name, matchers)
    return Selector(eras.current_name(name), tuple(sorted(matchers, key=str)))


def _op(op: ast.MatchOp) -> Op:
    if op == ast.MatchOp.Equal:
        return Op.EQUAL
    if op == ast.MatchOp.NotEqual:
        return Op.NOT_EQUAL
    return Op.MATCH if op == ast.MatchOp.Re else Op.NOT_MATCH


def _check_name(name: str, matchers: Sequence[Matcher]) -> None:
    if reason := eras.refused(name):
        raise PlanError(f"{name}: {reason}")
    for matcher in matchers:
        if reason := eras.renamed_label(name, matcher.label):
            raise PlanError(f"{name}: {reason}")
        try:
            matcher.test()
        except ValueError as error:
            raise PlanError(str(error)) from error
