"""The functions of ranges: what a series did over a window. In: the samples of a window. Out: one
value for each series.

The rule this file owns: the arithmetic of Prometheus on the samples in (t - w, t]; where that
extrapolates (`delta`, and `rate` and `increase` for those who compare with it) this does, too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.promql.labels import Floats, Index, Mask
from streams.core.promql.ring import Matrix

Block = NDArray[np.float64]
"""(k, n): n series that all have samples at the same k times, k > 0."""


@dataclass(frozen=True, slots=True)
class Span:
    """The window, and the number that came with the function."""

    begin_ms: int
    end_ms: int
    now_ms: int  # of the evaluation; the window ends earlier where there is an offset
    number: float = np.nan

    @property
    def width_s(self) -> float:
        """Its length."""
        return (self.end_ms - self.begin_ms) / 1000


Fold = Callable[[Floats, Block, Span], Floats]
"""(times in s before the end of the window or, where that does not matter, before the newest
samples, values, window) -> a value for each series."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a range."""

    fold: Fold
    samples_min: int = 1
    timed: bool = False  # whether the end of the window matters, not only the samples
    keeps_name: bool = False
    number: int | None = None  # position of its number among the arguments, if it has one


def apply(function: Function, matrix: Matrix, span: Span) -> tuple[Floats, Mask]:
    """Return the value of each series of the matrix, and which have one."""
    n = matrix.labels.n
    values, there = np.full(n, np.nan), np.zeros(n, np.bool_)
    # Where the end of the window does not matter, it must not even be seen in the last bit.
    zero_ms = span.end_ms if function.timed or not len(matrix.times_ms) else matrix.times_ms[-1]
    seconds = (matrix.times_ms - zero_ms) / 1000
    for rows, columns in _blocks(matrix):
        if len(rows) < function.samples_min:
            continue
        block = matrix.values[np.ix_(rows, columns)]
        with np.errstate(all="ignore"):
            values[columns] = function.fold(seconds[rows], block, span)
        there[columns] = True
    return values, there


def _blocks(matrix: Matrix) -> list[tuple[Index, Index]]:
    """Return the series that have samples at the same times: their times and their columns."""
    present = matrix.present
    if not present.size:
        return []
    if present.all():
        return [(np.arange(len(present)), np.arange(present.shape[1]))]
    packed = np.ascontiguousarray(np.packbits(present, axis=0).T)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    patterns = inverse.reshape(-1)
    found = [
        (np.flatnonzero(present[:, column]), np.flatnonzero(patterns == i))
        for i, column in enumerate(first.tolist())
    ]
    return [(rows, columns) for rows, columns in found if len(rows)]


def _changes(_: Floats, v: Block, __: Span) -> Floats:
    before, now = v[:-1], v[1:]
    both_nan = np.isnan(before) & np.isnan(now)
    return np.asarray(((before != now) & ~both_nan).sum(axis=0), np.float64)


def _resets(_: Floats, v: Block, __: Span) -> Floats:
    return np.asarray((v[1:] < v[:-1]).sum(axis=0), np.float64)


def _last_step(v: Block, *, counter: bool) -> Floats:
    step: Floats = v[-1] - v[-2]
    return np.where(v[-1] < v[-2], v[-1], step) if counter else step


def _irate(t: Floats, v: Block, _: Span) -> Floats:
    elapsed_s = float(t[-1] - t[-2])
    return np.asarray(_last_step(v, counter=True) / elapsed_s, np.float64)


def _line(t: Floats, v: Block, zero: float) -> tuple[Floats, Floats]:
    """Return slope and value at `zero` of the least-squares line; a constant has slope 0."""
    x = t - zero
    mean_x, mean_y = x.mean(), v.mean(axis=0)
    spread = ((x - mean_x) ** 2).sum()
    slope = ((x - mean_x)[:, None] * (v - mean_y)).sum(axis=0) / spread
    constant = (v == v[0]).all(axis=0)
    slope = np.where(constant, np.where(np.isinf(v[0]), np.nan, 0.0), slope)
    level = np.where(constant, np.where(np.isinf(v[0]), np.nan, v[0]), mean_y - slope * mean_x)
    return slope, level


def _deriv(t: Floats, v: Block, _: Span) -> Floats:
    return _line(t, v, float(t[0]))[0]


def _predict(t: Floats, v: Block, span: Span) -> Floats:
    slope, level = _line(t, v, (span.now_ms - span.end_ms) / 1000)
    return slope * span.number + level


def _extrapolated(t: Floats, v: Block, span: Span, *, counter: bool) -> Floats:
    """Return the growth between the first and the last sample, drawn out to the window's edges.

    As in Prometheus 3: drawn out to an edge that is nearer than 1.1 times the average distance of
    samples, else by half of that distance; a counter is never drawn out to below zero.
    """
    grown = v[-1] - v[0]
    if counter:
        grown = grown + np.where(v[1:] < v[:-1], v[:-1], 0.0).sum(axis=0)
    sampled_s = float(t[-1] - t[0])
    mean_s = sampled_s / (len(t) - 1)
    start_s, end_s = float(t[0]) + span.width_s, -float(t[-1])
    start_s = mean_s / 2 if start_s >= mean_s * 1.1 else start_s
    end_s = mean_s / 2 if end_s >= mean_s * 1.1 else end_s
    before_s = np.full(v.shape[1], start_s)
    if counter:
        to_zero = np.where((grown > 0) & (v[0] >= 0), sampled_s * (v[0] / grown), np.inf)
        before_s = np.minimum(before_s, to_zero)
    return np.asarray(grown * ((sampled_s + before_s + end_s) / sampled_s), np.float64)


def _rate(t: Floats, v: Block, span: Span) -> Floats:
    return np.asarray(_extrapolated(t, v, span, counter=True) / span.width_s, np.float64)


def quantile(q: float, v: Block) -> Floats:
    """Return the q-quantile of each column, between its two nearest values; as in Prometheus."""
    n = v.shape[1]
    if np.isnan(q):
        return np.full(n, np.nan)
    if not 0 <= q <= 1:
        return np.full(n, -np.inf if q < 0 else np.inf)
    # NaN is the smallest value to Prometheus, the greatest to numpy.
    ordered = np.sort(np.where(np.isnan(v), -np.inf, v), axis=0)
    nans = np.isnan(v).sum(axis=0)
    ordered = np.where(np.arange(len(v))[:, None] < nans, np.nan, ordered)
    rank = q * (len(v) - 1)
    low, high = int(np.floor(rank)), min(int(np.floor(rank)) + 1, len(v) - 1)
    weight = rank - low
    return np.asarray(ordered[low] * (1 - weight) + ordered[high] * weight, np.float64)


def _sum(v: Block) -> Floats:
    """Return the sum, added up with more digits than it has: that of a constant is its multiple."""
    return np.asarray(v.astype(np.longdouble).sum(axis=0), np.float64)


def _mean(v: Block) -> Floats:
    """Return the mean; that of a constant is the constant, that of huge values no infinity."""
    return np.asarray(v.astype(np.longdouble).mean(axis=0), np.float64)


def _variance(v: Block) -> Floats:
    return np.asarray(v.astype(np.longdouble).var(axis=0), np.float64)


OVER: Final[dict[str, Function]] = {
    "avg_over_time": Function(lambda t, v, s: _mean(v)),
    "changes": Function(_changes),
    "count_over_time": Function(lambda t, v, s: np.full(v.shape[1], float(len(v)))),
    "delta": Function(lambda t, v, s: _extrapolated(t, v, s, counter=False), 2, timed=True),
    "deriv": Function(_deriv, 2),
    "idelta": Function(lambda t, v, s: _last_step(v, counter=False), 2),
    "irate": Function(_irate, 2),
    "last_over_time": Function(lambda t, v, s: v[-1], keeps_name=True),
    "max_over_time": Function(lambda t, v, s: np.fmax.reduce(v, axis=0)),
    "min_over_time": Function(lambda t, v, s: np.fmin.reduce(v, axis=0)),
    "predict_linear": Function(_predict, 2, timed=True, number=1),
    "present_over_time": Function(lambda t, v, s: np.ones(v.shape[1])),
    "quantile_over_time": Function(lambda t, v, s: quantile(s.number, v), number=0),
    "resets": Function(_resets),
    "stddev_over_time": Function(lambda t, v, s: np.sqrt(_variance(v))),
    "stdvar_over_time": Function(lambda t, v, s: _variance(v)),
    "sum_over_time": Function(lambda t, v, s: _sum(v)),
}
"""The functions that read samples of a range, by name."""

EXTRAPOLATED: Final[dict[str, Function]] = {
    "increase": Function(lambda t, v, s: _extrapolated(t, v, s, counter=True), 2, timed=True),
    "rate": Function(_rate, 2, timed=True),
}
"""What Prometheus makes of counters: for rule sets that ask for its semantics, for subqueries and
for recorded names."""
