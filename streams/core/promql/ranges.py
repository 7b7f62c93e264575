"""Read series over time. In: selectors or expressions, and a window. Out: what a function makes of
their samples.

The rule this file owns: a subquery is evaluated at the multiples of its step, as of those times, on
the history that targets keep; so it needs no state of its own and a replay sees the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from streams.core.promql.labels import Floats, Labels, Mask
from streams.core.promql.leaves import When
from streams.core.promql.nodes import Context, Node, walk
from streams.core.promql.over import Function, Span, apply
from streams.core.promql.ring import Matrix, Ring
from streams.core.promql.selectors import Selector
from streams.core.promql.sums import Totals
from streams.core.promql.vector import NOTHING, Value, Vector, union, unnamed, vector
from streams.core.promql.wanted import LOOKBACK_MS, Need

SAMPLES_MS_MAX: Final = 86_400_000
"""How far back samples are kept as they came: 1 d. Longer windows see sums."""
Totalled = Callable[[Floats, Floats], Floats]
"""(sums, numbers of samples) -> a value for each series."""

DAYS: Final[dict[str, Totalled]] = {
    "avg_over_time": lambda sums, counts: np.asarray(sums / counts, np.float64),
    "count_over_time": lambda sums, counts: np.round(counts),
    "present_over_time": lambda sums, counts: np.ones(len(counts)),
    "sum_over_time": lambda sums, counts: sums,
}
"""What can be told of days without every sample."""

STEPS_MAX: Final = 1_500
"""Steps of a subquery: each is an evaluation of what is inside."""
STEP_MS: Final = 60_000
"""Of subqueries that state none (Prometheus' default evaluation interval)."""


class Source(ABC):
    """Where the samples of a range come from."""

    def __init__(self, width_ms: int, when: When) -> None:
        self.width_ms, self.when = width_ms, when

    children: tuple[Node, ...] = ()
    own_change = False
    selectors: tuple[Selector, ...] = ()
    recorded: tuple[str, ...] = ()

    @property
    def need(self) -> Need:
        """What must be kept."""
        return Need()

    @abstractmethod
    def matrices(self, context: Context, begin_ms: int, end_ms: int) -> Iterator[Matrix]:
        """Yield the samples of (begin, end]."""


class Scraped(Source):
    """`x{...}[w]` of scraped series."""

    def __init__(self, selector: Selector, width_ms: int, when: When) -> None:
        super().__init__(width_ms, when)
        self.selector, self.selectors = selector, (selector,)

    @property
    def need(self) -> Need:
        return Need(ranges={self.selector: self.width_ms + self.when.reach_ms})

    def matrices(self, context: Context, begin_ms: int, end_ms: int) -> Iterator[Matrix]:
        for target in context.targets:
            found = target.samples(self.selector, begin_ms, end_ms)
            if found is not None:
                yield found


class Recordings(Source):
    """`a:b:c{...}[w]` of a recorded name."""

    own_change = True

    def __init__(self, selector: Selector, width_ms: int, when: When) -> None:
        super().__init__(width_ms, when)
        self.selector, self.recorded = selector, (selector.name,)

    @property
    def need(self) -> Need:
        return Need(recorded={self.selector: self.width_ms + self.when.reach_ms})

    def matrices(self, context: Context, begin_ms: int, end_ms: int) -> Iterator[Matrix]:
        ring = context.rings.get(self.selector.name)
        if ring is not None:
            yield chosen(ring.window(begin_ms, end_ms), self.selector, context)


class Subquery(Source):
    """`(...)[w:step]`."""

    def __init__(self, inner: Node, step_ms: int, width_ms: int, when: When) -> None:
        super().__init__(width_ms, when)
        self.children, self.step_ms = (inner,), step_ms
        self._reads = tuple({one: None for below in walk(inner) for one in below.selectors})

    def matrices(self, context: Context, begin_ms: int, end_ms: int) -> Iterator[Matrix]:
        (inner,) = self.children
        step_ms = self.step_ms
        ring = Ring(self.width_ms + step_ms)
        first_ms = min((one.first_ms for one in context.targets), default=0)
        for t_ms in range((begin_ms // step_ms + 1) * step_ms, end_ms + 1, step_ms):
            found = context.at(t_ms).value(inner)
            if isinstance(found, float):
                found = vector(Labels({}, 1), np.array([found]))
            ring.add(t_ms, found)
        made = ring.window(begin_ms, end_ms)
        yield Matrix(made.labels, made.times_ms, made.values, made.present, first_ms)


class Reader(Node):
    """A node that reads samples."""

    leaf = True

    def __init__(self, source: Source) -> None:
        self.source, self.own_change = source, source.own_change

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return self.source.selectors

    @property
    def recorded(self) -> tuple[str, ...]:
        return self.source.recorded

    @property
    def need(self) -> Need:
        return self.source.need


class Over(Reader):
    """A function of a range: `max_over_time(x[5m])`."""

    def __init__(self, function: Function, source: Source, number: Node | None = None) -> None:
        super().__init__(source)
        self.function, self._number = function, number
        self.children = source.children if number is None else (*source.children, number)

    def evaluate(self, context: Context) -> Value:
        end_ms = self.source.when.at(context)
        begin_ms = end_ms - self.source.width_ms
        number = np.nan if self._number is None else context.number(self._number)
        matrices = tuple(self.source.matrices(context, begin_ms, end_ms))
        moment = context.t_ms if self.function.timed else 0
        span = Span(begin_ms, end_ms, context.t_ms, number)
        covered = [_coverage(matrix, span) for matrix in matrices]
        return context.derived(
            self, (moment, number, *covered, *matrices), lambda: self._made(matrices, span)
        )

    def _made(self, matrices: tuple[Matrix, ...], span: Span) -> Vector:
        found = union([self._of(matrix, span) for matrix in matrices])
        return found if self.function.keeps_name else unnamed(found)

    def _of(self, matrix: Matrix, span: Span) -> Vector:
        values, there = apply(self.function, matrix, span)
        return Vector(matrix.labels, values, there, np.full(len(values), _coverage(matrix, span)))


def _coverage(matrix: Matrix, span: Span) -> float:
    """Return the share of the window that was watched."""
    watched_ms = span.end_ms - max(span.begin_ms, matrix.first_ms)
    return min(max(watched_ms / (span.end_ms - span.begin_ms), 0.0), 1.0)


def chosen(matrix: Matrix, selector: Selector, context: Context) -> Matrix:
    """Return the series of a recorded name that the selector matches."""
    if not selector.matchers or not matrix.labels.n:
        return matrix
    labels = matrix.labels
    hit: Mask = labels.once(
        ("match", selector), lambda: selector.mask(labels, context.strings, le=True)
    )
    return Matrix(labels, matrix.times_ms, matrix.values, matrix.present & hit, matrix.first_ms)


class Days(Node):
    """A function of sums over days: `avg_over_time(x[30d])`."""

    leaf = True

    def __init__(
        self, fold: Totalled, selector: Selector, width_ms: int, when: When, *, recorded: bool
    ) -> None:
        self._fold, self._selector, self._width_ms, self._when = fold, selector, width_ms, when
        self.own_change = recorded

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return () if self.own_change else (self._selector,)

    @property
    def recorded(self) -> tuple[str, ...]:
        return (self._selector.name,) if self.own_change else ()

    @property
    def need(self) -> Need:
        reach = {self._selector: self._width_ms + self._when.reach_ms}
        return Need(recorded_sums=reach) if self.own_change else Need(sums=reach)

    def evaluate(self, context: Context) -> Value:
        end_ms = self._when.at(context)
        begin_ms = end_ms - self._width_ms
        found: list[Vector] = []
        for totals in self._totals(context, begin_ms, end_ms):
            watched = (end_ms - max(begin_ms, totals.first_ms)) / self._width_ms
            coverage = np.full(totals.labels.n, min(max(watched, 0.0), 1.0))
            there = totals.counts > 0
            with np.errstate(all="ignore"):
                values = self._fold(totals.sums, totals.counts)
            found.append(Vector(totals.labels, values, there, coverage))
        return unnamed(union(found))

    def _totals(self, context: Context, begin_ms: int, end_ms: int) -> Iterator[Totals]:
        if not self.own_change:
            every = (one.totals(self._selector, begin_ms, end_ms) for one in context.targets)
            yield from (one for one in every if one is not None)
        elif sums := context.sums.get(self._selector.name):
            found = sums.window(begin_ms, end_ms)
            hit = self._selector.mask(found.labels, context.strings, le=True)
            yield replace(found, counts=np.where(hit, found.counts, 0.0))


class TimeOf(Reader):
    """`timestamp(x)` of a selector: when its present samples were taken, in seconds."""

    def evaluate(self, context: Context) -> Value:
        t_ms = self.source.when.at(context)
        found = [self._of(one) for one in self.source.matrices(context, t_ms - LOOKBACK_MS, t_ms)]
        return unnamed(union(found))

    def _of(self, matrix: Matrix) -> Vector:
        """Return the time of the newest samples; who has none then has none now."""
        if not len(matrix.times_ms):
            return NOTHING
        n, newest_ms = matrix.labels.n, int(matrix.times_ms[-1])
        values = np.full(n, newest_ms / 1000)
        return Vector(matrix.labels, values, matrix.present[-1], np.ones(n))


class TimeNow(Node):
    """`timestamp(v)` of a computed vector: the time of the evaluation, in seconds."""

    timed = True

    def __init__(self, source: Node) -> None:
        self.children = (source,)

    def evaluate(self, context: Context) -> Value:
        kept = unnamed(context.vector(self.children[0]))
        return replace(kept, values=np.full(kept.n, context.t_ms / 1000))
