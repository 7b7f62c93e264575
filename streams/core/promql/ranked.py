"""Aggregate with a parameter. In: a vector, and a number or a label. Out: the largest rows of
each group, a quantile of each group, how often each value occurs.

The rule this file owns: of rows with equal values those whose labels come first are taken, so that
the order of arrival decides nothing.
"""

from typing import Final

import numpy as np

from streams.core.promql.aggregations import counts, folded
from streams.core.promql.labels import NAME, Floats, Grouping, Index, Labels, Strings
from streams.core.promql.nodes import Context, Node
from streams.core.promql.numerals import plain
from streams.core.promql.relabel import code_of
from streams.core.promql.vector import NOTHING, EvaluationError, Value, Vector

K_MAX: Final = float(1 << 63)
VALUES_MAX: Final = 1_000
"""Distinct values that count_values counts: each becomes a label's text, which is kept."""


def k_problem(k: float) -> str:
    """Return why a number is no number of rows; "" if it is one."""
    return "" if -K_MAX <= k < K_MAX else f"{plain(k)} is no number of series"


class Largest(Node):
    """`topk(k, v)`; `bottomk` with `least`."""

    def __init__(self, k: Node, source: Node, grouping: Grouping, *, least: bool = False) -> None:
        self.children, self.grouping, self.least = (k, source), grouping, least

    def evaluate(self, context: Context) -> Value:
        k, source = context.number(self.children[0]), context.vector(self.children[1])
        rows = np.flatnonzero(source.present)
        if not len(rows):
            return NOTHING
        if problem := k_problem(k):
            raise EvaluationError(problem)
        if k >= len(rows):
            return source
        groups = self.grouping.groups(source.labels)[1][rows]
        values = source.values[rows] if self.least else -source.values[rows]
        ties = _order(source.labels, context.strings)[rows]
        order = np.lexsort((ties, values, groups))  # NaN comes last, whichever way
        best = np.zeros(source.n, np.bool_)
        best[rows[order[_places(groups[order]) < int(k)]]] = True
        return source.where(best)


def _places(groups: Index) -> Index:
    """Return the place of each row in its group; the rows of a group stand together."""
    at = np.arange(len(groups))
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    return at - np.repeat(begins, np.diff(begins, append=len(groups)))


def _order(labels: Labels, strings: Strings) -> Index:
    """Return for each row its place when the rows are sorted by the texts of their labels."""
    return labels.once(("order",), lambda: _ordered(labels, strings))


def _ordered(labels: Labels, strings: Strings) -> Index:
    keys = []
    for name in labels.names:
        codes, inverse = np.unique(labels.columns[name], return_inverse=True)
        texts = [strings.text(int(code)) for code in codes]
        places = np.empty(len(texts), np.int64)
        places[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
        keys.append(places[inverse.reshape(-1)])
    order = np.empty(labels.n, np.int64)
    order[np.lexsort(keys[::-1]) if keys else slice(None)] = np.arange(labels.n)
    return order


class GroupQuantile(Node):
    """`quantile(q, v)`."""

    def __init__(self, q: Node, source: Node, grouping: Grouping) -> None:
        self.children, self.grouping = (q, source), grouping

    def evaluate(self, context: Context) -> Value:
        q, source = context.number(self.children[0]), context.vector(self.children[1])
        return folded(
            source, self.grouping, lambda values, groups, n: _quantiles(q, values, groups, n)
        )


def _quantiles(q: float, values: Floats, groups: Index, n: int) -> Floats:
    """Return the quantile of each group between its two nearest values; NaN is the least value."""
    if not 0 <= q <= 1:
        return np.full(n, np.nan if np.isnan(q) else np.copysign(np.inf, q))
    ordered = values[np.lexsort((values, ~np.isnan(values), groups))]
    members = np.bincount(groups, minlength=n)
    begins = np.cumsum(members) - members
    rank = q * (members - 1)
    low = np.maximum(np.floor(rank), 0).astype(np.int64)
    share = rank - np.floor(rank)
    here = members > 0
    found = np.full(n, np.nan)
    first, second = begins + low, begins + np.minimum(low + 1, members - 1)
    with np.errstate(all="ignore"):
        found[here] = ordered[first[here]] * (1 - share[here]) + ordered[second[here]] * share[here]
    return found


class CountValues(Node):
    """`count_values("label", v)`: how many rows of a group have each value."""

    def __init__(self, label: str, source: Node, grouping: Grouping) -> None:
        if grouping.by:
            grouping = Grouping(grouping.labels | {label})
        self.label, self.children, self.grouping = label, (source,), grouping

    def evaluate(self, context: Context) -> Value:
        source = context.vector(self.children[0])
        rows = np.flatnonzero(source.present)
        if not len(rows):
            return NOTHING
        # by bits: -0 is another text than 0
        bits, inverse = np.unique(source.values[rows].view(np.int64), return_inverse=True)
        if len(bits) > VALUES_MAX:
            raise EvaluationError(f"count_values: more than {VALUES_MAX} different values")
        codes = np.fromiter(
            (code_of(context.strings, plain(float(value))) for value in bits.view(np.float64)),
            np.int32,
        )
        columns = {name: codes[rows] for name, codes in source.labels.columns.items()}
        if not self.grouping.by:
            columns.pop(NAME, None)
        columns[self.label] = codes[inverse.reshape(-1)]
        seen = Vector(
            Labels(columns, len(rows)),
            source.values[rows],
            np.ones(len(rows), np.bool_),
            source.coverage[rows],
        )
        return folded(seen, self.grouping, counts)
