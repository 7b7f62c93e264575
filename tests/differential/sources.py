"""Make worlds. In: a seed. Out: endpoints that were polled every 15 s.

Two worlds. `wild`, of 40 minutes: counters that burst, idle and restart, with their process or
alone; gauges that are negative, NaN or infinite; histograms; series that appear, vanish and return;
polls that fail, once or for longer than the look-back. `steady`, of 55 minutes: every counter has
one slope and nothing fails.

Rule: a counter that restarts falls, so that both engines can see it (what only one of them can see
is in test_differences.py).
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.differential.world import BASE_MS, STEP_MS, Endpoint, Key, Poll, World, key

POLLS: Final = 161
STEADY_POLLS: Final = 221
"""Prometheus takes samples of one hour at a time."""
OUTAGE_POLLS: Final = 27
"""One target is away for longer than the look-back of 5 minutes."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The moment of a scrape, as a series sees it."""

    k: int
    restarted: bool


Source = Callable[[Tick], Mapping[Key, float]]
"""What one family member shows at each tick, failed ones too; nothing while it is absent."""


class Nature:
    """Make sources. A steady nature has one slope a counter and no events."""

    def __init__(self, rng: random.Random, *, steady: bool) -> None:
        self.rng, self.steady = rng, steady
        self.polls = STEADY_POLLS if steady else POLLS
        self.counters = 0

    def life(self, *, events: float) -> list[bool]:
        """Return whether a series is there, tick by tick."""
        here = [True] * self.polls
        if self.steady or self.rng.random() >= events:
            return here
        kind = self.rng.choice(["born", "dies", "gap", "gaps", "moment"])
        begin = self.rng.randrange(8, POLLS - 20)
        if kind == "born":
            here[:begin] = [False] * begin
        elif kind == "dies":
            here[begin:] = [False] * (POLLS - begin)
        elif kind == "moment":
            return [begin <= k < begin + 2 for k in range(POLLS)]
        for _ in range({"gap": 1, "gaps": 4}.get(kind, 0)):
            begin = self.rng.randrange(8, POLLS - 20)
            width = self.rng.choice([1, 2, 5, 30])
            here[begin : begin + width] = [False] * len(here[begin : begin + width])
        return here

    @staticmethod
    def forget(life: list[bool], tick: Tick) -> None:
        """A restarted process does not know the counters that it did not show before."""
        if tick.restarted and not life[tick.k]:
            life[tick.k :] = [False] * (len(life) - tick.k)

    def slope(self) -> int:
        """Return what a counter grows by between two scrapes, on average.

        Where it is constant no two are the same, so that no two rates tie.
        """
        if self.steady:
            self.counters += 1
            return 2 * self.counters + 1
        return self.rng.choice([0, 1, 3, 7, 20, 60])

    def grown(self, slope: int) -> int:
        """Return the growth of one interval."""
        if self.steady or not slope:
            return slope
        if self.rng.random() < 0.15:
            return 0
        return self.rng.randint(0, 2 * slope) * self.rng.choice([1, 1, 1, 4])

    def fallen(self, value: float) -> float:
        """Return the first value of a counter that restarted: less than the last one."""
        return float(self.rng.randint(0, max(min(int(value) // 2, 20), 0)))

    def first(self, life: list[bool]) -> float:
        """Return where a counter stands at tick 0; one that is born later has not counted yet."""
        return float(self.rng.randint(1_000, 5_000) if life[0] else self.rng.randint(2, 40))

    def counter(self, series: Key, *, events: float = 0.25) -> Source:
        """A counter, which may restart alone once."""
        rng, life, slope = self.rng, self.life(events=events), self.slope()
        value = self.first(life)
        alone = {rng.randrange(10, POLLS)} if not self.steady and rng.random() < events else set()

        def at(tick: Tick) -> Mapping[Key, float]:
            nonlocal value
            self.forget(life, tick)
            if not any(life[: tick.k + 1]):
                return {}  # not born
            if tick.restarted or tick.k in alone:
                value = self.fallen(value)
            elif tick.k:
                value += self.grown(slope)
            return {series: value} if life[tick.k] else {}

        return at

    def gauge(self, series: Key, *, start: float, jump: float, events: float = 0.1) -> Source:
        """A gauge that wanders, and rests at times."""
        rng, life, value = self.rng, self.life(events=events), start

        def at(tick: Tick) -> Mapping[Key, float]:
            nonlocal value
            if rng.random() < 0.7:
                value = round(value + rng.gauss(0, jump), 3)
            return {series: value} if life[tick.k] else {}

        return at

    def one_of(self, series: Key, values: list[float], *, rests: float = 0.8) -> Source:
        """A gauge that takes values of a list."""
        rng, now = self.rng, values[0]

        def at(tick: Tick) -> Mapping[Key, float]:
            nonlocal now
            if rng.random() > rests:
                now = rng.choice(values)
            return {series: now}

        return at

    def histogram(self, name: str, bounds: tuple[str, ...], **labels: str) -> Source:
        """A histogram: each bucket grows by itself."""
        slopes = [self.rng.choice([0, 1, 2, 5, 9]) for _ in bounds]
        life = self.life(events=0.15)
        counts = [self.first(life) for _ in bounds]
        total = float(sum(counts)) * 0.25

        def at(tick: Tick) -> Mapping[Key, float]:
            nonlocal counts, total
            self.forget(life, tick)
            if not any(life[: tick.k + 1]):
                return {}
            if tick.restarted:
                counts = [self.fallen(count) for count in counts]
                total = float(sum(counts)) * 0.25
            elif tick.k:
                grown = [self.grown(slope) for slope in slopes]
                counts = [count + more for count, more in zip(counts, grown, strict=True)]
                total += sum(grown) * 0.25
            if not life[tick.k]:
                return {}
            found, below = {}, 0.0
            for bound, count in zip(bounds, counts, strict=True):
                below += count
                found[key(f"{name}_bucket", le=bound, **labels)] = below
            found[key(f"{name}_sum", **labels)] = total
            found[key(f"{name}_count", **labels)] = below
            return found

        return at

    def summary(self, name: str) -> Source:
        """A summary with two quantiles."""
        count = self.counter(key(f"{name}_count"), events=0.0)
        total = self.counter(key(f"{name}_sum"), events=0.0)
        quantiles = [self.gauge(key(name, quantile=q), start=1, jump=0.1) for q in ("0.5", "0.99")]
        return lambda tick: {
            series: value
            for source in (*quantiles, total, count)
            for series, value in source(tick).items()
        }


_LATENCY: Final = ("0.1", "0.5", "1", "5", "+Inf")
_FSYNC: Final = ("0.001", "0.01", "0.128", "+Inf")
_ODD: Final = [float("nan"), float("inf"), float("-inf"), 0.0, -0.0, -5.5, 1e9, 0.1]


def _apiserver(nature: Nature, version: str) -> list[Source]:
    rng = nature.rng
    sources = [
        nature.counter(key("requests_total", verb=verb, code=code, resource=rng.choice(resources)))
        for verb, resources in (("GET", ["pods"]), ("LIST", ["pods", "nodes"]), ("PUT", ["leases"]))
        for code in ("200", "404", "500")
    ]
    sources += [
        nature.gauge(key("queue_depth", queue=queue), start=rng.uniform(-20, 90), jump=4)
        for queue in ("q1", "q2", "q3")
    ]
    sources += [nature.one_of(key("odd_value", kind=kind), _ODD) for kind in ("x", "y", "z")]
    sources += [
        nature.gauge(key("seats_used", level=level, flow=flow), start=30, jump=5)
        for level in ("high", "low")
        for flow in ("f1", "f2")
    ]
    sources += [
        nature.one_of(key("seats_limit", level=level), [40.0, 60.0]) for level in ("high", "low")
    ]
    sources += [
        nature.gauge(key("flapping", n=str(n)), start=n, jump=1, events=1.0) for n in range(3)
    ]
    sources += [
        nature.histogram("latency_seconds", _LATENCY, verb=verb, resource="pods")
        for verb in ("GET", "LIST")
    ]
    build = key("build_info", version=version, empty="", instance="me", text='é "q"\\\n')
    sources += [nature.one_of(build, [1.0]), nature.summary("gc_seconds")]
    return sources


def _etcd(nature: Nature) -> list[Source]:
    sources = [nature.counter(key("proposals_total", kind=kind)) for kind in ("read", "write", "x")]
    sources += [
        nature.counter(key("leader_changes_total"), events=0.0),
        nature.gauge(key("db_bytes"), start=2e9, jump=3e6, events=0.0),
        nature.one_of(key("has_leader"), [1.0, 1.0, 0.0]),
        nature.gauge(key("queue_depth", queue="q1"), start=10, jump=4),
        nature.histogram("fsync_seconds", _FSYNC),
        nature.one_of(key("build_info", version="3.6"), [1.0]),
    ]
    return sources


@dataclass(frozen=True, slots=True)
class Plan:
    """When a target is polled."""

    job: str
    instance: str
    zone: str
    phase_ms: int
    jitter_ms: int


PLANS: Final = (
    Plan("apiserver", "a", "z1", 0, 0),
    Plan("apiserver", "b", "z2", 4_000, 300),
    Plan("apiserver", "c", "z1", 11_321, 0),
    Plan("etcd", "e1", "z1", 0, 0),
    Plan("etcd", "e2", "z2", 7_300, 40),
)


def make(seed: int, *, steady: bool) -> World:
    """Return the world of a seed."""
    rng = random.Random(f"{seed}-{steady}")
    nature = Nature(rng, steady=steady)
    return World(tuple(_endpoint(i, plan, nature) for i, plan in enumerate(PLANS)))


def _failing(rng: random.Random, widths: list[int], restarts: set[int]) -> set[int]:
    """Return which polls fail. The one that sees a restart does not, nor the one before it."""
    found: set[int] = set()
    for width in widths:
        begin = rng.randrange(10, POLLS - OUTAGE_POLLS)
        found |= set(range(begin, begin + width))
    return found - restarts - {k - 1 for k in restarts}


def _endpoint(i: int, plan: Plan, nature: Nature) -> Endpoint:
    rng, steady = nature.rng, nature.steady
    sources = _etcd(nature) if plan.job == "etcd" else _apiserver(nature, f"1.3{i}")
    restarts = {rng.randrange(20, POLLS - 10)} if not steady and i % 2 else set()
    failing = set() if steady else _failing(rng, [1, rng.randint(2, 3)], restarts)
    if plan.instance == "c" and not steady:
        failing |= _failing(rng, [OUTAGE_POLLS], restarts)
    started_s = BASE_MS // 1000 - 3_600 * (i + 1)
    endpoint = Endpoint(plan.job, plan.instance, plan.zone)
    for k in range(nature.polls):
        jitter_ms = 0 if steady or not plan.jitter_ms else rng.randint(0, plan.jitter_ms)
        t_ms = BASE_MS + plan.phase_ms + k * STEP_MS + jitter_ms
        if k in restarts:
            started_s = t_ms // 1000 - 3
        values = {key("process_start_time_seconds"): float(started_s)}
        for source in sources:
            values.update(source(Tick(k, k in restarts)))
        endpoint.polls.append(Poll(t_ms, None if k in failing else values))
    return endpoint
