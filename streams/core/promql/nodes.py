"""The shape of a plan. In: children. Out: a value at one time of one cluster.

The rules this file owns:
- A node holds no state of a cluster. All of that comes with the context, so one plan serves all
  clusters, and equal sub-expressions are one node that is computed once.
- A value never changes once it was made. So where all that a node reads is the same as at the last
  live evaluation, its value is, too, and is not computed again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from streams.core.promql.labels import Strings
from streams.core.promql.ring import Ring
from streams.core.promql.selectors import Selector
from streams.core.promql.sums import Sums
from streams.core.promql.target import Target
from streams.core.promql.vector import EvaluationError, Value, Vector, union
from streams.core.promql.wanted import Need


@dataclass(slots=True)
class Kept:
    """What was computed at the last live evaluation of one cluster, and from what."""

    targets: Sequence[Target] = ()
    matching: dict["Node", tuple[int, ...]] = field(default_factory=dict)  # positions in targets
    stamped: dict["Node", tuple[tuple[int, ...], Value]] = field(default_factory=dict)
    values: dict["Node", tuple[tuple[object, ...], Value]] = field(default_factory=dict)
    parts: dict["Node", tuple[tuple[object, ...], Vector]] = field(default_factory=dict)

    def begin(self, targets: Sequence[Target]) -> None:
        """Begin an evaluation; other targets than before may match other leaves."""
        if len(targets) != len(self.targets) or any(
            a is not b for a, b in zip(targets, self.targets, strict=True)
        ):
            self.targets = targets
            self.matching.clear()
            self.stamped.clear()

    def vector(
        self, node: "Node", inputs: tuple[object, ...], make: Callable[[], Vector]
    ) -> Vector:
        """Return the vector of before where its inputs are the same."""
        before = self.parts.get(node)
        if before is None or not _same(before[0], inputs):
            before = self.parts[node] = (inputs, make())
        return before[1]


@dataclass
class Context:
    """One evaluation of one cluster."""

    t_ms: int
    live: bool  # windows end at the newest sample of each target, wherever that is
    strings: Strings
    targets: Sequence[Target]  # in the order of their names, whatever the order of arrival
    recorded: dict[str, Vector]  # results of recording rules that are still fresh
    rings: Mapping[str, Ring]  # earlier results of those that are read over time
    sums: Mapping[str, Sums]  # of those that are read over days
    rule_ms: int  # the time of the rule; t_ms is earlier within a subquery
    shared: frozenset[str] = frozenset()  # labels that are the same on all series
    kept: Kept | None = None  # None: everything is computed
    memo: dict["Node", Value] = field(default_factory=dict)
    picked: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)  # of stamps

    def value(self, node: "Node") -> Value:
        """Return the value of a node, computed at most once unless it reads recorded names."""
        if node.changes:
            return node.evaluate(self)
        found = self.memo.get(node)
        if found is None:
            found = self.memo[node] = self._computed(node)
        return found

    def _computed(self, node: "Node") -> Value:
        kept = self.kept
        if kept is None:
            return node.evaluate(self)
        if not node.settled:
            return self._recomputed(node, kept)
        stamps = self._stamps_of(node, kept)
        before = kept.stamped.get(node)
        if before is None or before[0] != stamps:
            before = kept.stamped[node] = (stamps, node.evaluate(self))
        elif 0 in stamps:
            return self._recomputed(node, kept)
        return before[1]

    def _stamps_of(self, node: "Node", kept: Kept) -> tuple[int, ...]:
        """Return the stamps of all targets that a node and all below it can read."""
        matching = kept.matching.get(node)
        if matching is None:
            selectors = {one for below in walk(node) for one in below.selectors}
            reads = ((i, target) for i, target in enumerate(self.targets))
            matching = tuple(i for i, one in reads if any(map(one.reads, selectors)))
            kept.matching[node] = matching
        stamps = self.picked.get(matching)
        if stamps is None:  # most nodes read the targets of one job
            stamps = self.picked[matching] = tuple(self.stamps[i] for i in matching)
        return stamps

    def _recomputed(self, node: "Node", kept: Kept) -> Value:
        if node.leaf or node.timed:
            return node.evaluate(self)
        inputs = tuple(self.value(child) for child in node.children)
        before = kept.values.get(node)
        if before is None or not _same(before[0], inputs):
            before = kept.values[node] = (inputs, node.evaluate(self))
        return before[1]

    @cached_property
    def stamps(self) -> tuple[int, ...]:
        """Of each target what changes whenever its present values do; 0: time alone may do it."""
        return tuple(target.stamp(self.t_ms) for target in self.targets)

    def everywhere(
        self,
        node: "Node",
        part: Callable[[Target], Vector],
        finish: Callable[[Vector], Vector] = lambda found: found,
    ) -> Vector:
        """Return what a leaf finds on all targets, as one vector."""
        parts = tuple(part(target) for target in self.targets)
        return self.derived(node, parts, lambda: finish(union(parts)))

    def derived(
        self, node: "Node", inputs: tuple[object, ...], make: Callable[[], Vector]
    ) -> Vector:
        """Return what a leaf makes of these inputs and of nothing else."""
        return make() if self.kept is None else self.kept.vector(node, inputs, make)

    def at(self, t_ms: int) -> "Context":
        """Return the context of an earlier time, for a step of a subquery."""
        return replace(self, t_ms=t_ms, live=False, kept=None, memo={}, picked={})

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


def _same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    return len(before) == len(now) and all(
        a is b or (isinstance(a, float | int) and a == b) for a, b in zip(before, now, strict=True)
    )


class Node(ABC):
    """One step of a plan."""

    children: tuple["Node", ...] = ()
    scalar = False  # whether it returns a number
    leaf = False  # whether it reads targets
    timed = False  # whether its value depends on the time, not only on its children
    present = False  # of a leaf: whether it reads only what is newest on each target
    own_change = False  # whether its value can change within one evaluation
    inputs_needed = True  # False: an alert lives on when what is below has vanished

    @cached_property
    def changes(self) -> bool:
        """Whether an earlier rule of the same evaluation can change the value."""
        return self.own_change or any(child.changes for child in self.children)

    @cached_property
    def settled(self) -> bool:
        """Whether its value changes only by scrapes of the targets that it reads."""
        own = not self.timed and not self.own_change and (self.present or not self.leaf)
        return own and all(child.settled for child in self.children)

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """The selectors of scraped series that the node itself reads."""
        return ()

    @property
    def recorded(self) -> tuple[str, ...]:
        """The recorded names whose results the node itself reads."""
        return ()

    @property
    def need(self) -> Need:
        """What must be kept for the node itself."""
        return Need()

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
