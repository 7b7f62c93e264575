"""Start the watches. In: clusters whose API server we can ask. Out: their changes in `changes`.

The rule this file owns: which kinds are watched, one thread per cluster and kind, one budget per
cluster. Cost for an API server: one paged LIST at the first start and after each 410, one open
watch, a request every 4 to 5 minutes; constant in nodes and pods, for it is about the few Leases of
kube-system.
"""

import threading
import time
from typing import Final

from producers.access import access
from producers.budget import Budgets
from producers.kube import Connection
from producers.listwatch import Resource, Watch
from producers.seen import Seen
from producers.sending import Sender
from schemas.clock import Clock
from schemas.settings import ClusterSettings, Settings
from schemas.telemetry import Telemetry

OWNER: Final = "watch"
LEASES: Final = Resource(
    "leases",
    "Lease",
    "coordination.k8s.io/v1",
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
)


class Watches:
    """All watches of this process."""

    def __init__(self, watches: list[Watch]) -> None:
        self._watches = watches
        for one in watches:
            one.start()

    def join(self, timeout_s: float = 1.0) -> None:
        """Wait until all have ended, `timeout_s` at most; call it when `stop` is set."""
        until_s = time.monotonic() + timeout_s
        for one in self._watches:
            one.join(max(0.05, until_s - time.monotonic()))

    def check(self) -> None:
        """Raise what ended one of them before `stop` was set."""
        for one in self._watches:
            one.check()


def start_watches(
    settings: Settings,
    sender: Sender,
    *,
    clock: Clock,
    telemetry: Telemetry,
    budgets: Budgets,
    stop: threading.Event,
) -> Watches:
    """Watch every cluster whose API server we can ask, until `stop` is set.

    Raises:
        ConfigError: a kubeconfig cannot be used.
    """

    def watch(number: int, cluster: ClusterSettings) -> Watch:
        connection = Connection(
            access(number, cluster), owner=OWNER, budget=budgets.of(cluster.id), clock=clock
        )
        file = settings.data / "producers" / "watches" / f"{cluster.id}.{LEASES.name}.json"
        return Watch(
            LEASES,
            cluster.id,
            connection=connection,
            seen=Seen(file),
            sender=sender,
            clock=clock,
            telemetry=telemetry,
            stop=stop,
        )

    return Watches([watch(n, one) for n, one in enumerate(settings.clusters) if one.asks])
