"""Count and serve our own metrics. In: the catalogue of `metrics.py`. Out: counters to increment,
`/metrics` to scrape.

The rule this file owns: one Telemetry per process, made in `__main__` and passed down; nothing
registers globally.
"""

from contextlib import suppress
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from schemas.metrics import CATALOGUE, Metric

M = TypeVar("M", Counter, Gauge, Histogram)


class Telemetry:
    """All metrics of one stage; each carries the label `stage`."""

    def __init__(self, stage: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU, start: process_...
        self._stage = stage
        kinds = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
        self._made = {
            metric: kinds[definition.type](
                metric, definition.help, ("stage", *definition.labels), registry=self.registry
            )
            for metric, definition in CATALOGUE.items()
        }

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add `amount` to a counter."""
        self._child(metric, Counter, labels).inc(amount)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(metric, Gauge, labels).set(value)

    def observe(self, metric: Metric, seconds: float, **labels: str) -> None:
        """Add one observation to a histogram."""
        self._child(metric, Histogram, labels).observe(seconds)

    def forget(self, metric: Metric, **labels: str) -> None:
        """Drop a series whose subject is gone, if there is one."""
        values = {"stage": self._stage, **labels}
        names = ("stage", *CATALOGUE[metric].labels)
        with suppress(KeyError):
            self._made[metric].remove(*(values[name] for name in names))

    def value(self, metric: Metric, **labels: str) -> float:
        """Return the value of a counter or gauge now; for tests, progress and doctor."""
        sample = metric.value
        return self.registry.get_sample_value(sample, {"stage": self._stage, **labels}) or 0.0

    def serve(self, host: str, port: int) -> int:
        """Serve `/metrics` on a thread of its own and return the port; 0 takes any free one."""
        server, _ = start_http_server(port, addr=host, registry=self.registry)
        return server.server_port

    def _child(self, metric: Metric, kind: type[M], labels: dict[str, str]) -> M:
        made = self._made[metric]
        if not isinstance(made, kind):
            raise AssertionError(f"{metric} is a {CATALOGUE[metric].type}, not a {kind.__name__}")
        return made.labels(stage=self._stage, **labels)
