"""Plan functions of present values, aggregations and operators. In: parts of a syntax tree, and the
planner of what is below them. Out: nodes.

The rule this file owns: each function has one line in one table. Labels that a family has lost are
neither grouped nor matched by.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

import promql_parser as ast

from schemas import eras
from streams.core.promql.aggregations import FOLDS, Aggregate
from streams.core.promql.dates import PARTS, DatePart, DatePartNow
from streams.core.promql.functions import EACH, Absent, Clamp, Each, FromScalar, Scalar, Time
from streams.core.promql.labels import NAME, Grouping
from streams.core.promql.leaves import Number
from streams.core.promql.matching import Matching
from streams.core.promql.nodes import Node, walk
from streams.core.promql.operators import SETS, Scalars, Sets, Vectors, WithScalar
from streams.core.promql.quantile import Fraction, Quantile
from streams.core.promql.ranked import CountValues, GroupQuantile, Largest, k_problem
from streams.core.promql.refusals import (
    EXPERIMENTAL,
    REFUSED_AGGREGATIONS,
    REFUSED_FUNCTIONS,
    PlanError,
)
from streams.core.promql.relabel import LabelJoin, LabelReplace


class Plans(Protocol):
    """The planner, as far as a function needs it."""

    def node(self, expr: ast.Expr) -> Node:
        """Return the plan of an argument."""


Build = Callable[[Plans, ast.Call], Node]


def call(plans: Plans, expr: ast.Call, *, also: Iterable[str]) -> Node:
    """Return the plan of a function; `also` names those that are planned elsewhere."""
    name = expr.func.name
    if name in REFUSED_FUNCTIONS:
        raise PlanError(f"{name}() is not supported: {REFUSED_FUNCTIONS[name]}")
    if name not in FUNCTIONS:
        known = ", ".join(sorted({*FUNCTIONS, *also}))
        raise PlanError(f"{name}() is not supported; functions are {known}")
    return FUNCTIONS[name](plans, expr)


def text_of(expr: ast.Expr) -> str:
    """Return an argument that the parser found to be a text."""
    while isinstance(expr, ast.ParenExpr):
        expr = expr.expr
    if not isinstance(expr, ast.StringLiteral):
        raise PlanError(f"{expr.prettify()} is no text")
    return str(expr.val)


def _absent(plans: Plans, expr: ast.Call) -> Node:
    """Return the plan of `absent`, with the labels that its selector fixes."""
    (source,) = expr.args
    while isinstance(source, ast.ParenExpr):
        source = source.expr
    return Absent(plans.node(source), fixed_labels(source))


def fixed_labels(source: ast.Expr) -> tuple[tuple[str, str], ...]:
    """Return the labels that a selector compares once, with `=`; none for another expression."""
    fixed: dict[str, str] = {}
    seen: set[str] = set()
    if isinstance(source, ast.VectorSelector):
        for matcher in source.matchers.matchers:
            if matcher.name == NAME:
                continue
            if matcher.op == ast.MatchOp.Equal and matcher.name not in seen:
                fixed[matcher.name] = matcher.value
                seen.add(matcher.name)
            else:
                fixed.pop(matcher.name, None)
    return tuple(fixed.items())


def _sorted(plans: Plans, expr: ast.Call) -> Node:
    """Return the plan of what is sorted: the results of a rule have no order."""
    (source,) = expr.args
    return plans.node(source)


def _label_replace(plans: Plans, expr: ast.Call) -> Node:
    source, *texts = expr.args
    target, replacement, origin, pattern = map(text_of, texts)
    _check_label(expr, target)
    node = plans.node(source)
    try:
        return LabelReplace(node, target, replacement, origin, pattern)
    except ValueError as error:
        raise PlanError(f"label_replace: {error}") from error


def _label_join(plans: Plans, expr: ast.Call) -> Node:
    source, *texts = expr.args
    target, separator, *origins = map(text_of, texts)
    for label in (target, *origins):
        _check_label(expr, label)
    return LabelJoin(plans.node(source), target, separator, *origins)


def _check_label(expr: ast.Call, label: str) -> None:
    if not label:
        raise PlanError(f'{expr.func.name}: "" is no label name')


def _named(make: Callable[..., Node]) -> Build:
    """Return how to plan one of a family of functions that takes nodes for all its arguments."""
    return lambda plans, expr: make(expr.func.name, *map(plans.node, expr.args))


def _date_part(plans: Plans, expr: ast.Call) -> Node:
    make = DatePart if expr.args else DatePartNow
    return _named(make)(plans, expr)


def _arguments(make: Callable[..., Node]) -> Build:
    """Return how to plan a function that takes nodes for all its arguments."""
    return lambda plans, expr: make(*map(plans.node, expr.args))


FUNCTIONS: Final[dict[str, Build]] = {
    "absent": _absent,
    "histogram_fraction": _arguments(Fraction),
    "histogram_quantile": _arguments(Quantile),
    "label_join": _label_join,
    "label_replace": _label_replace,
    "pi": lambda plans, expr: Number(math.pi),
    "scalar": _arguments(Scalar),
    "sort": _sorted,
    "sort_desc": _sorted,
    "time": _arguments(Time),
    "vector": _arguments(FromScalar),
    **dict.fromkeys(PARTS, _date_part),
    **dict.fromkeys(EACH, _named(Each)),
    "clamp": _named(Clamp),
}


def aggregate(plans: Plans, expr: ast.AggregateExpr) -> Node:
    """Return the plan of an aggregation."""
    op, modifier = str(expr.op), expr.modifier
    if op in REFUSED_AGGREGATIONS:
        raise PlanError(f"{op} is not supported: {REFUSED_AGGREGATIONS[op]}")
    if op not in FOLDS and op not in _PARAMETERS:
        known = ", ".join([*FOLDS, *_PARAMETERS])
        raise PlanError(f"{op} is not supported; aggregations are {known}")
    source = plans.node(expr.expr)
    labels = frozenset(modifier.labels) if modifier is not None else frozenset()
    by = modifier is None or modifier.type == ast.AggModifierType.By
    if by:
        _check_labels(source, labels)
    grouping = Grouping(labels, by)
    if op in FOLDS:
        return Aggregate(op, source, grouping)
    assert expr.param is not None, "the parser counts arguments"
    return _PARAMETERS[op](plans, expr.param, source, grouping)


def _ranked(
    plans: Plans, param: ast.Expr, source: Node, grouping: Grouping, *, least: bool
) -> Node:
    k = plans.node(param)
    if isinstance(k, Number) and (problem := k_problem(k.value)):
        raise PlanError(f"topk and bottomk: {problem}")
    return Largest(k, source, grouping, least=least)


def _quantile(plans: Plans, param: ast.Expr, source: Node, grouping: Grouping) -> Node:
    return GroupQuantile(plans.node(param), source, grouping)


def _count_values(plans: Plans, param: ast.Expr, source: Node, grouping: Grouping) -> Node:
    label = text_of(param)
    if not label:
        raise PlanError('count_values: "" is no label name')
    return CountValues(label, source, grouping)


_PARAMETERS: Final[dict[str, Callable[[Plans, ast.Expr, Node, Grouping], Node]]] = {
    "topk": partial(_ranked, least=False),
    "bottomk": partial(_ranked, least=True),
    "quantile": _quantile,
    "count_values": _count_values,
}
"""Aggregations that take a parameter, and how it is read."""


def binary(plans: Plans, expr: ast.BinaryExpr) -> Node:
    """Return the plan of an operator between two expressions."""
    op, modifier = str(expr.op), expr.modifier
    left, right = plans.node(expr.lhs), plans.node(expr.rhs)
    matching, as_bool = _matching(modifier), modifier is not None and modifier.return_bool
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
        raise PlanError(f"fill is not supported: {EXPERIMENTAL}")
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
