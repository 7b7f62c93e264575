"""Know which rules of a cluster fail. In: the failures of each evaluation. Out: what is news about
them, and a series of how often each failed.

The rules this file owns:
- News is a rule that begins to fail, fails for another reason, or works again: the same failure at
  every evaluation is told once.
- A reason is what the engine said without its numbers, so that one reason is one series.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from streams.core.samples import FactSample

METRIC: Final = "planewatch_rule_failures_total"
SERIES_MAX: Final = 100
"""Further rules and reasons are told, but have no series: the counts are saved with each record."""

_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class RuleNews:
    """A rule that fails now, or works again."""

    rule: str
    why: str  # "": it works again


class Failures(msgspec.Struct, frozen=True, array_like=True):
    """How often a rule failed for one reason."""

    rule: str
    reason: str
    count: int


class Failing:
    """The failures of one cluster's rules."""

    def __init__(self, before: Iterable[Failures] = ()) -> None:
        self._reasons: dict[tuple[str, str], str] = {}  # of what fails now: by scope and rule
        self._counts = {(one.rule, one.reason): one.count for one in before}

    def keep(self, rules: Collection[str]) -> None:
        """Forget all other rules."""
        self._counts = {key: count for key, count in self._counts.items() if key[0] in rules}
        self._reasons = {key: why for key, why in self._reasons.items() if key[1] in rules}

    def note(
        self,
        scope: str,
        failures: Iterable[tuple[str, str]],
        resting: Collection[str] = frozenset(),
    ) -> list[RuleNews]:
        """Take the failures of one evaluation of some rules; return what is news.

        scope: which rules were evaluated, but for those that rest; all others of it worked.
        """
        said = {(scope, rule): why for rule, why in failures}
        now = {key: _NUMBER.sub("N", why) for key, why in said.items()}
        for (_, rule), reason in now.items():
            if (rule, reason) in self._counts or len(self._counts) < SERIES_MAX:
                self._counts[rule, reason] = self._counts.get((rule, reason), 0) + 1
        news = [
            RuleNews(key[1], said[key])
            for key, reason in now.items()
            if self._reasons.get(key) != reason
        ]
        judged = (key for key in self._reasons if key[0] == scope and key[1] not in resting)
        over = [key for key in judged if key not in now]
        for key in over:
            del self._reasons[key]
        self._reasons |= now
        return news + [RuleNews(rule, "") for _, rule in over]

    def counts(self) -> list[Failures]:
        """Return how often each rule failed, in one order."""
        return [Failures(*key, count) for key, count in sorted(self._counts.items())]

    def samples(self) -> list[FactSample]:
        """Return the counts as series."""
        return [
            FactSample(METRIC, {"rule": one.rule, "reason": one.reason}, float(one.count))
            for one in self.counts()
        ]
