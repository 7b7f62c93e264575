"""Know one target while it is scraped. In: its settings, ticks that come, how scrapes went. Out:
where it stands, and when it is scraped next.

The rule this file owns: ticks of a target only ever grow; where its server is slow it is scraped at
fewer of them (`core/stretch.py`), never at others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from producers.core.schedule import Plan, due, moved, plan, stretched
from producers.core.stretch import Stretch, Went, after
from producers.core.turns import IDLE, Turn
from producers.fetch import Credentials, Endpoint, Source
from producers.own import INTERVAL_S, TIMEOUT_S, OwnSeries, OwnSource, own_target
from producers.probe import Probe
from schemas.identity import Target
from schemas.records import Outcome
from schemas.settings import ClusterSettings, TargetSettings


@dataclass(slots=True)
class Watched:
    """One target. `turn` is guarded by the lock of who scrapes it; plans are the scheduler's."""

    target: Target
    source: Source | Probe
    labels: Mapping[str, str]
    timeout_ms: float
    configured_plan: Plan
    plan: Plan  # as it is now
    next_tick_ms: int
    credentials: Credentials | None = None
    configured: bool = True
    turn: Turn = IDLE
    outcome: Outcome | None = None  # of the newest attempt; a change is news
    stretch: Stretch = field(default_factory=Stretch)

    @classmethod
    def of_settings(
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
        endpoint = Endpoint(settings, credentials)
        return cls(
            target,
            Probe(settings.probe, endpoint) if settings.probe else endpoint,
            settings.labels,
            settings.timeout_s * 1000,
            planned,
            planned,
            planned.next_tick_ms(now_ms),
            credentials,
            configured,
        )

    @classmethod
    def ourselves(cls, cluster: ClusterSettings, node: str, series: OwnSeries, now_ms: int) -> Self:
        """Return the target that this process is to a cluster; it delays no evaluation."""
        interval_s = min((one.interval_s for one in cluster.targets), default=INTERVAL_S)
        target, source = own_target(cluster.id, node), OwnSource(series, cluster.id)
        planned = plan(target, round(min(interval_s, INTERVAL_S) * 1000))
        next_ms = planned.next_tick_ms(now_ms)
        return cls(target, source, {}, TIMEOUT_S * 1000, planned, planned, next_ms)

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
        """Take note of how a scrape went; tell whether the interval changes by it.

        That of a probe never does: it is small, and the last that sees a server in distress. Nor
        does our own, which asks no server.
        """
        if isinstance(self.source, Probe | OwnSource):
            return False
        before = self.stretch
        self.stretch = after(
            before,
            went,
            interval_ms=self.configured_plan.interval_ms,
            interval_ms_max=interval_ms_max,
        )
        return self.stretch.factor != before.factor
