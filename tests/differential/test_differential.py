"""Our engine against Prometheus: the same samples, the same expressions, the same instants.

- Without rate and increase results are equal to 1e-9.
- With them: equal to 1e-9 on constant slopes, and otherwise within what the intervals at the edges
  of the window can hold (tests/differential/bounded.py derives it).
- With `rate_semantics: prometheus` they are equal to 1e-9 everywhere.

Every mismatch prints its expression, its time and both results. What differs by design has a test
of its own in test_differences.py; streams/README.md lists it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.differential import listed
from tests.differential.bounded import Bounded, Bounds, Intervals, Leaf, outside
from tests.differential.comparison import (
    Answer,
    Answers,
    Mismatch,
    at,
    mismatches,
    ours,
    prometheus,
    refusals,
)
from tests.differential.edges import EDGES
from tests.differential.estimates import estimates
from tests.differential.grammar import expressions, has_rate
from tests.differential.sources import make
from tests.differential.world import World
from tests.services.prometheus import Prometheus

WILD: Final = at(75, 300, 607, 900, 1_213, 1_500, 1_801.5, 2_100, 2_385)
"""Instants on the scrape grid and off it, from before the first window is full."""
SETTLED: Final = at(2_790, 2_907, 3_000.5, 3_150, 3_270)
"""Instants at which no window begins before the world."""
SEEDS: Final = (1, 2, 3)
SHOWN: Final = 20
"""Mismatches that a failing test prints."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A world, and a server that knows it."""

    world: World
    server: Prometheus
    seed: int


@pytest.fixture(scope="module", params=SEEDS)
def wild(request: pytest.FixtureRequest, prometheus_program: Path) -> Iterator[Asked]:
    """A world in which everything happens."""
    yield from _asked(request.param, steady=False)


@pytest.fixture(scope="module", params=[1])
def steady(request: pytest.FixtureRequest, prometheus_program: Path) -> Iterator[Asked]:
    """A world of constant slopes."""
    yield from _asked(request.param, steady=True)


def _asked(seed: int, *, steady: bool) -> Iterator[Asked]:
    world = make(seed, steady=steady)
    with Prometheus() as server:
        server.start()
        server.write(world.time_series())
        yield Asked(world, server, seed)


def every_expression(seed: int, *, rates: bool, count: int) -> list[str]:
    """Return the listed expressions, each edge in one of the worlds, and `count` generated ones;
    all with rates, or all without.
    """
    written = [*listed.RULES, *listed.systematic(), *EDGES[seed % len(SEEDS) :: len(SEEDS)]]
    fitting = [one for one in written if has_rate(one) == rates]
    return list(dict.fromkeys([*fitting, *expressions(seed, count, rates=rates)]))


def told(found: Sequence[Mismatch]) -> str:
    """Return what a failing test prints."""
    return f"{len(found)} mismatches:\n" + "\n".join(str(one) for one in found[:SHOWN])


def results_of(answers: Answers) -> float:
    """Return the share of answers that have results."""
    return sum(bool(answer.results) for answer in answers.values()) / len(answers)


def test_nothing_that_is_generated_is_refused() -> None:
    every = [*listed.RULES, *listed.systematic(), *EDGES]
    for seed in SEEDS:
        every += [one for rates in (True, False) for one in expressions(seed, 300, rates=rates)]
    assert refusals(every) == {}


def test_results_without_rates_are_equal(wild: Asked) -> None:
    asked = every_expression(wild.seed, rates=False, count=130)
    assert len(asked) >= 300
    theirs = prometheus(wild.server, asked, WILD)
    assert results_of(theirs) > 0.6  # two empty answers are equal, and say little
    found = mismatches(ours(wild.world, asked, WILD), theirs)
    assert not found, told(found)


def test_results_with_rates_are_equal_on_constant_slopes(steady: Asked) -> None:
    asked = every_expression(steady.seed, rates=True, count=200)
    theirs = prometheus(steady.server, asked, SETTLED)
    assert results_of(theirs) > 0.6
    got = ours(steady.world, asked, SETTLED)
    found = mismatches(got, theirs)
    assert not found, told(found)


@dataclass(frozen=True, slots=True)
class Guessed:
    """Estimates over a world, what both engines say to them, and Prometheus to their leaves."""

    asked: tuple[Bounded, ...]
    ours: Answers
    theirs: Answers
    bounds: Bounds

    def outside(self, got: Answers) -> list[Mismatch]:
        """Return the results that leave their interval: the first of each expression."""
        found: dict[str, Mismatch] = {}
        for t_ms in WILD:
            find = self._finder(t_ms)
            for one in self.asked:
                key = one.text, t_ms
                wrong = outside(one, t_ms, got[key], find, self.theirs[key])
                if wrong is not None:
                    found.setdefault(one.text, wrong)
        return list(found.values())

    def _finder(self, t_ms: int) -> Callable[[Leaf], Intervals]:
        return cache(lambda leaf: self.bounds.leaf(leaf, t_ms, self.theirs[leaf.text, t_ms]))


@pytest.fixture(scope="module")
def guessed(wild: Asked) -> Guessed:
    """Rates and increases of the wild world, and sums, ratios and quantiles of them."""
    asked = estimates(wild.seed, 120)
    texts = [one.text for one in asked]
    leaves = {leaf.text for one in asked for leaf in one.leaves}
    theirs = prometheus(wild.server, [*texts, *sorted(leaves - set(texts))], WILD)
    return Guessed(tuple(asked), ours(wild.world, texts, WILD), theirs, Bounds(wild.world))


def test_results_with_rates_differ_by_no_more_than_the_edges_hold(guessed: Guessed) -> None:
    found = guessed.outside(guessed.ours)
    assert not found, told(found)


def test_results_with_rates_are_equal_under_the_semantics_of_prometheus(wild: Asked) -> None:
    asked = every_expression(wild.seed, rates=True, count=80)
    asked += [one.text for one in estimates(wild.seed, 80)]
    theirs = prometheus(wild.server, asked, WILD)
    assert results_of(theirs) > 0.6
    found = mismatches(ours(wild.world, asked, WILD, extrapolated=True), theirs)
    assert not found, told(found)


def scaled(answers: Answers, factor: float) -> Answers:
    """Return the answers of an engine that is wrong by a factor."""
    return {
        asked: replace(answer, results={k: v * factor for k, v in answer.results.items()})
        for asked, answer in answers.items()
    }


def test_a_wrong_rate_is_found(steady: Asked) -> None:
    asked = ["rate(requests_total[5m])", "sum by (verb) (increase(requests_total[2m]))"]
    theirs = prometheus(steady.server, asked, SETTLED)
    got = ours(steady.world, asked, SETTLED)
    assert [] == mismatches(got, theirs)
    for factor in (0.5, 1 + 1e-7):
        assert asked == [one.expr for one in mismatches(scaled(got, factor), theirs)]


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.2])
def test_a_wrong_estimate_is_found(guessed: Guessed, factor: float) -> None:
    caught = guessed.outside(scaled(guessed.ours, factor))
    assert len(caught) > 0.5 * len(guessed.asked)  # ratios and quantiles do not see it


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda results: dict(list(results.items())[1:]), id="a result less"),
        pytest.param(lambda results: results | {frozenset({("a", "b")}): 1.0}, id="one more"),
        pytest.param(lambda results: {k: float("nan") for k in results}, id="no numbers"),
        pytest.param(lambda results: {k: v + 1e-6 for k, v in results.items()}, id="a bit more"),
    ],
)
def test_a_wrong_result_is_found(steady: Asked, change: object) -> None:
    assert callable(change)
    asked = ["queue_depth", "sum(up)"]
    theirs = prometheus(steady.server, asked, SETTLED)
    wrong = {key: Answer(change(answer.results)) for key, answer in theirs.items()}
    assert asked == [one.expr for one in mismatches(wrong, theirs)]
    failed = {key: Answer({}, "an error") for key in theirs}
    assert asked == [one.expr for one in mismatches(failed, theirs)]
