"""Tell which rule groups are due. In: a rule set, and how far event time has passed. Out: groups
and the multiples of their intervals, in order.

The rule this file owns: a group is evaluated once at each multiple of its interval, and what was
evaluated stays evaluated after a restart. A replay repeats, silently, only what other rules still
read: results that they remember, or that stand until the next evaluation.
"""

from collections.abc import Callable, Iterator, Mapping

from streams.core.rules.files import Group, RuleSet
from streams.core.rules.model import RecordingRule
from streams.core.watermark import aligned

Due = tuple[int, int, Group]
"""Time, number of the group in its rule set, group: they sort as they must be evaluated."""
Frontier = Callable[[int], int]
"""Up to when time has passed for a group of this interval."""


class Schedule:
    """The aligned evaluations of one cluster."""

    def __init__(self, rules: RuleSet) -> None:
        self._groups = rules.groups
        self.last: dict[str, int] = {}  # evaluation of each group
        self._repeated: dict[str, int] = {}  # of the replay
        self._slowest_ms = max((group.interval_ms for group in rules.groups), default=0)
        wanted = rules.program.wanted
        read = rules.program.read | wanted.recorded_ms.keys() | wanted.recorded_sums_ms.keys()
        self._read = {
            group.name
            for group in rules.groups
            if any(isinstance(rule, RecordingRule) and rule.record in read for rule in group.rules)
        }

    def begin(self, t_ms: int) -> None:
        """Let evaluations start at `t_ms`, also those that a replay repeats."""
        for group in self._groups:
            self.last[group.name] = max(self.last.get(group.name, 0), t_ms)
        self._repeated = {name: max(one, t_ms) for name, one in self._repeated.items()}

    def restore(
        self,
        last: Mapping[str, int],
        newest_ms: int,
        remembered: Mapping[str, int],
        *,
        since_ms: int,
    ) -> None:
        """Go on after these evaluations; a group that is new begins at the newest tick.

        remembered: of each group whose results are kept, up to when they are, -1 where there are
        none; since_ms: from when the replay has scrapes, 0 where `begin` will tell.
        """
        for group in self._groups:
            name = group.name
            self.last[name] = last.get(name, newest_ms)
            if name in self._read and name in last:
                # A slower group that read these results before the crash reads them again.
                before_ms = self.last[name] - self._slowest_ms - 1
                known_ms = remembered.get(name, before_ms)
                self._repeated[name] = min(before_ms, known_ms if known_ms > 0 else since_ms)

    def follow(self, before: "Schedule", newest_ms: int) -> None:
        """Go on where another schedule was; a group that is new begins at the newest tick."""
        self.last = {one.name: before.last.get(one.name, newest_ms) for one in self._groups}

    def due(self, frontier: Frontier) -> list[Due]:
        """Return what is to be evaluated now."""
        return sorted(self._due(frontier))

    def _due(self, frontier: Frontier) -> Iterator[Due]:
        for number, group in enumerate(self._groups):
            upto_ms = frontier(group.interval_ms)
            for t_ms in aligned(self.last[group.name], upto_ms, group.interval_ms):
                yield t_ms, number, group

    def repetitions(self, frontier: Frontier) -> list[Due]:
        """Return what a replay evaluates once more; each is returned once."""
        found: list[Due] = []
        for number, group in enumerate(self._groups):
            if group.name in self._repeated:
                upto_ms = min(frontier(group.interval_ms), self.last[group.name])
                times = aligned(self._repeated[group.name], upto_ms, group.interval_ms)
                found += [(t_ms, number, group) for t_ms in times]
                self._repeated[group.name] = max(upto_ms, self._repeated[group.name])
        return sorted(found)
