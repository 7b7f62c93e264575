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
from streams.core.promql.aggregations import AGGREGATIONS, Aggregate
from streams.core.promql.functions import EACH, Absent, Each, FromScalar, Time
from streams.core.promql.labels import NAME
from streams.core.promql.leaves import Increase, Instant, Named, Number, Record, Recorded
from streams.core.promql.matching import Matching
from streams.core.promql.nodes import Node, walk
from streams.core.promql.operators import SETS, Negate, Scalars, Sets, Vectors, WithScalar
from streams.core.promql.quantile import Quantile
from streams.core.promql.selectors import Matcher, Op, Selector
from streams.core.promql.target import SYNTHETIC

WINDOW_MS_MAX: Final = 3_600_000
"""History is kept whole, so windows are bounded; longer ones need thinned history."""
EXPRESSION_CHARS_MAX: Final = 20_000
EXPRESSION_STEPS_MAX: Final = 500
"""Operators and brackets. The parser recurses, and too deep an expression would end the process."""
EXPRESSION_DEPTH_MAX: Final = 100

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|#[^\n]*')
_STEP: Final = re.compile(r"[-+*/%^<>=!(\[]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)


class PlanError(ValueError):
    """An expression cannot be evaluated here; the message says why and what to do."""


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
        return self._node(parse(text))

    def _node(self, expr: ast.Expr) -> Node:
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
        return self._node(expr.expr)

    def negated(self, expr: ast.UnaryExpr) -> Node:
        """Return the plan of `-x`."""
        return Negate(self._node(expr.expr))

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

    def aggregate(self, expr: ast.AggregateExpr) -> Node:
        """Return the plan of an aggregation."""
        op = str(expr.op)
        if op not in AGGREGATIONS:
            raise PlanError(f"{op} is not supported; aggregations are {', '.join(AGGREGATIONS)}")
        source, modifier = self._node(expr.expr), expr.modifier
        labels = frozenset(modifier.labels) if modifier is not None else frozenset()
        by = modifier is None or modifier.type == ast.AggModifierType.By
        if by:
            _check_labels(source, labels)
        return Aggregate(op, source, labels, by=by)

    def binary(self, expr: ast.BinaryExpr) -> Node:
        """Return the plan of an operator between two expressions."""
        op, modifier = str(expr.op), expr.modifier
        left, right = self._node(expr.lhs), self._node(expr.rhs)
        matching, as_bool = _matching(modifier), modifier is not None and modifier.return_bool
        if op == "atan2":
            raise PlanError("atan2 is not supported")
        if matching.on:
            _check_labels(left, matching.labels)
            _check_labels(right, matching.labels)
        if op in SETS:
            return Sets(op, left, right, matching)
        if left.scalar and right.scalar:
            return Scalars(op, left, right)
        if left.scalar or right.scalar:
            return WithScalar(op, left, right, as_bool=as_bool)
        return Vectors(op, left, right, matching, as_bool=as_bool)

    def call(self, expr: ast.Call) -> Node:
        """Return the plan of a function."""
        name = expr.func.name
        if name in EACH:
            source, *numbers = expr.args
            return Each(name, self._node(source), tuple(map(self._node, numbers)))
        if name not in _FUNCTIONS:
            known = ", ".join(sorted({*_FUNCTIONS, *EACH}))
            raise PlanError(f"{name}() is not supported; functions are {known}")
        return _FUNCTIONS[name](self, expr)

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

    def absent(self, expr: ast.Call) -> Node:
        """Return the plan of `absent`, with the labels that its selector fixes."""
        (source,) = expr.args
        while isinstance(source, ast.ParenExpr):
            source = source.expr
        fixed: dict[str, list[str]] = {}
        if isinstance(source, ast.VectorSelector):
            for matcher in source.matchers.matchers:
                equal = matcher.op == ast.MatchOp.Equal and matcher.name != NAME
                fixed.setdefault(matcher.name, []).append(matcher.value if equal else "")
        labels = tuple((name, values[0]) for name, values in fixed.items() if len(values) == 1)
        return Absent(self._node(source), labels)

    def arguments(self, expr: ast.Call) -> list[Node]:
        """Return the plans of all arguments."""
        return [self._node(each) for each in expr.args]


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


_FUNCTIONS: Final[dict[str, Callable[[Planner, ast.Call], Node]]] = {
    "absent": lambda planner, expr: planner.absent(expr),
    "histogram_quantile": lambda planner, expr: Quantile(*planner.arguments(expr)),
    "increase": lambda planner, expr: planner.increase(expr, per_second=False),
    "rate": lambda planner, expr: planner.increase(expr, per_second=True),
    "time": lambda planner, expr: Time(),
    "vector": lambda planner, expr: FromScalar(*planner.arguments(expr)),
}

_BUILDERS: Final[dict[type[Any], Callable[[Planner, Any], Node]]] = {
    ast.ParenExpr: Planner.inner,
    ast.NumberLiteral: lambda planner, expr: Number(expr.val),
    ast.UnaryExpr: Planner.negated,
    ast.VectorSelector: Planner.instant,
    ast.AggregateExpr: Planner.aggregate,
    ast.BinaryExpr: Planner.binary,
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


def _check_labels(source: Node, labels: frozenset[str]) -> None:
    """Refuse to group or match by a label that a family below has lost."""
    for node in walk(source):
        for selector in node.selectors:
            for label in sorted(labels):
                if reason := eras.renamed_label(selector.name, label):
                    raise PlanError(f"{selector.name}: {reason}")


def _matching(modifier: ast.BinModifier | None) -> Matching:
    if modifier is None:
        return Matching()
    fill = modifier.fill_values
    if fill is not None and (fill.lhs is not None or fill.rhs is not None):
        raise PlanError("fill values are not supported")
    many = {"ManyToOne": "left", "OneToMany": "right"}.get(str(modifier.card).split(".")[-1], "")
    labels, on = modifier.matching, False
    if labels is not None:
        on = labels.type == ast.LabelModifierType.Include
    return Matching(
        frozenset(labels.labels if labels is not None else ()),
        on=on,
        many=many,
        include=tuple(modifier.group_labels or ()),
    )
