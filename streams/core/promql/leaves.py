"""Read series. In: selectors and times. Out: the vectors that all plans begin with."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from streams.core.promql.accumulators import EACH_SERIES, Accumulator
from streams.core.promql.banks import FINE_MS, Reach
from streams.core.promql.labels import NAME, Grouping, Labels, Strings
from streams.core.promql.nodes import Context, Node
from streams.core.promql.selectors import Selector
from streams.core.promql.vector import NOTHING, Value, Vector, union
from streams.core.promql.wanted import LOOKBACK_MS, Need

FINE_REACH_MS_MAX: Final = 3_600_000
"""How far back every scrape is kept for windows that begin in the past."""


@dataclass(frozen=True, slots=True)
class When:
    """Which time a selector reads: that of the evaluation, or one before it."""

    offset_ms: int = 0
    pinned: bool = False  # `@ start()`, `@ end()`: the time of the rule, also within a subquery
    inside_ms: int = 0  # how far back the subqueries around it go

    @property
    def now(self) -> bool:
        """Whether it is the time of the rule."""
        return not self.offset_ms and (self.pinned or not self.inside_ms)

    @property
    def reach_ms(self) -> int:
        """How far back it may be."""
        return self.offset_ms + (0 if self.pinned else self.inside_ms)

    def at(self, context: Context) -> int:
        """Return the time, in ms."""
        return (context.rule_ms if self.pinned else context.t_ms) - self.offset_ms


class Number(Node):
    """A number."""

    scalar = True

    def __init__(self, value: float) -> None:
        self.value = value

    def evaluate(self, context: Context) -> Value:
        return self.value


class Leaf(Node):
    """A node that reads series of targets."""

    leaf = True

    def __init__(self, selector: Selector, when: When) -> None:
        self.selector, self.when = selector, when
        self.present = when.now

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return (self.selector,)


class Instant(Leaf):
    """`x{...}`: the values of scraped series at a time."""

    @property
    def need(self) -> Need:
        if self.when.now:
            return Need(instant=(self.selector,))
        return Need(ranges={self.selector: LOOKBACK_MS + self.when.reach_ms})

    def evaluate(self, context: Context) -> Value:
        t_ms = self.when.at(context)
        if not self.when.now:
            return context.everywhere(self, lambda one: one.earlier(self.selector, t_ms))
        live = context.live
        return context.everywhere(self, lambda one: one.instant(self.selector, t_ms, live=live))


class Increase(Leaf):
    """`increase(x{...}[w])`, or `rate` of it: the increase by second. Of label sets, or of each
    series by itself."""

    def __init__(
        self,
        selector: Selector,
        when: When,
        width_ms: int,
        *,
        per_second: bool,
        grouping: Grouping = EACH_SERIES,
    ) -> None:
        super().__init__(selector, when)
        self.width_ms, self.per_second = width_ms, per_second
        self.what = Accumulator(selector, grouping)

    def summed(self, grouping: Grouping) -> "Increase":
        """Return the node whose results are summed over label sets, target by target."""
        return Increase(
            self.selector,
            self.when,
            self.width_ms,
            per_second=self.per_second,
            grouping=grouping,
        )

    @property
    def need(self) -> Need:
        reach_ms = self.width_ms + self.when.reach_ms
        fine_ms = FINE_MS if self.when.now or reach_ms <= FINE_MS else FINE_REACH_MS_MAX
        return Need(accumulators={self.what: Reach(reach_ms, fine_ms)})

    def evaluate(self, context: Context) -> Value:
        t_ms, live = self.when.at(context), context.live and self.when.now
        return context.everywhere(
            self,
            lambda one: one.increase(self.what, self.width_ms, t_ms, live=live),
            self._finished,
        )

    def _finished(self, found: Vector) -> Vector:
        found = found.nameless()
        if not self.per_second:
            return found
        return replace(found, values=found.values / (self.width_ms / 1000))


class Recorded(Node):
    """A recorded name: what its rules gave at their last evaluation."""

    own_change = True

    def __init__(self, selector: Selector) -> None:
        self.selector = selector

    @property
    def recorded(self) -> tuple[str, ...]:
        return (self.selector.name,)

    def evaluate(self, context: Context) -> Value:
        found = context.recorded.get(self.selector.name, NOTHING)
        return filtered(found, self.selector, context.strings)


class RecordedThen(Node):
    """A recorded name at an earlier time."""

    own_change = True

    def __init__(self, selector: Selector, when: When) -> None:
        self.selector, self.when = selector, when

    @property
    def need(self) -> Need:
        return Need(recorded={self.selector: LOOKBACK_MS + self.when.reach_ms})

    @property
    def recorded(self) -> tuple[str, ...]:
        return (self.selector.name,)

    def evaluate(self, context: Context) -> Value:
        ring = context.rings.get(self.selector.name)
        if ring is None:
            return NOTHING
        found = ring.at(self.when.at(context), LOOKBACK_MS)
        return filtered(found, self.selector, context.strings)


class Named(Node):
    """A recorded name where no evaluation is waited for: it stands for the expressions."""

    def __init__(self, selector: Selector, rules: tuple["Record", ...]) -> None:
        self.selector, self.children = selector, rules

    def evaluate(self, context: Context) -> Value:
        found = union([context.vector(rule) for rule in self.children])
        return filtered(found, self.selector, context.strings)


class Record(Node):
    """The result of a recording rule: its expression under its name, with its labels."""

    def __init__(self, name: str, labels: tuple[tuple[str, str], ...], source: Node) -> None:
        self.name, self.labels, self.children = name, labels, (source,)

    def evaluate(self, context: Context) -> Value:
        value = context.value(self.children[0])
        if isinstance(value, float):
            value = Vector(Labels({}, 1), np.array([value]), np.ones(1, np.bool_), np.ones(1))
        code = context.strings.code
        return value.relabel(
            value.labels.replace(
                {**{label: code(text) for label, text in self.labels}, NAME: code(self.name)}
            )
        )


def filtered(found: Vector, selector: Selector, strings: Strings) -> Vector:
    """Return the vector with the rows cleared that the selector does not match."""
    if not selector.matchers:
        return found
    labels = found.labels
    return found.where(
        labels.once(("match", selector), lambda: selector.mask(labels, strings, le=True))
    )
