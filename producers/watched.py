"""Know one target while it is scraped. In: its settings, ticks that come, how scrapes went. Out:
where it stands, and when it is scraped next.

The rule this file owns: ticks of a target only ever grow; where its server is slow it is scraped at
fewer of them (`core/stretch.py`), never at others.
"""

from dataclasses import dataclass, field
from typing import Self

from producers.core.schedule import Plan, due, moved, plan, stretched
from producers.core.stretch import Stretch, Went, after
from producers.core.turns import IDLE, Turn
from producers.fetch import Credentials, Endpoint
from schemas.identity import Target
from schemas.records import Outcome
from schemas.settings import TargetSettings


@dataclass(slots=True)
class Watched:
    """One target. `turn` is guarded by the lock of who scrapes it; plans are the scheduler's."""

    target: Target
    settings: TargetSettings
    configured_plan: Plan
    plan: Plan  # as it is now
    endpoint: Endpoint
    next_tick_ms: int
    credentials: Credentials | None = None
    configured: bool = True
    turn: Turn = IDLE
    outcome: Outcome | None = None  # of the newest attempt; a change is news
    stretch: Stretch = field(default_factory=Stretch)

    @classmethod
    def new(
        cls,
        target: Target,
        settings: TargetSettings,
        now_ms: int,
        credentials: Credentials | None = None,
        *,
        configured: bool = True,
    ) -> Self:
        """Return a target that is scraped from its first tick after `now_ms` on."""
        planned = plan(target, round(settings.interval_s * 1000))
        endpoint, next_ms = Endpoint(settings, credentials), planned.next_tick_ms(now_ms)
        return cls(target, settings, planned, planned, endpoint, next_ms, credentials, configured)

    @property
    def interval_ms(self) -> int:
        """How much time lies between two scrapes from now on."""
        return self.configured_plan.interval_ms * self.stretch.factor

    def ticks_ms(self, now_ms: int) -> tuple[int, ...]:
        """Return the ticks that have come, of the plan as the newest scrape has left it."""
        planned = stretched(self.configured_plan, self.stretch.factor)
        if planned != self.plan:
            self.next_tick_ms = moved(self.plan, planned, self.next_tick_ms)
            self.plan = planned
        found = due(self.plan, next_tick_ms=self.next_tick_ms, now_ms=now_ms)
        self.next_tick_ms = found.next_tick_ms
        return found.ticks_ms

    def note(self, went: Went, interval_ms_max: int) -> bool:
        """Take note of how a scrape went; tell whether the interval changes by it."""
        before = self.stretch
        self.stretch = after(
            before,
            went,
            interval_ms=self.configured_plan.interval_ms,
            interval_ms_max=interval_ms_max,
        )
        return self.stretch.factor != before.factor
