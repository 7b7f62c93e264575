"""Aggregate over label sets. In: a vector. Out: one value for each group.

The rule this file owns: groups come from the label table alone, so they are found once for each
table; the coverage of a group is the mean of its members'.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from streams.core.promql.labels import NAME, Floats, Index
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import NOTHING, Value, Vector

Fold = Callable[[Floats, Index, int], Floats]
"""(values, group of each, number of groups) -> a value for each group."""


def _sum(values: Floats, groups: Index, n: int) -> Floats:
    return np.bincount(groups, values, n).astype(np.float64, copy=False)


def _count(values: Floats, groups: Index, n: int) -> Floats:
    return np.bincount(groups, minlength=n).astype(np.float64)


def _avg(values: Floats, groups: Index, n: int) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean: Floats = _sum(values, groups, n) / _count(values, groups, n)
    return mean


def _extreme(pick: np.ufunc) -> Fold:
    """NaN loses against any number, as in Prometheus."""

    def fold(values: Floats, groups: Index, n: int) -> Floats:
        found = np.full(n, np.nan)
        pick.at(found, groups, values)
        return found

    return fold


AGGREGATIONS: Final[dict[str, Fold]] = {
    "sum": _sum,
    "count": _count,
    "avg": _avg,
    "min": _extreme(np.fmin),
    "max": _extreme(np.fmax),
}


class Aggregate(Node):
    """`sum by (a) (v)` and its like."""

    def __init__(self, op: str, source: Node, labels: frozenset[str], *, by: bool) -> None:
        self.fold, self.labels, self.by, self.children = AGGREGATIONS[op], labels, by, (source,)

    def evaluate(self, context: Context) -> Value:
        source = context.vector(self.children[0])
        if not source.n:
            return NOTHING
        names = source.labels.names
        kept = self.labels if self.by else [n for n in names if n not in self.labels and n != NAME]
        table, groups = source.labels.group(kept)
        values, coverage = source.values, source.coverage
        if not source.present.all():
            here = source.present
            groups, values, coverage = groups[here], values[here], coverage[here]
        present = np.bincount(groups, minlength=table.n) > 0
        return Vector(
            table, self.fold(values, groups, table.n), present, _avg(coverage, groups, table.n)
        )
