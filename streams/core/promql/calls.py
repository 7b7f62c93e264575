"""Plan functions of present values, aggregations and operators. In: parts of a syntax tree, and the
planner of what is below them. Out: nodes.

The rule this file owns: each function has one line in one table. Labels that a family has lost are
neither grouped nor matched by.
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import promql_parser as ast

from schemas import eras
from streams.core.promql.aggregations import AGGREGATIONS, Aggregate
from streams.core.promql.functions import EACH, Absent, Each, FromScalar, Time
from streams.core.promql.labels import NAME
from streams.core.promql.matching import Matching
from streams.core.promql.nodes import Node, walk
from streams.core.promql.operators import SETS, Scalars, Sets, Vectors, WithScalar
from streams.core.promql.quantile import Quantile
from streams.core.promql.refusals import PlanError


class Plans(Protocol):
    """The planner, as far as a function needs it."""

    def node(self, expr: ast.Expr) -> Node:
        """Return the plan of an argument."""


Build = Callable[[Plans, ast.Call], Node]


def call(plans: Plans, expr: ast.Call, *, also: Iterable[str]) -> Node:
    """Return the plan of a function; `also` names those that are planned elsewhere."""
    name = expr.func.name
    if name not in FUNCTIONS:
        known = ", ".join(sorted({*FUNCTIONS, *also}))
        raise PlanError(f"{name}() is not supported; functions are {known}")
    return FUNCTIONS[name](plans, expr)


def _each(plans: Plans, expr: ast.Call) -> Node:
    source, *numbers = expr.args
    return Each(expr.func.name, plans.node(source), tuple(map(plans.node, numbers)))


def _absent(plans: Plans, expr: ast.Call) -> Node:
    """Return the plan of `absent`, with the labels that its selector fixes."""
    (source,) = expr.args
    while isinstance(source, ast.ParenExpr):
        source = source.expr
    return Absent(plans.node(source), fixed_labels(source))


def fixed_labels(source: ast.Expr) -> tuple[tuple[str, str], ...]:
    """Return the labels that a selector compares once, with `=`; none for another expression."""
    fixed: dict[str, list[str]] = {}
    if isinstance(source, ast.VectorSelector):
        for matcher in source.matchers.matchers:
            equal = matcher.op == ast.MatchOp.Equal and matcher.name != NAME
            fixed.setdefault(matcher.name, []).append(matcher.value if equal else "")
    return tuple((name, values[0]) for name, values in fixed.items() if len(values) == 1)


def _arguments(make: Callable[..., Node]) -> Build:
    """Return how to plan a function that takes nodes for all its arguments."""
    return lambda plans, expr: make(*map(plans.node, expr.args))


FUNCTIONS: Final[dict[str, Build]] = {
    "absent": _absent,
    "histogram_quantile": _arguments(Quantile),
    "time": _arguments(Time),
    "vector": _arguments(FromScalar),
    **dict.fromkeys(EACH, _each),
}


def aggregate(plans: Plans, expr: ast.AggregateExpr) -> Node:
    """Return the plan of an aggregation."""
    op = str(expr.op)
    if op not in AGGREGATIONS:
        raise PlanError(f"{op} is not supported; aggregations are {', '.join(AGGREGATIONS)}")
    source, modifier = plans.node(expr.expr), expr.modifier
    labels = frozenset(modifier.labels) if modifier is not None else frozenset()
    by = modifier is None or modifier.type == ast.AggModifierType.By
    if by:
        _check_labels(source, labels)
    return Aggregate(op, source, labels, by=by)


def binary(plans: Plans, expr: ast.BinaryExpr) -> Node:
    """Return the plan of an operator between two expressions."""
    op, modifier = str(expr.op), expr.modifier
    left, right = plans.node(expr.lhs), plans.node(expr.rhs)
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
