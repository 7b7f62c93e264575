"""Hold the budget of one cluster. In: who wants to send a request. Out: leave to send it, in time.

The rule this file owns: nobody talks to an API server unplanned without a token; whoever waits here
can be stopped; every request is counted with its owner and its answer.
"""

import random
import threading
from typing import Final

from producers.core import budget as core
from schemas.clock import Clock
from schemas.metrics import Metric
from schemas.settings import ProducersSettings
from schemas.telemetry import Telemetry

SLEEP_MAX_S: Final = 0.2  # a rehearsal may change the speed of the clock at any moment


class Budget:
    """The unplanned requests of all threads to one cluster."""

    def __init__(
        self, cluster: str, settings: ProducersSettings, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._cluster, self._clock, self._telemetry = cluster, clock, telemetry
        self._per_s, self._burst = settings.unplanned_per_s, settings.unplanned_burst
        self._bucket = core.Bucket(float(self._burst), clock.now_ms())
        self._instances: dict[str, core.Instance] = {}
        self._lock = threading.Lock()

    def wait(self, instance: str, stop: threading.Event) -> bool:
        """Wait for leave to send one request to `instance`; return False if `stop` came first."""
        while wait_ms := self._admit(instance):
            if not pause(self._clock, wait_ms, stop):
                return False
        return pause(self._clock, self._take(), stop)

    def report(self, instance: str, *, owner: str, code: str, failed: bool) -> None:
        """Count one request. `code`: its HTTP status, or a word where no answer came."""
        self._telemetry.count(Metric.REQUESTS, cluster=self._cluster, owner=owner, code=code)
        with self._lock:
            before = self._instances.get(instance, core.Instance())
            self._instances[instance] = self._failed(before) if failed else core.answered(before)

    def read(self, instance: str, *, garbled: bool) -> None:
        """Take note whether the body of a good answer made sense; `report` came before."""
        with self._lock:
            before = self._instances.get(instance, core.Instance())
            self._instances[instance] = (
                self._failed(before, garbled=True) if garbled else core.understood()
            )

    def _failed(self, before: core.Instance, *, garbled: bool = False) -> core.Instance:
        jitter = random.random()  # noqa: S311 no secret
        return core.failed(before, self._clock.now_ms(), jitter, garbled=garbled)

    def _admit(self, instance: str) -> int:
        with self._lock:
            known = self._instances.get(instance, core.Instance())
            self._instances[instance], wait_ms = core.admit(known, self._clock.now_ms())
        return wait_ms

    def _take(self) -> int:
        with self._lock:
            self._bucket, wait_ms = core.take(
                self._bucket, self._clock.now_ms(), per_s=self._per_s, burst=self._burst
            )
            left = max(0.0, self._bucket.tokens)
        self._telemetry.set(Metric.BUDGET_TOKENS, left, cluster=self._cluster)
        return wait_ms


class Budgets:
    """One budget a cluster, whoever asks its API servers."""

    def __init__(self, settings: ProducersSettings, clock: Clock, telemetry: Telemetry) -> None:
        self._settings, self._clock, self._telemetry = settings, clock, telemetry
        self._budgets: dict[str, Budget] = {}

    def of(self, cluster: str) -> Budget:
        """Return the budget of a cluster; called while the stage starts, by one thread."""
        if cluster not in self._budgets:
            self._budgets[cluster] = Budget(cluster, self._settings, self._clock, self._telemetry)
        return self._budgets[cluster]


def pause(clock: Clock, event_ms: float, stop: threading.Event) -> bool:
    """Sleep `event_ms` of event time; return False as soon as `stop` is set."""
    until_ms = clock.now_ms() + event_ms
    while (left_ms := until_ms - clock.now_ms()) > 0:
        if stop.wait(min(SLEEP_MAX_S, clock.wall_s(left_ms))):
            return False
    return not stop.is_set()
