"""The functions of the language. In: nodes of the arguments. Out: nodes. A new function is a class,
or a line in one of the tables.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from streams.core.promql.labels import Floats, Labels
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import NOTHING, Value, Vector, vector


class Absent(Node):
    """`absent(v)`: 1 where `v` is empty, under the labels that its selector fixes."""

    inputs_needed = False

    def __init__(self, source: Node, labels: tuple[tuple[str, str], ...]) -> None:
        self.children, self.labels = (source,), labels

    def evaluate(self, context: Context) -> Value:
        if context.vector(self.children[0]).present.any():
            return NOTHING
        codes = {name: context.strings.code(text) for name, text in self.labels}
        return vector(Labels({}, 1).replace(codes), np.ones(1))


class FromScalar(Node):
    """`vector(s)`."""

    def __init__(self, source: Node) -> None:
        self.children = (source,)

    def evaluate(self, context: Context) -> Value:
        return vector(Labels({}, 1), np.array([context.number(self.children[0])]))


class Time(Node):
    """`time()`: the time of evaluation in seconds."""

    scalar = True

    def evaluate(self, context: Context) -> Value:
        return context.t_ms / 1000


class Each(Node):
    """A function of each value and of numbers: `abs(v)`, `clamp_max(v, 1)`."""

    def __init__(self, name: str, source: Node, numbers: tuple[Node, ...]) -> None:
        self.apply, self.children = EACH[name][0], (source, *numbers)

    def evaluate(self, context: Context) -> Value:
        kept = context.vector(self.children[0]).nameless()
        numbers = [context.number(child) for child in self.children[1:]]
        with np.errstate(all="ignore"):
            values = self.apply(kept.values, *numbers)
        return Vector(kept.labels, values, kept.present, kept.coverage)


EACH: Final[dict[str, tuple[Callable[..., Floats], int]]] = {
    "abs": (np.abs, 0),
    "ceil": (np.ceil, 0),
    "floor": (np.floor, 0),
    "clamp_min": (np.maximum, 1),
    "clamp_max": (np.minimum, 1),
}
"""Name: (what is done, how many numbers follow the vector)."""
