"""Aggregate over label sets. In: a vector. Out: one value for each group.

The rule this file owns: groups come from the label table alone, so they are found once for each
table; the coverage of a group is the mean of its members'. Sums do not lose small members to large
ones that cancel out, and a mean does not overflow: Prometheus' own promises.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Final

import numpy as np

from streams.core.promql.labels import Floats, Grouping, Index
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import NOTHING, Value, Vector

Fold = Callable[[Floats, Index, int], Floats]
"""(values, group of each, number of groups) -> a value for each group."""

CANCELLED: Final = 1e-3
"""A sum that is smaller than this share of its members' sizes is added up again, exactly."""


def sums(values: Floats, groups: Index, n: int) -> Floats:
    """Return the sum of each group."""
    total = np.bincount(groups, values, n).astype(np.float64, copy=False)
    if len(values) and values.min() >= 0:
        return total  # nothing cancels out
    doubtful = np.abs(total) < CANCELLED * np.bincount(groups, np.abs(values), n)
    for group in np.flatnonzero(doubtful).tolist():
        with contextlib.suppress(OverflowError):  # then the plain sum stays
            total[group] = math.fsum(values[groups == group].tolist())
    return total


def counts(values: Floats, groups: Index, n: int) -> Floats:
    """Return the members of each group."""
    return np.bincount(groups, minlength=n).astype(np.float64)


def means(values: Floats, groups: Index, n: int) -> Floats:
    """Return the mean of each group."""
    members = counts(values, groups, n)
    total = sums(values, groups, n)
    with np.errstate(all="ignore"):
        mean: Floats = total / members
        if np.isinf(total).any():  # members that are too large to add are divided first
            small = sums(values / members[groups], groups, n)
            mean = np.where(np.isinf(total), small, mean)
    return mean


def _group(values: Floats, groups: Index, n: int) -> Floats:
    return np.ones(n)


def _variance(values: Floats, groups: Index, n: int) -> Floats:
    with np.errstate(all="ignore"):
        away = values - means(values, groups, n)[groups]
        return means(away * away, groups, n)


def _deviation(values: Floats, groups: Index, n: int) -> Floats:
    return np.sqrt(_variance(values, groups, n))


def _extreme(pick: np.ufunc) -> Fold:
    """NaN loses against any number, as in Prometheus."""

    def fold(values: Floats, groups: Index, n: int) -> Floats:
        found = np.full(n, np.nan)
        pick.at(found, groups, values)
        return found

    return fold


FOLDS: Final[dict[str, Fold]] = {
    "sum": sums,
    "count": counts,
    "group": _group,
    "avg": means,
    "min": _extreme(np.fmin),
    "max": _extreme(np.fmax),
    "stddev": _deviation,
    "stdvar": _variance,
}


class Aggregate(Node):
    """`sum by (a) (v)` and its like."""

    def __init__(self, op: str, source: Node, grouping: Grouping) -> None:
        self.fold, self.grouping, self.children = FOLDS[op], grouping, (source,)

    def evaluate(self, context: Context) -> Value:
        return folded(context.vector(self.children[0]), self.grouping, self.fold)


def folded(source: Vector, grouping: Grouping, fold: Fold) -> Vector:
    """Return one value for each group that has a row."""
    if not source.n:
        return NOTHING
    table, groups = grouping.groups(source.labels)
    if source.whole:  # so is each group
        return Vector(table, fold(source.values, groups, table.n), *table.ones)
    values, coverage = source.values, source.coverage
    if not source.present.all():
        here = source.present
        groups, values, coverage = groups[here], values[here], coverage[here]
    members = np.bincount(groups, minlength=table.n)
    covered = np.bincount(groups, coverage, table.n) / np.maximum(members, 1)
    return Vector(table, fold(values, groups, table.n), members > 0, covered)
