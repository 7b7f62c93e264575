"""Compose expressions whose distance from Prometheus is known. In: a seed. Out: rates, increases,
and sums, ratios and quantiles of them.

Rule: whatever is made here has an interval (tests/differential/bounded.py), and every window is in
seconds, on the scrape interval and off it.
"""

import random
from typing import Final

from tests.differential.bounded import Bounded, Leaf, aggregated, plain, quantile, ratio, scaled

WINDOWS_S: Final = (60, 100, 120, 200, 300, 317, 600, 1_000)
SCALARS: Final = ("requests_total", "proposals_total", "leader_changes_total", "gc_seconds_count")
BUCKETS: Final = ("latency_seconds_bucket", "fsync_seconds_bucket")
PARTS: Final = ("latency_seconds_sum", "latency_seconds_count", *BUCKETS)
BY: Final = (("job",), ("instance",), ("zone", "job"), ("verb",), ("code", "instance"), ())
MATCHERS: Final = (
    (),
    (),
    (("zone", "z1"),),
    (("job", "apiserver"),),
    (("instance", "b"),),
    (("verb", "GET"),),
)


def estimates(seed: int, count: int) -> list[Bounded]:
    """Return different expressions."""
    rng, found = random.Random(seed), dict[str, Bounded]()
    makers = (_leaf, _leaf, _grouped, _grouped, _scaled, _share, _mean, _quantile, _quantile)
    while len(found) < count:
        one = rng.choice(makers)(rng)
        found[one.text] = one
    return list(found.values())


def _of(rng: random.Random, family: str) -> Leaf:
    function = rng.choice(("rate", "increase"))
    return Leaf(function, family, rng.choice(MATCHERS), rng.choice(WINDOWS_S))


def _leaf(rng: random.Random) -> Bounded:
    return plain(_of(rng, rng.choice((*SCALARS, *PARTS))))


def _grouped(rng: random.Random) -> Bounded:
    op = rng.choice(("sum", "sum", "sum", "max", "min", "avg"))
    return aggregated(op, rng.choice(BY), _of(rng, rng.choice((*SCALARS, *PARTS))))


def _scaled(rng: random.Random) -> Bounded:
    return scaled(_grouped(rng), rng.choice((0.5, 60, 1e3)))


def _share(rng: random.Random) -> Bounded:
    """Errors among all requests."""
    every, by = _of(rng, "requests_total"), rng.choice(BY)
    some = Leaf(every.function, every.family, (*every.equal, ("code", "500")), every.window_s)
    return ratio(aggregated("sum", by, some), aggregated("sum", by, every))


def _mean(rng: random.Random) -> Bounded:
    total, by = _of(rng, "latency_seconds_sum"), rng.choice(BY)
    count = Leaf(total.function, "latency_seconds_count", total.equal, total.window_s)
    return ratio(aggregated("sum", by, total), aggregated("sum", by, count))


def _quantile(rng: random.Random) -> Bounded:
    leaf = _of(rng, rng.choice(BUCKETS))
    inner = aggregated("sum", ("le", *rng.choice(BY)), leaf) if rng.random() < 0.7 else plain(leaf)
    return quantile(rng.choice((0.5, 0.9, 0.99)), inner)
