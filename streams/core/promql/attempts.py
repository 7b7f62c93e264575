"""Remember the scrapes of one target, whatever became of them. In: attempts in tick order. Out: the
one that stands for a time.

The rules this file owns:
- A failed scrape takes what was before it away at once. A skipped tick is no news: what came before
  it stands while it is fresh (2.5 intervals).
- A sample stands for the present for 5 minutes, Prometheus' look-back.
"""

from dataclasses import dataclass
from typing import Final

from schemas.records import Outcome
from streams.core.promql.labels import Floats
from streams.core.promql.layout import Layout
from streams.core.promql.wanted import LOOKBACK_MS

FRESH_INTERVALS: Final = 2.5

_ANSWERED: Final = (Outcome.OK, Outcome.TOO_BIG)


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One scrape of the target, whatever became of it."""

    start_ms: int
    interval_ms: int
    outcome: Outcome
    duration_s: float
    samples: int
    layout: Layout | None = None
    values: Floats | None = None  # the instant ones

    @property
    def answered(self) -> bool:
        """Whether it brought samples."""
        return self.outcome in _ANSWERED

    def fresh(self, t_ms: int) -> bool:
        """Tell whether it stands for the present at `t_ms`."""
        return t_ms - self.start_ms <= FRESH_INTERVALS * self.interval_ms


class Attempts:
    """The attempts of one target, as far back as evaluations may be late."""

    def __init__(self, keep_ms: int) -> None:
        self._keep_ms = keep_ms
        self._every: list[Attempt] = []

    def add(self, attempt: Attempt) -> None:
        """Note an attempt, newer than all before it."""
        self._every.append(attempt)
        before_ms = attempt.start_ms - self._keep_ms
        while len(self._every) > 1 and self._every[1].start_ms <= before_ms:
            del self._every[0]

    @property
    def newest(self) -> Attempt | None:
        """The newest one, whatever became of it."""
        return self._every[-1] if self._every else None

    @property
    def oldest(self) -> Attempt | None:
        """The oldest that is remembered."""
        return self._every[0] if self._every else None

    @property
    def tried(self) -> Attempt | None:
        """The newest one that was not skipped."""
        tried = (one for one in reversed(self._every) if one.outcome is not Outcome.SKIPPED)
        return next(tried, None)

    def at(self, t_ms: int, *, live: bool) -> Attempt | None:
        """Return the newest attempt, or that at `t_ms`; None where the target is not here."""
        for one in reversed(self._every):
            if live or one.start_ms <= t_ms:
                return None if one.outcome is Outcome.REMOVED else one
        return None

    def judged(self, t_ms: int, *, live: bool) -> Attempt | None:
        """Return the attempt that tells whether the target is up, or None where it is not here."""
        newest = self.at(t_ms, live=live)
        if newest is None or newest.outcome is not Outcome.SKIPPED:
            return newest
        tried = (one for one in reversed(self._every) if one.outcome is not Outcome.SKIPPED)
        before = next((one for one in tried if one.start_ms <= newest.start_ms), None)
        return before if before is not None and before.fresh(t_ms) else newest

    def answer(self, t_ms: int, *, live: bool) -> Attempt | None:
        """Return the attempt whose samples are the present ones, or None."""
        skipped = False
        for one in reversed(self._every):
            if not live and one.start_ms > t_ms:
                continue
            if one.outcome is Outcome.SKIPPED:
                skipped = True
                continue
            good = one.fresh(t_ms) if skipped else t_ms - one.start_ms < LOOKBACK_MS
            return one if good and one.answered else None
        return None
