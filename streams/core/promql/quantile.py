"""Estimate quantiles and shares of histograms. In: cumulative buckets as series with `le`. Out: one
value for each histogram.

The rule this file owns: the arithmetic of Prometheus' histogram_quantile and histogram_fraction,
the repair of buckets that fall, and the edge cases; on whole matrices instead of one histogram at
a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.promql.labels import NAME, Floats, Index, Labels, Strings
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import NOTHING, Value, Vector

SMALL_DELTA: Final = 1e-12
"""Relative difference below which two neighbouring buckets are equal (Prometheus' tolerance)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Histograms with the same bounds."""

    groups: Index  # (histograms,)
    bounds: Floats  # (buckets,) ascending
    rows: Index  # (histograms, buckets) of the vector


@dataclass(frozen=True, slots=True)
class Histograms:
    """How the rows of a table make histograms."""

    labels: Labels
    groups: Index  # of each row
    batches: tuple[Batch, ...]


Estimate = Callable[[Floats, Floats], Floats]
"""(bounds, cumulative counts of each histogram) -> a value for each histogram."""


class Quantile(Node):
    """`histogram_quantile(q, v)`."""

    def __init__(self, q: Node, source: Node) -> None:
        self.children = (q, source)

    def evaluate(self, context: Context) -> Value:
        q = context.number(self.children[0])
        return _estimated(
            context, self.children[1], lambda bounds, counts: quantiles(q, bounds, counts)
        )


class Fraction(Node):
    """`histogram_fraction(lower, upper, v)`."""

    def __init__(self, lower: Node, upper: Node, source: Node) -> None:
        self.children = (lower, upper, source)

    def evaluate(self, context: Context) -> Value:
        lower, upper = (context.number(child) for child in self.children[:2])
        return _estimated(
            context,
            self.children[2],
            lambda bounds, counts: fractions(lower, upper, bounds, counts),
        )


def _estimated(context: Context, node: Node, estimate: Estimate) -> Vector:
    """Return one value for each histogram of a vector."""
    source = context.vector(node)
    if not source.n:
        return NOTHING
    here = source.present
    plan = source.labels.latest(
        "histograms",
        here.tobytes(),
        lambda: _histograms(source.labels, np.flatnonzero(here), context.strings),
    )
    values, coverage = np.full(plan.labels.n, np.nan), np.zeros(plan.labels.n)
    present = np.zeros(plan.labels.n, np.bool_)
    for batch in plan.batches:
        with np.errstate(all="ignore"):  # counts can be infinite: no share of them is a number
            values[batch.groups] = estimate(batch.bounds, source.values[batch.rows])
        coverage[batch.groups] = source.coverage[batch.rows].mean(axis=1)
        present[batch.groups] = True
    return Vector(plan.labels, values, present, coverage)


def _histograms(labels: Labels, rows: Index, strings: Strings) -> Histograms:
    """Sort rows into histograms; a row without a number in `le` belongs to none."""
    kept = [name for name in labels.names if name not in ("le", NAME)]
    table, groups = labels.group(kept)
    codes, inverse = np.unique(labels.column("le"), return_inverse=True)
    bounds = np.array([_bound(strings.text(int(code))) for code in codes])[inverse.reshape(-1)]
    rows = rows[~np.isnan(bounds[rows])]
    rows = rows[np.lexsort((bounds[rows], groups[rows]))]
    begins = np.flatnonzero(np.diff(groups[rows], prepend=-1))
    found: dict[bytes, list[Index]] = {}
    for part in np.split(rows, begins[1:]) if len(rows) else []:
        found.setdefault(bounds[part].tobytes(), []).append(part)
    batches = [
        Batch(groups[(matrix := np.stack(parts))[:, 0]], bounds[parts[0]], matrix)
        for parts in found.values()
    ]
    return Histograms(table, groups, tuple(batches))


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def quantiles(q: float, bounds: Floats, cumulative: Floats) -> Floats:
    """Return the q-quantile of each histogram.

    bounds: (B,) ascending, equal ones are added; cumulative: (H, B). Returns (H,), NaN where there
    is no observation or no bucket +Inf.
    """
    h = len(cumulative)
    if np.isnan(q) or bounds[-1] != np.inf:
        return np.full(h, np.nan)
    if not 0 <= q <= 1:
        return np.full(h, -np.inf if q < 0 else np.inf)
    distinct, first = np.unique(bounds, return_index=True)
    if len(distinct) < 2:
        return np.full(h, np.nan)
    counts = _ascending(np.add.reduceat(cumulative, first, axis=1))
    total = counts[:, -1]
    rank = q * total
    reached = counts[:, :-1] >= rank[:, None]
    bucket = np.where(reached.any(axis=1), reached.argmax(axis=1), len(distinct) - 1)
    return np.where(total != 0, _interpolate(distinct, counts, bucket, rank), np.nan)


def _interpolate(bounds: Floats, counts: Floats, bucket: NDArray[np.int64], rank: Floats) -> Floats:
    """Return where the rank lies in its bucket, taking observations as evenly spread."""
    rows, before = np.arange(len(counts)), np.maximum(bucket - 1, 0)
    begin = np.where(bucket > 0, bounds[before], 0.0)
    below = np.where(bucket > 0, counts[rows, before], 0.0)
    with np.errstate(all="ignore"):
        share = (rank - below) / (counts[rows, bucket] - below)
        inside = begin + (bounds[bucket] - begin) * share
    inside = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], inside)
    return np.where(bucket == len(bounds) - 1, bounds[-2], inside)


def fractions(lower: float, upper: float, bounds: Floats, cumulative: Floats) -> Floats:
    """Return the share of each histogram's observations between two values.

    bounds: (B,) ascending, equal ones are added; cumulative: (H, B). Returns (H,), NaN where there
    is no observation or no bucket +Inf. Buckets that fall are not lifted, and nothing is known
    below the first bound: as in Prometheus 3.5.
    """
    if np.isnan(lower) or np.isnan(upper) or bounds[-1] != np.inf:
        return np.full(len(cumulative), np.nan)
    distinct, first = np.unique(bounds, return_index=True)
    counts = np.add.reduceat(cumulative, first, axis=1)
    total = counts[:, -1]
    if lower >= upper:
        return np.where(total == 0, np.nan, 0.0)
    with np.errstate(all="ignore"):
        share = (_rank(upper, distinct, counts) - _rank(lower, distinct, counts)) / total
    return np.where(total == 0, np.nan, share)


def _rank(value: float, bounds: Floats, counts: Floats) -> Floats:
    """Return how many observations of each histogram lie below a value, at most all."""
    if value == -np.inf:
        return np.zeros(len(counts))
    bucket = int(np.searchsorted(bounds, value))
    if bounds[bucket] == value:
        return np.minimum(counts[:, bucket], counts[:, -1])
    begin = bounds[bucket - 1] if bucket else -np.inf
    below = counts[:, bucket - 1] if bucket else np.zeros(len(counts))
    inside = below + (counts[:, bucket] - below) * (value - begin) / (bounds[bucket] - begin)
    return np.where(inside > counts[:, -1], counts[:, -1], inside)


def _ascending(counts: Floats) -> Floats:
    """Lift buckets that fall below the one before; level differences that are only rounding."""
    step = np.diff(counts, axis=1)
    size = np.abs(counts[:, 1:]) + np.abs(counts[:, :-1])
    with np.errstate(all="ignore"):
        wrong = (step < 0) | ((step != 0) & (np.abs(step) < SMALL_DELTA * size))
    rows = np.flatnonzero(wrong.any(axis=1))
    if not len(rows):
        return counts
    repaired = counts.copy()
    repaired[rows] = _repaired(counts[rows])
    return repaired


def _repaired(counts: Floats) -> Floats:
    for b in range(1, counts.shape[1]):
        before, now = counts[:, b - 1], counts[:, b]
        with np.errstate(all="ignore"):
            rounding = np.abs(now - before) < SMALL_DELTA * (np.abs(now) + np.abs(before))
        counts[:, b] = np.where((now < before) | rounding, before, now)
    return counts
