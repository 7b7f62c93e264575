"""A restart is told from another process behind the same address, and each of those has a name."""

from collections.abc import Sequence

import pytest

from producers.core.processes import (
    LOST_MS,
    PROCESSES_MAX,
    SKEW_MS,
    Answered,
    Process,
    Processes,
    answered,
    instance_of,
    told_before_parsing,
)

DAY_MS = 86_400_000
T0 = 20_000 * DAY_MS
STEP_MS = 15_000
A, B, C = T0 - 3 * DAY_MS, T0 - 2 * DAY_MS, T0 - DAY_MS


def after(starts: Sequence[int], step_ms: int = STEP_MS) -> list[Answered]:
    """What each answer means, one a step from T0 on."""
    processes, found = Processes(), []
    for step, start_ms in enumerate(starts):
        found.append(answered(processes, start_ms, T0 + step * step_ms))
        processes = found[-1].processes
    return found


def owners(starts: Sequence[int], step_ms: int = STEP_MS) -> list[int]:
    """When the process started that has the rows of each answer; 0: the address has them."""
    return [one.process.start_ms if one.process else 0 for one in after(starts, step_ms)]


def test_one_process_is_its_address_though_its_start_moves_a_little() -> None:
    assert [0, 0, 0, 0] == owners([A, A + 1_000, A - 1_000, A])


def test_restarts_stay_one_target() -> None:
    first, second, third = T0 - DAY_MS, T0 + STEP_MS - 1_000, T0 + 3 * STEP_MS - 1_000
    assert [0] * 5 == owners([first, second, second, third, third])


def test_a_restart_by_a_clock_that_is_slow_stays_one_target() -> None:
    assert [0, 0] == owners([A, T0 - SKEW_MS])


@pytest.mark.parametrize("starts", [[A, B, C], [C, B, A], [B, C, A]])
def test_who_started_long_before_the_other_answered_is_beside_it(starts: list[int]) -> None:
    assert [0, *starts[1:], *starts] == owners(starts * 2)


def test_who_answers_again_was_not_restarted() -> None:
    young = T0 + STEP_MS - 1_000  # may be a restart of A, at first
    assert [0, 0, A, young, A, A] == owners([A, young, A, young, A, A])


def test_a_restart_of_one_of_several_is_one_more_and_the_old_one_is_gone_after_a_while() -> None:
    young, steps = T0 + 3 * STEP_MS, LOST_MS // STEP_MS
    found = after([A, B, A, B, *[young, B] * steps])
    gone = [one for step in found for one in step.gone]
    assert [A] == [one.start_ms for one in gone]
    assert {B, young} == {one.start_ms for one in found[-1].processes.sharing}


def test_an_address_of_which_nobody_is_left_begins_anew() -> None:
    assert [0, B, 0] == owners([A, B, C], LOST_MS)
    assert {A, B} == {one.start_ms for one in after([A, B, C], LOST_MS)[-1].gone}


def test_further_processes_have_no_room() -> None:
    many = [T0 - number * DAY_MS for number in range(1, PROCESSES_MAX + 3)]
    found = after(many)
    assert [False] * PROCESSES_MAX + [True] * 2 == [one.dropped for one in found]
    assert PROCESSES_MAX == len(found[-1].processes.sharing)
    assert found[-1].process is None


def test_an_unknown_start_belongs_to_the_address() -> None:
    assert [0, B, 0, B] == owners([A, B, 0, B])


def test_the_name_of_a_process_is_its_address_and_its_start() -> None:
    assert "lb:6443@20261127T024811Z" == instance_of("lb:6443", Process(1_795_747_691_480, 0))


@pytest.mark.parametrize(
    "body, header, told",
    [
        (b"a 1\nprocess_start_time_seconds 1.5e+09\nb 2\n", None, 1_500_000_000_000),
        (b"a 1\nprocess_start_time_seconds 1.5e+09\n", "7", 7_000),
        (b"# HELP process_start_time_seconds of it\n", None, 0),
        (b"\nprocess_start_time_seconds NaN\n", None, 0),
        (b"\nprocess_start_time_seconds +Inf\n", None, 0),
        (b"\nprocess_start_time_seconds \xff\n", None, 0),
        (b"", "yesterday", 0),
    ],
)
def test_the_start_is_read_at_a_glance(body: bytes, header: str | None, told: int) -> None:
    assert told == told_before_parsing(body, header)
