"""Say how far rate and increase may be from Prometheus'. In: a world, and Prometheus' own results
for `rate(x[w])` or `increase(x[w])` of series. Out: for each series, and for what is made of them,
the interval in which our result must lie.

The derivation, for one series. Let s1..sn be the times of its samples in Prometheus' window, from
after t-w to t, and D what it grew by from s1 to sn (both engines see the same resets). Our window
is from after b to e: e is the target's newest scrape at or before t (t itself where that is not
fresh), and b = e - w.

- Prometheus extrapolates D from the samples inside the window towards its edges: by at most the
  time w - (sn-s1) that no sample covers, and at each side by at most 1.1 mean intervals. So its
  increase is in D .. D (1 + x), x = min(w - (sn-s1), 2.2 (sn-s1)/(n-1)) / (sn-s1).
- Ours is linear between scrapes: D, and a share of what was counted from b to s1. So our increase
  is in D .. D + E, E being the increments of the intervals between scrapes that end after b and not
  after s1: one or two intervals that hold the two left edges, t-w and b (more where polls failed in
  between, and the first value of a series that is born there: it counts from zero).
- Together |ours - Prometheus| <= max(E, D x): what one or two intervals at the edges can hold. A
  rate is that divided by w.
- With fewer than two samples in its window Prometheus has no result; ours may have one, in 0 .. E',
  E' being all increments of the intervals that end after b and not after e.

Rule: nothing of the engine is used here.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tests.differential.comparison import Answer, Mismatch, text_of
from tests.differential.world import STEP_MS, Endpoint, Key, World
from tests.services.prometheus import LabelSet

FRESH_MS: Final = 2.5 * STEP_MS
ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a result must lie; `must` says whether it must be there at all."""

    low: float
    high: float
    must: bool

    def holds(self, value: float) -> bool:
        """Tell whether a result is allowed; no number only where anything is."""
        slack = ROUNDING * max(1.0, abs(value))
        if math.isnan(value):
            return self.low == -math.inf and self.high == math.inf
        return self.low - slack <= value <= self.high + slack


Intervals = dict[LabelSet, Interval]
ANYTHING: Final = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Leaf:
    """`rate(family{job="..."}[w])`, the only place where the engines differ."""

    function: str
    family: str
    equal: tuple[tuple[str, str], ...]  # matchers
    window_s: int

    @property
    def text(self) -> str:
        """The expression."""
        matchers = ",".join(f'{name}="{text}"' for name, text in self.equal)
        return f"{self.function}({self.family}{{{matchers}}}[{self.window_s}s])"

    def reads(self, series: LabelSet) -> bool:
        """Tell whether it selects a series."""
        return series >= {("__name__", self.family), *self.equal}


Find = Callable[[Leaf], Intervals]


@dataclass(frozen=True, slots=True)
class Bounded:
    """An expression whose interval follows from those of its leaves."""

    text: str
    leaves: tuple[Leaf, ...]
    interval: Callable[[Find], Intervals]


def plain(leaf: Leaf) -> Bounded:
    """Return a leaf alone."""
    return Bounded(leaf.text, (leaf,), lambda find: find(leaf))


def aggregated(op: str, by: Sequence[str], leaf: Leaf) -> Bounded:
    """Return `op by (...) (leaf)`; op is sum, min, max or avg."""
    text = f"{op} by ({', '.join(by)}) ({leaf.text})"
    return Bounded(text, (leaf,), lambda find: _grouped(_BOUND[op], by, find(leaf)))


def scaled(one: Bounded, factor: float) -> Bounded:
    """Return an expression times a positive number."""
    return Bounded(
        f"{one.text} * {factor}",
        one.leaves,
        lambda find: {
            labels: Interval(each.low * factor, each.high * factor, each.must)
            for labels, each in one.interval(find).items()
        },
    )


def ratio(one: Bounded, two: Bounded) -> Bounded:
    """Return the ratio of two expressions that are not negative and have the same labels."""

    def interval(find: Find) -> Intervals:
        above, below = one.interval(find), two.interval(find)
        return {
            labels: _ratio(above[labels], below[labels]) for labels in above.keys() & below.keys()
        }

    return Bounded(f"{one.text} / {two.text}", (*one.leaves, *two.leaves), interval)


def quantile(q: float, one: Bounded) -> Bounded:
    """Return `histogram_quantile(q, ...)`."""

    def interval(find: Find) -> Intervals:
        histograms: dict[LabelSet, dict[float, Interval]] = {}
        for labels, each in one.interval(find).items():
            le = next(text for name, text in labels if name == "le")
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            histograms.setdefault(rest, {})[float(le)] = each
        return {labels: _quantile(q, buckets) for labels, buckets in histograms.items()}

    return Bounded(f"histogram_quantile({q}, {one.text})", one.leaves, interval)


def _grouped(
    bound: Callable[[list[Interval]], tuple[float, float]], by: Sequence[str], found: Intervals
) -> Intervals:
    groups: dict[LabelSet, list[Interval]] = {}
    for labels, each in found.items():
        groups.setdefault(frozenset(p for p in labels if p[0] in by), []).append(each)
    return {
        labels: Interval(*bound(each), must=any(one.must for one in each))
        for labels, each in groups.items()
    }


def _sum(each: list[Interval]) -> tuple[float, float]:
    return math.fsum(one.low for one in each if one.must), math.fsum(one.high for one in each)


def _max(each: list[Interval]) -> tuple[float, float]:
    return max((one.low for one in each if one.must), default=0.0), max(one.high for one in each)


def _min(each: list[Interval]) -> tuple[float, float]:
    highs = [one.high for one in each if one.must]
    return min(one.low for one in each), min(highs, default=max(one.high for one in each))


def _avg(each: list[Interval]) -> tuple[float, float]:
    if not all(one.must for one in each):
        return min(one.low for one in each), max(one.high for one in each)
    low, high = _sum(each)
    return low / len(each), high / len(each)


_BOUND: Final = {"sum": _sum, "max": _max, "min": _min, "avg": _avg}


def _ratio(above: Interval, below: Interval) -> Interval:
    must = above.must and below.must
    if below.low <= 0:
        return Interval(*ANYTHING, must)
    return Interval(above.low / below.high, above.high / below.low, must)


def _quantile(q: float, buckets: Mapping[float, Interval]) -> Interval:
    """A quantile falls when a bucket grows and rises when the total does: so its extremes are
    where all buckets are greatest and the total least, and the other way round.
    """
    bounds = sorted(buckets)
    total = buckets[math.inf]
    must = all(one.must for one in buckets.values())
    if total.low <= 0 or not must:
        return Interval(*ANYTHING, must=False)
    high = _ascending([buckets[bound].high for bound in bounds])
    low = _ascending([max(buckets[bound].low, 0.0) for bound in bounds])
    least = [min(count, total.low) for count in high[:-1]]
    return Interval(
        _estimate(q, bounds, [*least, total.low]), _estimate(q, bounds, [*low[:-1], high[-1]]), must
    )


def _ascending(counts: Iterable[float]) -> list[float]:
    found: list[float] = []
    for count in counts:
        found.append(max(count, found[-1] if found else count))
    return found


def _estimate(q: float, bounds: Sequence[float], counts: Sequence[float]) -> float:
    """Return Prometheus' estimate: linear within the bucket that the rank falls into."""
    rank = q * counts[-1]
    i = next(i for i, count in enumerate(counts) if count >= rank)
    if i == len(bounds) - 1:
        return bounds[-2]
    below, begin = (counts[i - 1], bounds[i - 1]) if i else (0.0, 0.0)
    if counts[i] == below:
        return begin
    return begin + (bounds[i] - begin) * (rank - below) / (counts[i] - below)


@dataclass(frozen=True, slots=True)
class _Grown:
    """What a counter grew by, scrape by scrape of its target, and its own samples."""

    increments: list[tuple[int, float]]  # (time of the scrape, growth since the one before)
    samples: list[tuple[int, float]]


class Bounds:
    """The intervals of all leaves over a world."""

    def __init__(self, world: World) -> None:
        self._series = {
            _labels(endpoint, series): (endpoint, _grown(endpoint, series))
            for endpoint in world.endpoints
            for series in {one for poll in endpoint.polls for one in poll.values or ()}
        }

    def leaf(self, leaf: Leaf, t_ms: int, theirs: Answer) -> Intervals:
        """Return where our results of a leaf must lie; theirs: what Prometheus said to it."""
        found: Intervals = {}
        for series in filter(leaf.reads, self._series):
            labels = frozenset(p for p in series if p[0] not in ("__name__", "cluster"))
            reached = self._reached(series, leaf, t_ms)
            value = theirs.results.get(labels)
            if value is not None:
                found[labels] = Interval(max(value - reached, 0.0), value + reached, must=True)
            else:
                found[labels] = Interval(0.0, reached, must=False)
        return found

    def _reached(self, series: LabelSet, leaf: Leaf, t_ms: int) -> float:
        """Return by how much ours may differ from Prometheus' increase, or rate."""
        endpoint, grown = self._series[series]
        width_ms = leaf.window_s * 1000
        newest = max((p.t_ms for p in endpoint.polls if p.values and p.t_ms <= t_ms), default=t_ms)
        end_ms = newest if t_ms - newest <= FRESH_MS else t_ms
        inside = [(t, v) for t, v in grown.samples if t_ms - width_ms < t <= t_ms]
        until_ms = inside[0][0] if len(inside) > 1 else end_ms
        edge = math.fsum(g for t, g in grown.increments if end_ms - width_ms < t <= until_ms)
        beyond = 0.0
        if len(inside) > 1:
            first_ms, last_ms = inside[0][0], inside[-1][0]
            covered_ms = last_ms - first_ms
            spared_ms = min(width_ms - covered_ms, 2.2 * covered_ms / (len(inside) - 1))
            growth = math.fsum(b - a if b >= a else b for (_, a), (_, b) in pairwise(inside))
            beyond = growth * spared_ms / covered_ms
        reached = max(edge, beyond)
        return reached / leaf.window_s if leaf.function == "rate" else reached


def _labels(endpoint: Endpoint, series: Key) -> LabelSet:
    return frozenset(endpoint.full(series).items())


def _grown(endpoint: Endpoint, series: Key) -> _Grown:
    increments: list[tuple[int, float]] = []
    samples: list[tuple[int, float]] = []
    watched = False  # whether the scrape before was complete
    for poll in endpoint.polls:
        if poll.values is None:
            watched = False
            continue
        value = poll.values.get(series)
        if value is not None:
            before = samples[-1][1] if samples else None
            if before is None:
                growth = value if watched else 0.0
            else:
                growth = value - before if value >= before else value
            increments.append((poll.t_ms, growth))
            samples.append((poll.t_ms, value))
        watched = True
    return _Grown(increments, samples)


def outside(one: Bounded, t_ms: int, ours: Answer, find: Find, theirs: Answer) -> Mismatch | None:
    """Return where our results leave their intervals, or None."""
    if ours.error or theirs.error:
        return Mismatch(one.text, t_ms, ours.error or "fine", theirs.error or "fine")
    allowed = one.interval(find)
    for labels, value in ours.results.items():
        interval = allowed.get(labels)
        if interval is None or not interval.holds(value):
            shown = f"{text_of(labels)} {value!r}"
            return Mismatch(
                one.text, t_ms, shown, f"allows {interval}: {theirs.results.get(labels)}"
            )
    for labels, interval in allowed.items():
        if interval.must and labels not in ours.results:
            return Mismatch(one.text, t_ms, f"{text_of(labels)} is missing", f"allows {interval}")
    return None
