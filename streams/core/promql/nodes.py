"""The shape of a plan. In: children. Out: a value at one time of one cluster.

The rule this file owns: a node holds no state of a cluster. All of that comes with the context, so
one plan serves all clusters, and equal sub-expressions are one node that is computed once.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from streams.core.promql.labels import Strings
from streams.core.promql.selectors import Selector
from streams.core.promql.target import Target
from streams.core.promql.vector import EvaluationError, Value, Vector


@dataclass(slots=True)
class Context:
    """One evaluation of one cluster."""

    t_ms: int
    live: bool  # windows end at the newest sample of each target, wherever that is
    strings: Strings
    targets: Sequence[Target]  # in the order of their names, whatever the order of arrival
    recorded: dict[str, Vector]  # results of recording rules that are still fresh
    memo: dict["Node", Value] = field(default_factory=dict)

    def value(self, node: "Node") -> Value:
        """Return the value of a node, computed at most once unless it reads recorded names."""
        if node.changes:
            return node.evaluate(self)
        if node not in self.memo:
            self.memo[node] = node.evaluate(self)
        return self.memo[node]

    def vector(self, node: "Node") -> Vector:
        """Return the value of a node that the parser found to be a vector."""
        value = self.value(node)
        if isinstance(value, float):
            raise EvaluationError(f"expected a vector, found the number {value}")
        return value

    def number(self, node: "Node") -> float:
        """Return the value of a node that the parser found to be a scalar."""
        value = self.value(node)
        if not isinstance(value, float):
            raise EvaluationError("expected a number, found a vector")
        return value


class Node(ABC):
    """One step of a plan."""

    children: tuple["Node", ...] = ()
    scalar = False  # whether it returns a number
    own_change = False  # whether its value can change within one evaluation
    inputs_needed = True  # False: an alert lives on when what is below has vanished

    @property
    def changes(self) -> bool:
        """Whether an earlier rule of the same evaluation can change the value."""
        return self.own_change or any(child.changes for child in self.children)

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """The selectors that the node itself reads."""
        return ()

    @abstractmethod
    def evaluate(self, context: Context) -> Value:
        """Return the value."""


def walk(node: Node, *, needed: bool = False) -> Iterator[Node]:
    """Yield a node and all below; with `needed`, skip what is below `absent`."""
    if needed and not node.inputs_needed:
        return
    yield node
    for child in node.children:
        yield from walk(child, needed=needed)
