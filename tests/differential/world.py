"""The same samples for our engine and for Prometheus. In: what endpoints answered. Out: expositions
(ours), and series with stale markers (Prometheus').

Rule: what a scrape lacks is stale at the time of that scrape, and so is everything at the time of a
failed one, as Prometheus' scraper writes it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.scrapes import CLUSTER
from tests.services.prometheus import TimeSeries

BASE_MS: Final = 1_709_249_400_000
"""2024-02-29 23:30 UTC: midnight, a month's end and a leap day lie within the world."""
STEP_MS: Final = 15_000
SCRAPE_SECONDS: Final = 0.04

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels as the server exposes them."""

KINDS: Final[Mapping[str, str]] = {
    "requests_total": "counter",
    "proposals_total": "counter",
    "leader_changes_total": "counter",
    "latency_seconds": "histogram",
    "fsync_seconds": "histogram",
    "gc_seconds": "summary",
}
"""Families that are no gauges."""


def key(name: str, **labels: str) -> Key:
    """Return the key of a series."""
    return name, tuple(sorted(labels.items()))


@dataclass(frozen=True, slots=True)
class Poll:
    """One scrape; values is None where it failed, and where its tick was skipped: nobody tried."""

    t_ms: int
    values: Mapping[Key, float] | None
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One target and all its scrapes in order."""

    job: str
    instance: str
    zone: str
    polls: list[Poll] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        """The labels that a scraper adds to every series of it."""
        return {
            "job": self.job,
            "instance": self.instance,
            "zone": self.zone,
            "cluster": CLUSTER,
        }

    def full(self, series: Key) -> dict[str, str]:
        """Return the labels of a series as Prometheus stores it (honor_labels: false)."""
        name, labels = series
        own = self.labels
        exposed = {(f"exported_{k}" if k in own else k): v for k, v in labels if v}
        return {"__name__": name, **exposed, **own}


@dataclass(frozen=True, slots=True)
class World:
    """Everything that was scraped."""

    endpoints: tuple[Endpoint, ...]

    def polls(self) -> Iterator[tuple[Endpoint, Poll]]:
        """Return all scrapes in the order of time."""
        every = [(poll.t_ms, i, poll) for i, e in enumerate(self.endpoints) for poll in e.polls]
        for _, i, poll in sorted(every, key=lambda one: one[:2]):
            yield self.endpoints[i], poll

    def time_series(self) -> list[TimeSeries]:
        """Return what a scraping Prometheus would have stored."""
        return [one for endpoint in self.endpoints for one in _stored(endpoint)]


def _stored(endpoint: Endpoint) -> Iterator[TimeSeries]:
    tried = [poll for poll in endpoint.polls if not poll.skipped]
    every = {one for poll in tried for one in poll.values or ()}
    for series in sorted(every):
        samples: list[tuple[int, float | None]] = []
        for poll in tried:
            value = None if poll.values is None else poll.values.get(series)
            if value is not None:
                samples.append((poll.t_ms, value))
            elif samples and samples[-1][1] is not None:
                samples.append((poll.t_ms, None))
        yield TimeSeries(endpoint.full(series), samples)
    own: dict[str, Callable[[Poll], float]] = {
        "up": lambda poll: float(poll.values is not None),
        "scrape_duration_seconds": lambda poll: SCRAPE_SECONDS,
        "scrape_samples_scraped": lambda poll: float(len(poll.values or ())),
    }
    for name, value_of in own.items():
        labels = {"__name__": name, **endpoint.labels}
        yield TimeSeries(labels, [(poll.t_ms, value_of(poll)) for poll in tried])


def exposition(values: Mapping[Key, float]) -> str:
    """Return the text that a server answers."""
    lines: list[str] = []
    families: dict[str, list[str]] = {}
    for (name, labels), value in values.items():
        family = next((base for base in KINDS if _part_of(name, base)), name)
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        families.setdefault(family, []).append(f"{name}{{{inside}}} {_number(value)}")
    for family, rows in families.items():
        lines += [f"# TYPE {family} {KINDS.get(family, 'gauge')}", *rows]
    return "\n".join([*lines, ""])


def _part_of(name: str, family: str) -> bool:
    return name.removeprefix(family) in ("", "_bucket", "_sum", "_count")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))
