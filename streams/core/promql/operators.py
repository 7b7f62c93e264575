"""Combine two values. In: numbers and vectors. Out: arithmetic, comparisons and set operations.

The rule this file owns: arithmetic forgets the metric name, a comparison without `bool` filters
and keeps the value of the vector (of two vectors, the left one's), as in Prometheus. A result is
covered as far as the less covered of its two sides.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from streams.core.promql.labels import NAME, Floats, Index, Labels, Mask
from streams.core.promql.matching import Matching, meet, sides
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import (
    NOTHING,
    Value,
    Vector,
    refuse_duplicates,
    union,
    unnamed,
)

Operation = Callable[[Any, Any], Any]

ARITHMETIC: Final[dict[str, Operation]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISONS: Final[dict[str, Operation]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
SETS: Final = ("and", "or", "unless")


class Scalars(Node):
    """An operation on two numbers; a comparison gives 1 or 0."""

    scalar = True

    def __init__(self, op: str, left: Node, right: Node) -> None:
        self.apply, self.children = (ARITHMETIC | COMPARISONS)[op], (left, right)

    def evaluate(self, context: Context) -> Value:
        left, right = (np.float64(context.number(child)) for child in self.children)
        with np.errstate(all="ignore"):
            return float(self.apply(left, right))


class WithScalar(Node):
    """An operation on a vector and a number, in either order."""

    def __init__(self, op: str, left: Node, right: Node, *, as_bool: bool) -> None:
        self.apply, self.children = (ARITHMETIC | COMPARISONS)[op], (left, right)
        self.filters = op in COMPARISONS and not as_bool

    def evaluate(self, context: Context) -> Value:
        left, right = (context.value(child) for child in self.children)
        source = left if isinstance(left, Vector) else right
        assert isinstance(source, Vector), "one side is a vector"
        with np.errstate(all="ignore"):
            found = self.apply(_values(left), _values(right))
        if self.filters:
            return source.where(found)
        kept = unnamed(source)
        return Vector(kept.labels, found.astype(np.float64), kept.present, kept.coverage)


def _values(side: Value) -> Floats | float:
    return side.values if isinstance(side, Vector) else side


class Vectors(Node):
    """An operation on two vectors whose rows are matched by labels."""

    def __init__(
        self, op: str, left: Node, right: Node, matching: Matching, *, as_bool: bool
    ) -> None:
        self.apply, self.children, self.matching = (
            (ARITHMETIC | COMPARISONS)[op],
            (left, right),
            matching,
        )
        self.filters = op in COMPARISONS and not as_bool

    def evaluate(self, context: Context) -> Value:
        left, right = (context.vector(child) for child in self.children)
        flipped = self.matching.many == "right"
        many, one = (right, left) if flipped else (left, right)
        if not many.present.any() or not one.present.any():
            return NOTHING
        met_by = meet(many, one, self.matching, context.shared)
        partner, meets = met_by.partner, met_by.meets
        met = one.values[partner]
        with np.errstate(all="ignore"):
            found = self.apply(met, many.values) if flipped else self.apply(many.values, met)
        if self.filters:
            meets = meets & found
            found = met if flipped else many.values
        if not self.matching.many:
            met_by.refuse_many(meets)
        result = Vector(
            self._labels(many.labels, one.labels, partner),
            found.astype(np.float64),
            meets,
            np.minimum(many.coverage, one.coverage[partner]),
        )
        if self.matching.many:
            refuse_duplicates(result, "grouping labels must tell results apart")
        return result

    def _labels(self, many: Labels, one: Labels, partner: Index) -> Labels:
        table = many if self.filters else many.drop((NAME,))
        if not self.matching.many:
            return self.matching.result(table)
        if not self.matching.include:
            return table
        kind = ("include", one, self.matching.include)
        return table.latest(
            kind,
            partner.tobytes(),
            lambda: _included(table, one, partner, self.matching.include),
        )


def _included(table: Labels, one: Labels, partner: Index, names: tuple[str, ...]) -> Labels:
    columns = dict(table.columns)
    for name in names:
        columns[name] = np.where(partner >= 0, one.column(name)[partner], 0).astype(np.int32)
    return Labels(columns, table.n)


class Sets(Node):
    """`and`, `or`, `unless`."""

    def __init__(self, op: str, left: Node, right: Node, matching: Matching) -> None:
        self.op, self.children, self.matching = op, (left, right), matching

    def evaluate(self, context: Context) -> Value:
        left, right = (context.vector(child) for child in self.children)
        if not left.n or not right.n:
            return {"and": left.where(_none(left)), "or": union([left, right]), "unless": left}[
                self.op
            ]
        found = sides(left.labels, right.labels, self.matching, context.shared)
        if self.op == "or":
            only = ~found.has(left.present, right=False)[found.right]
            return union([left, right.where(only)])
        there = found.has(right.present, right=True)[found.left]
        if self.op == "unless":
            return left.where(~there)
        least = np.full(found.sets, np.inf)
        here = right.present
        np.minimum.at(least, found.right[here], right.coverage[here])
        coverage = np.minimum(left.coverage, least[found.left])
        return Vector(left.labels, left.values, left.present & there, coverage)


def _none(vector: Vector) -> Mask:
    return np.zeros(vector.n, np.bool_)


class Negate(Node):
    """`-v`."""

    def __init__(self, source: Node) -> None:
        self.children, self.scalar = (source,), source.scalar

    def evaluate(self, context: Context) -> Value:
        value = context.value(self.children[0])
        if isinstance(value, float):
            return -value
        kept = unnamed(value)
        return Vector(kept.labels, -kept.values, kept.present, kept.coverage)
