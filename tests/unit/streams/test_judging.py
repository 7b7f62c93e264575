"""When alerts are judged, and which rules are left alone."""

from itertools import pairwise

import pytest

from streams.core.judging import REST_MS_MAX, Budget, rests

T = 1_700_000_010_000


def test_alerts_are_judged_once_a_second_in_the_long_run() -> None:
    budget = Budget()
    taken = sum(budget.take(T + t_ms) for t_ms in range(0, 60_000, 100))

    assert 60 <= taken <= 65


def test_targets_that_tick_together_are_judged_one_by_one() -> None:
    budget = Budget()

    assert all(budget.take(T + t) for t in (0, 1, 2, 3, 4, 15_000, 15_001, 15_002))


def test_a_judgement_that_did_not_happen_is_not_the_one_before() -> None:
    budget = Budget(tokens=1.0)

    assert (budget.take(T), budget.take(T + 1)) == (True, False)
    assert T == budget.taken_ms


@pytest.mark.parametrize(
    ("for_ms", "looks"), [(0, 60), (5_000, 60), (60_000, 10), (300_000, 2), (21_600_000, 2)]
)
def test_a_rule_rests_for_a_tenth_of_its_for_but_never_long(for_ms: int, looks: int) -> None:
    times = range(T, T + 60_000, 1_000)

    judged = [t_ms for t_ms in times if not rests(for_ms, t_ms - 1_000, t_ms)]

    assert looks == len(judged)
    assert all(b - a <= REST_MS_MAX for a, b in pairwise(judged))


def test_nothing_rests_before_the_first_judgement() -> None:
    assert not rests(21_600_000, 0, T)
