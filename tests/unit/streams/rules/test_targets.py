"""Targets that nobody scrapes any more are forgotten, alike in every order of events."""

import pytest

from streams.core import evaluate
from streams.core.evaluate import Evaluator
from streams.core.promql.vector import EvaluationError
from streams.core.rules.files import load_rules
from tests.evaluation import World
from tests.scrapes import CLUSTER, scrape

STEP = 5_000
HOUR = 3_600_000
RULES = "groups: [{name: g, rules: [{alert: A, expr: 'increase(x[10m]) > 0'}]}]"


def test_targets_that_nobody_scrapes_any_more_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "TARGETS_MAX", 2)
    one = Evaluator(load_rules({"f.yaml": RULES}), CLUSTER)
    for name in ("a", "gone"):
        one.accept(scrape("x 1\n", 0, instance=name))
    one.accept(scrape("x 1\n", HOUR, instance="a"))
    with pytest.raises(EvaluationError, match="more than 2 targets"):
        one.accept(scrape("x 1\n", HOUR, instance="new"))

    one.accept(scrape("x 1\n", HOUR + 1, instance="new"))


@pytest.mark.parametrize("interval_ms, slope", [(HOUR, [3.0]), (STEP, [])], ids=["slow", "gone"])
def test_a_slow_target_is_kept_for_three_intervals(interval_ms: int, slope: list[float]) -> None:
    world = World(['increase(x{instance="a"}[10m])'])
    world.scrape("x 1\n", 0, instance="a", interval_ms=interval_ms)
    world.scrape("x 1\n", 2 * HOUR, instance="b")
    world.scrape("x 37\n", 2 * HOUR, instance="a", interval_ms=interval_ms)

    assert slope == [one.value for one in world.live(2 * HOUR)]


def test_after_an_outage_of_all_targets_their_order_does_not_matter() -> None:
    def run(order: str) -> list[float]:
        world = World(["sum by (instance) (increase(x[10m]))"])
        for t_ms in (0, 2 * HOUR, 2 * HOUR + 60_000):
            for name in order:
                world.scrape(f"x {t_ms}\n", t_ms, instance=name)
        return [one.value for one in world.aligned(2 * HOUR + 60_000)]

    assert [60_000.0, 60_000.0] == run("ab") == run("ba")
