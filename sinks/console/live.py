"""Tell what is open and how fresh it is. In: the alerts and clusters of the tables. Out: snapshots,
and a stream of them.

The rule this file owns: however many browsers listen, the tables are asked once in 2 s; a browser
that comes when too many listen is refused; the stream says so when the tables do not answer.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import pyarrow as pa

from schemas.clock import Clock
from schemas.metrics import Metric
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from sinks.console.answers import Cluster, Failure, Live, OpenAlert
from sinks.console.asking import Asker, Unanswered
from sinks.core.queries import load_queries

PUSH_S: Final = 2.0
LISTENERS_MAX: Final = 100
SEEN_MS: Final = 24 * 3_600_000
"""A cluster without a scrape for so long shows as one without data."""


class Board:
    """What is open now, for all listeners."""

    def __init__(
        self, settings: Settings, clock: Clock, asker: Asker, telemetry: Telemetry
    ) -> None:
        self._settings, self._clock, self._asker = settings, clock, asker
        self._telemetry = telemetry
        self._asking = asyncio.Lock()
        self._newest = Live(now_ms=0)
        self._asked_s = float("-inf")
        self._listeners = 0

    async def alerts(self) -> list[OpenAlert]:
        """Return the open alerts, worst first.

        Raises:
            Unanswered: the tables did not answer.
        """
        return [_alert(row) for row in (await self._ask("alerts_now")).to_pylist()]

    async def clusters(self) -> list[Cluster]:
        """Return every cluster that is configured or has data of the last day.

        Raises:
            Unanswered: the tables did not answer.
        """
        seen = {row["cluster"]: row for row in (await self._ask("clusters_seen")).to_pylist()}
        configured = {one.id: one for one in self._settings.clusters}
        found = []
        for name in sorted(set(seen) | set(configured)):
            row, known = seen.get(name, {}), configured.get(name)
            found.append(
                Cluster(
                    id=name,
                    name=(known.name if known else "") or name,
                    labels=dict(known.labels) if known else {},
                    newest_scrape_ms=_ms(row.get("newest_scrape")) or None,
                    newest_evaluation_ms=_ms(row.get("newest_evaluation")) or None,
                    targets=int(row.get("targets", 0)),
                    failing=int(row.get("failing", 0)),
                )
            )
        return found

    async def snapshot(self) -> Live:
        """Return what is open now, at most 2 s old."""
        async with self._asking:
            if time.monotonic() - self._asked_s >= PUSH_S:
                self._newest = await self._look()
                self._asked_s = time.monotonic()
            return self._newest

    def listen(self) -> AsyncIterator[Live]:
        """Return a stream of snapshots, one in 2 s.

        Raises:
            Unanswered: too many listen already.
        """
        if self._listeners >= LISTENERS_MAX:
            self._telemetry.count(Metric.LIMIT_HITS, limit="console_listeners")
            raise Unanswered(
                f"{LISTENERS_MAX} pages listen already",
                status=503,
                remedy="Close pages that nobody reads.",
            )
        return self._snapshots()

    async def _snapshots(self) -> AsyncIterator[Live]:
        self._listeners += 1
        try:
            while True:
                yield await self.snapshot()
                await asyncio.sleep(PUSH_S)
        finally:
            self._listeners -= 1

    async def _look(self) -> Live:
        now_ms = self._clock.now_ms()
        try:
            alerts, clusters = await asyncio.gather(self.alerts(), self.clusters())
        except Unanswered as error:
            failure = Failure(error=error.error, remedy=error.remedy)
            return Live(now_ms=now_ms, failure=failure)
        return Live(now_ms=now_ms, alerts=alerts, clusters=clusters)

    async def _ask(self, name: str) -> pa.Table:
        now_ms = self._clock.now_ms()
        return await self._asker.ask(
            load_queries()[name], {}, from_ms=now_ms - SEEN_MS, to_ms=now_ms, step_s=60
        )


def _alert(row: dict[str, Any]) -> OpenAlert:
    return OpenAlert(
        cluster=row["cluster"],
        fingerprint=row["fingerprint"],
        name=row["rule_id"].rpartition("/")[2],
        status=row["status"],
        severity=row["severity"],
        since_ms=_ms(row["starts_at"]),
        updated_ms=_ms(row["updated_at"]),
        summary=row["summary"],
        description=row["description"],
        first_action=row["first_action"],
        runbook=row["runbook"],
        labels=json.loads(row["labels"] or "{}"),
        value=row["value"],
    )


def _ms(moment: Any) -> int:
    return int(moment.timestamp() * 1000) if moment is not None else 0
