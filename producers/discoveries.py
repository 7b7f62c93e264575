"""Start the discovery of targets. In: clusters that ask for it. Out: their targets, scraped.

The rule this file owns: one thread asks for one cluster, out of the budget of that cluster; what is
known from before a restart is scraped from the first tick on.
"""

import threading
import time

from producers.access import access
from producers.budget import Budgets
from producers.credentials import Credentials
from producers.discovery import OWNER, Discovery
from producers.kube import Connection
from producers.scraping import Scraping
from schemas.clock import Clock
from schemas.settings import ClusterSettings, Settings
from schemas.telemetry import Telemetry


class Discoveries:
    """The discovery of all clusters of this process."""

    def __init__(self, discoveries: list[Discovery]) -> None:
        self._discoveries = discoveries
        for one in discoveries:
            one.start()

    def join(self, timeout_s: float = 1.0) -> None:
        """Wait until all have ended, `timeout_s` at most; call it when `stop` is set."""
        until_s = time.monotonic() + timeout_s
        for one in self._discoveries:
            one.join(max(0.05, until_s - time.monotonic()))

    def check(self) -> None:
        """Raise what ended one of them before `stop` was set."""
        for one in self._discoveries:
            one.check()


def start_discoveries(
    settings: Settings,
    scraping: Scraping,
    *,
    clock: Clock,
    telemetry: Telemetry,
    budgets: Budgets,
    stop: threading.Event,
) -> Discoveries:
    """Discover the targets of each cluster that asks for it, until `stop` is set.

    Call it before scraping starts, which then begins with the last known targets.

    Raises:
        ConfigError: a kubeconfig cannot be used.
    """

    def discovery(number: int, cluster: ClusterSettings) -> Discovery:
        way = access(number, cluster)
        return Discovery(
            cluster,
            connection=Connection(way, owner=OWNER, budget=budgets.of(cluster.id), clock=clock),
            credentials=Credentials(cluster.id, way, stop),
            file=settings.data / "producers" / "discovery" / f"{cluster.id}.json",
            discover=scraping.discover,
            clock=clock,
            telemetry=telemetry,
            stop=stop,
        )

    return Discoveries(
        [discovery(number, one) for number, one in enumerate(settings.clusters) if one.discovery]
    )
