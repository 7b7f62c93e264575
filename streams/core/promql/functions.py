"""The functions of present values. In: nodes of the arguments. Out: nodes. A function of each value
is a line in a table.

The rule this file owns: edge cases are those of Go's math package, as Prometheus uses it.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from streams.core.promql.labels import Floats, Labels, Mask
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import NOTHING, Value, Vector, unnamed, vector


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


class Scalar(Node):
    """`scalar(v)`: the value of the only row, NaN where there is none or more than one."""

    scalar = True

    def __init__(self, source: Node) -> None:
        self.children = (source,)

    def evaluate(self, context: Context) -> Value:
        source = context.vector(self.children[0])
        values = source.values[source.present]
        return float(values[0]) if len(values) == 1 else float("nan")


class Time(Node):
    """`time()`: the time of evaluation in seconds."""

    scalar = True
    timed = True

    def evaluate(self, context: Context) -> Value:
        return context.t_ms / 1000


class Each(Node):
    """A function of each value and of numbers: `abs(v)`, `clamp_max(v, 1)`."""

    def __init__(self, name: str, source: Node, *numbers: Node) -> None:
        self.apply, self.children = EACH[name], (source, *numbers)

    def evaluate(self, context: Context) -> Value:
        kept = unnamed(context.vector(self.children[0]))
        numbers = [context.number(child) for child in self.children[1:]]
        with np.errstate(all="ignore"):
            values = self.apply(kept.values, *numbers)
        return Vector(kept.labels, values, kept.present, kept.coverage)


class Clamp(Each):
    """`clamp(v, min, max)`: nothing where min is above max."""

    def evaluate(self, context: Context) -> Value:
        least, most = (context.number(child) for child in self.children[1:])
        return NOTHING if most < least else super().evaluate(context)


def _larger(values: Floats, bound: float) -> Floats:
    """+Inf is larger than NaN, which is larger than any other number."""
    return np.where(_either(values, bound, np.inf), np.inf, np.maximum(values, bound))


def _smaller(values: Floats, bound: float) -> Floats:
    """-Inf is smaller than NaN, which is smaller than any other number."""
    return np.where(_either(values, bound, -np.inf), -np.inf, np.minimum(values, bound))


def _either(values: Floats, bound: float, wanted: float) -> Mask:
    found: Mask = np.logical_or(values == wanted, bound == wanted)
    return found


def _sign(values: Floats) -> Floats:
    """Return -1, 0 or 1; -0 and NaN stay themselves."""
    signs: Floats = np.where(values == 0, values, np.sign(values))
    return signs


def _round(values: Floats, step: float = 1.0) -> Floats:
    """Round to the nearest multiple of `step`, halves up."""
    parts = np.float64(1.0) / np.float64(step)
    return np.asarray(np.floor(values * parts + 0.5) / parts)


EACH: Final[dict[str, Callable[..., Floats]]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "round": _round,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sgn": _sign,
    "clamp": lambda values, least, most: _larger(_smaller(values, most), least),
    "clamp_min": _larger,
    "clamp_max": _smaller,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "deg": lambda values: values * 180 / np.pi,
    "rad": lambda values: values * np.pi / 180,
}
"""What is done with the values, and the numbers that follow them."""
