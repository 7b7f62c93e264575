"""Observe clusters. In: settings that name them. Out: their scrapes and changes, until `stop`.

The rule this file owns: what belongs to a cluster and needs no file of this machine begins and ends
together, and is here; so it can move to another process.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from producers.budget import Budgets
from producers.scraping import Scraping
from producers.sending import Sender
from schemas.clock import Clock
from schemas.settings import Settings
from schemas.telemetry import Telemetry

IN_FLIGHT_S: Final = 3.0
STOP_S: Final = 4.0  # until all threads have ended


class Beside(Protocol):
    """What runs beside scraping until the event `stop` is set."""

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended, at most `timeout_s`."""

    def check(self) -> None:
        """Raise what ended a part of it before `stop` was set."""


class Observation:
    """The scrapes, the discovery and the watches of some clusters."""

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        *,
        clock: Clock,
        telemetry: Telemetry,
        owns: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`owns`: which clusters are ours, also of those that the settings no longer name.

        Raises:
            ConfigError: a kubeconfig, or the data folder, cannot be used.
        """
        self._stop = threading.Event()
        self._scraping = Scraping(settings, sender, clock, telemetry, owns=owns)
        self._others = _start_asking(
            settings, sender, self._scraping, clock=clock, telemetry=telemetry, stop=self._stop
        )

    def start(self) -> None:
        """Begin to scrape."""
        self._scraping.start()

    def check(self) -> None:
        """Raise what ended a part of it before `stop` was called."""
        self._scraping.check()
        for other in self._others:
            other.check()

    def stop(self) -> None:
        """Wait for what is in flight, no longer than STOP_S; nothing new begins."""
        self._stop.set()
        until_s = time.monotonic() + STOP_S
        self._scraping.stop(wait_s=IN_FLIGHT_S)
        for other in self._others:
            other.join(max(0.1, until_s - time.monotonic()))


def _start_asking(
    settings: Settings,
    sender: Sender,
    scraping: Scraping,
    *,
    clock: Clock,
    telemetry: Telemetry,
    stop: threading.Event,
) -> list[Beside]:
    """Start all that asks API servers; its client is big, and loaded where it is used."""
    if not any(cluster.asks for cluster in settings.clusters):
        return []
    from producers.discoveries import start_discoveries  # noqa: PLC0415
    from producers.watch import start_watches  # noqa: PLC0415

    budgets = Budgets(settings.producers, clock, telemetry)
    return [
        start_discoveries(
            settings, scraping, clock=clock, telemetry=telemetry, budgets=budgets, stop=stop
        ),
        start_watches(
            settings, sender, clock=clock, telemetry=telemetry, budgets=budgets, stop=stop
        ),
    ]
