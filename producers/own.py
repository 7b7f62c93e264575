"""Tell each cluster what producers do and keep. In: our own metrics. Out: expositions by cluster.

The rule this file owns: our own series go the way of all others, by ticks, numbers and the spool,
as a target that is scraped without a request. A cluster hears what is counted of it, and what is
counted of the whole process: it may be what this cluster suffers from.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from producers.fetch import Answer
from schemas.identity import Target

JOB: Final = "planewatch"
INSTANCE: Final = "producers"
INTERVAL_S: Final = 15.0  # at most; a cluster whose targets are scraped more often waits for no one
TIMEOUT_S: Final = 5.0
CONTENT_TYPE: Final = "text/plain; version=0.0.4"
COLLECTED_S: Final = 1.0  # hundreds of clusters share what was collected within it


def own_target(cluster: str, node: str) -> Target:
    """Return the target that producers themselves are; those of a node are called by it."""
    return Target(cluster, JOB, node or INSTANCE)


class OwnSeries:
    """The series of this process, by cluster; any thread may ask."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._collected = _Collected(-COLLECTED_S, {})

    def exposition(self, cluster: str) -> bytes:
        """Return what is known of a cluster and of the process, as text 0.0.4."""
        with self._lock:
            if time.monotonic() - self._collected.at_s >= COLLECTED_S:
                self._collected = _collect(self._registry)
            families = self._collected.by_cluster
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families([*families.get("", ()), *families.get(cluster, ())]))
        return generate_latest(registry)


class OwnSource:
    """What a scrape of the target `own_target` reads."""

    def __init__(self, series: OwnSeries, cluster: str) -> None:
        self._series, self._cluster = series, cluster

    def get(self, *, timeout_s: float, body_bytes_max: int) -> Answer:
        """Return the exposition; it needs no time, and is small."""
        del timeout_s, body_bytes_max
        return Answer(200, "", self._series.exposition(self._cluster), True, None, CONTENT_TYPE)

    def abort(self) -> None:
        """Nothing is ever in flight."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class _Collected:
    """All families that have samples, by cluster; those of the process under ""."""

    at_s: float
    by_cluster: dict[str, list[Metric]]


class _Families(Collector):
    """Families that were collected before."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self._families


def _collect(registry: CollectorRegistry) -> _Collected:
    found: dict[str, list[Metric]] = defaultdict(list)
    for family in registry.collect():
        samples: dict[str, list[Sample]] = defaultdict(list)
        for sample in family.samples:
            labels = dict(sample.labels)
            cluster = labels.pop("cluster", "")
            if not sample.name.endswith("_created"):  # the process says when it began, once
                samples[cluster].append(sample._replace(labels=labels))
        for cluster, own in samples.items():
            kept = Metric(family.name, family.documentation, family.type)
            kept.samples = own
            found[cluster].append(kept)
    return _Collected(time.monotonic(), dict(found))
