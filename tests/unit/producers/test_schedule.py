"""Ticks depend on the target and on event time alone."""

import pytest

from producers.core.schedule import SKIPPED_MAX, Due, Plan, due, plan
from schemas.identity import Target

INTERVAL_MS = 15_000
PLAN = Plan(INTERVAL_MS, 4_000)  # ticks at 4, 19, 34, 49, 64 s


def targets() -> list[Target]:
    return [Target("c", "apiserver", f"i{number}") for number in range(2_000)]


@pytest.mark.parametrize(
    ("now_ms", "tick_ms"), [(0, 4_000), (3_999, 4_000), (4_000, 19_000), (4_001, 19_000)]
)
def test_the_next_tick_is_after_now(now_ms: int, tick_ms: int) -> None:
    assert tick_ms == PLAN.next_tick_ms(now_ms)


def test_a_tick_is_a_multiple_of_the_interval_and_the_offset_of_its_target() -> None:
    for target in targets():
        planned = plan(target, INTERVAL_MS)
        assert 0 <= planned.offset_ms < INTERVAL_MS
        assert planned.offset_ms == planned.next_tick_ms(1_700_000_000_000) % INTERVAL_MS


def test_a_target_keeps_its_offset() -> None:
    """Another hash would move the ticks of every target at an update: hence the number."""
    assert 908 == plan(Target("c", "etcd", "i"), INTERVAL_MS).offset_ms
    assert 908 != plan(Target("c", "etcd", "i", "/metrics/slis"), INTERVAL_MS).offset_ms


def test_targets_spread_over_the_interval() -> None:
    offsets = [plan(target, INTERVAL_MS).offset_ms for target in targets()]
    for start_ms in range(0, INTERVAL_MS, 1_500):
        assert 130 < sum(start_ms <= offset < start_ms + 1_500 for offset in offsets) < 270


@pytest.mark.parametrize(
    ("now_ms", "expected"),
    [
        (18_999, Due((), 19_000)),
        (19_000, Due((19_000,), 34_000)),
        (33_999, Due((19_000,), 34_000)),
        (50_000, Due((19_000, 34_000, 49_000), 64_000)),
    ],
    ids=["early", "on the tick", "late", "held up"],
)
def test_a_tick_comes_once_and_is_never_forgotten(now_ms: int, expected: Due) -> None:
    assert expected == due(PLAN, next_tick_ms=19_000, now_ms=now_ms)


def test_after_a_long_pause_only_the_newest_ticks_come() -> None:
    found = due(PLAN, next_tick_ms=4_000, now_ms=10**9)
    assert SKIPPED_MAX + 1 == len(found.ticks_ms)
    assert found.next_tick_ms > 10**9 >= found.next_tick_ms - INTERVAL_MS
    assert found.ticks_ms[-1] == found.next_tick_ms - INTERVAL_MS
