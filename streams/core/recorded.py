"""Remember what recording rules gave. In: results and their times. Out: the results under a name as
of a time.

The rule this file owns: a group with a short interval may be further than one that waits for a slow
target. Who reads a name reads what it was at their own time.
"""

from collections.abc import Set

from streams.core.promql.vector import Vector, union
from streams.core.promql.wanted import LOOKBACK_MS

Source = tuple[str, int]
"""Group and position of the recording rule that made a result."""


class Recorded:
    """The newest results of recording rules, by name."""

    def __init__(self, late_ms: int) -> None:
        """late_ms: how long after its time an evaluation may happen."""
        self._late_ms = late_ms
        self._noted: dict[str, dict[Source, list[tuple[int, Vector]]]] = {}

    @property
    def names(self) -> Set[str]:
        """The names that have results."""
        return self._noted.keys()

    def note(self, name: str, source: Source, t_ms: int, result: Vector) -> None:
        """Note a result, beside those that other rules recorded under its name."""
        noted = self._noted.setdefault(name, {}).setdefault(source, [])
        noted.append((t_ms, result))
        while len(noted) > 1 and noted[1][0] <= t_ms - self._late_ms:
            del noted[0]

    def at(self, name: str, t_ms: int) -> Vector:
        """Return the newest result of each rule at or before `t_ms`, while they are fresh."""
        found: list[Vector] = []
        for _, noted in sorted(self._noted[name].items(), key=lambda one: one[0]):
            known = next((one for one in reversed(noted) if one[0] <= t_ms), None)
            if known is not None and t_ms - known[0] <= LOOKBACK_MS:
                found.append(known[1])
        return union(found)
