"""Read series. In: selectors. Out: the vectors that all plans begin with."""

import numpy as np

from streams.core.promql.labels import NAME, Labels, Strings
from streams.core.promql.nodes import Context, Node
from streams.core.promql.selectors import Selector
from streams.core.promql.vector import NOTHING, Value, Vector, union


class Number(Node):
    """A number."""

    scalar = True

    def __init__(self, value: float) -> None:
        self.value = value

    def evaluate(self, context: Context) -> Value:
        return self.value


class Instant(Node):
    """`x{...}`: the present values of scraped series."""

    def __init__(self, selector: Selector) -> None:
        self.selector = selector

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return (self.selector,)

    def evaluate(self, context: Context) -> Value:
        return union(
            [
                target.instant(self.selector, context.t_ms, live=context.live)
                for target in context.targets
            ]
        )


class Increase(Node):
    """`increase(x{...}[w])`, or `rate` of it: the increase by second."""

    def __init__(self, selector: Selector, width_ms: int, *, per_second: bool) -> None:
        self.selector, self.width_ms, self.per_second = selector, width_ms, per_second

    @property
    def selectors(self) -> tuple[Selector, ...]:
        return (self.selector,)

    def evaluate(self, context: Context) -> Value:
        found = union(
            [
                target.increase(self.selector, self.width_ms, context.t_ms, live=context.live)
                for target in context.targets
            ]
        ).nameless()
        values = found.values / (self.width_ms / 1000) if self.per_second else found.values
        return Vector(found.labels, values, found.present, found.coverage)


class Recorded(Node):
    """A recorded name: what its rules gave at their last evaluation."""

    own_change = True

    def __init__(self, selector: Selector) -> None:
        self.selector = selector

    def evaluate(self, context: Context) -> Value:
        found = context.recorded.get(self.selector.name, NOTHING)
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
