"""What is kept from one live evaluation to the next is what would be computed anew, and it is
little."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.records import Outcome
from streams.core.promql import counters, labels, ring
from streams.core.promql.vector import EvaluationError, Value, Vector
from tests.evaluation import World

STEP = 5_000


def shown(world: World, t_ms: int, *, anew: bool) -> list[object]:
    """Return the live results of all expressions: rows that are there, bit by bit."""
    evaluator = world.evaluator
    context = evaluator._context(t_ms, live=True)
    if anew:
        context = replace(context, kept=None, memo={})
    found: list[object] = []
    for _, node in evaluator._program.records["g"]:
        try:
            found.append(rows(world, context.value(node)))
        except EvaluationError as error:
            found.append(str(error))
    return found


def rows(world: World, value: Value) -> object:
    if not isinstance(value, Vector):
        return np.float64(value).tobytes()
    strings = world.evaluator._strings
    return [
        (value.labels.row(i, strings), value.values[i].tobytes(), value.coverage[i].tobytes())
        for i in np.flatnonzero(value.present).tolist()
    ]


def test_a_value_that_grew_too_old_is_not_kept_however_slow_its_target_is() -> None:
    world = World(["x"])
    world.scrape("x 1\n", 0, interval_ms=180_000)
    assert shown(world, 299_999, anew=False) == shown(world, 299_999, anew=True) != [[]]
    assert shown(world, 300_000, anew=False) == shown(world, 300_000, anew=True) == [[]]


def test_coverage_grows_where_no_sample_comes() -> None:
    world = World(["max_over_time(x[1m])"])
    for step in range(3):
        world.scrape("x 1\n", step * STEP)
    for t_ms in (12_000, 31_000):
        assert shown(world, t_ms, anew=False) == shown(world, t_ms, anew=True) != [[]]


@pytest.mark.parametrize("function", ["irate", "deriv"])
def test_the_same_samples_have_the_same_slope_whenever_they_are_looked_at(function: str) -> None:
    world = World([f"{function}(x[1m])"])
    world.scrape("x 0\n", 0)
    world.scrape("x 1\n", 5_000)
    world.scrape("x 7\n", 15_007)
    for t_ms in range(60_000, 60_007):
        assert shown(world, t_ms, anew=False) == shown(world, t_ms, anew=True) != [[]]


def test_a_target_that_fails_for_long_keeps_few_windows() -> None:
    world = World(["sum(increase(x_total[1m]))", "increase(y_total[5m])", "max_over_time(z[9m])"])
    for step in range(400):
        world.scrape("x_total 1\ny_total 2\nz 3\n", step * STEP)
    for second in range(400):
        t_ms = 400 * STEP + second * 1_000
        if second % 5 == 0:
            world.scrape("", t_ms, outcome=Outcome.REFUSED)
        world.scrape("always 1\n", t_ms, instance="other")
        shown(world, t_ms, anew=False)
    (target, _) = world.evaluator._targets.values()
    kept = target._counters
    assert max(len(kept._windows), len(kept._increases)) <= counters.WINDOWS_MAX
    assert len(target._vectors) < 20
    for t_ms in range(3_000_000, 3_400_000, 1_000):  # and now nobody even tries
        shown(world, t_ms, anew=False)
    assert max(len(kept._windows), len(kept._increases)) <= counters.WINDOWS_MAX
    assert len(target._vectors) < 20
    assert all(len(one._matrices) <= ring.MATRICES_MAX for one in target._rings.values())


def test_plans_are_remembered_beside_few_tables_that_are_gone() -> None:
    world = World(["x * 2", "x and on (a) y"])
    for step in range(3 * labels.OTHERS_MAX):
        world.scrape('x{a="1"} 1\n', step * STEP)
        more = "".join(f'x{{a="{i}"}} 1\ny{{a="{i}"}} 2\n' for i in range(step))
        world.scrape(more, step * STEP, instance="b")
        shown(world, step * STEP, anew=False)
    (target, _) = world.evaluator._targets.values()
    tables = [view.labels for _, view in target._recent.values() if view.labels.n]
    assert tables
    for table in tables:
        plans = [one for one in table._plans.values() if isinstance(one, dict)]
        assert max(map(len, plans)) == labels.OTHERS_MAX
