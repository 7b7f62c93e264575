"""A target waits for a thread or is scraped; what it missed is reported in the order of ticks."""

from producers.core.attempts import Attempt
from producers.core.turns import BUSY, IDLE, NO_THREAD, PAUSED, RUNNING, Passed, Turn, called
from schemas.identity import Target


def attempt(sequence: int) -> Attempt:
    return Attempt(Target("c", "etcd", "i"), {}, sequence * 15_000, 15_000, sequence, "g")


FIRST, SECOND, THIRD = (attempt(number) for number in (1, 2, 3))


def test_an_idle_target_waits_with_its_attempt() -> None:
    turn = called(IDLE, [FIRST])

    assert Turn(FIRST) == turn
    assert IDLE.idle and not turn.idle and not RUNNING.idle


def test_of_several_ticks_at_once_the_newest_is_tried() -> None:
    turn = called(IDLE, [FIRST, SECOND, THIRD])

    assert THIRD is turn.attempt
    assert (Passed(FIRST, PAUSED), Passed(SECOND, PAUSED)) == turn.passed


def test_a_target_that_waits_is_tried_once_for_its_newest_tick() -> None:
    turn = called(called(called(IDLE, [FIRST]), [SECOND]), [THIRD])

    assert THIRD is turn.attempt
    assert (Passed(FIRST, NO_THREAD), Passed(SECOND, NO_THREAD)) == turn.passed


def test_ticks_that_come_while_a_target_waits_keep_their_order() -> None:
    turn = called(called(IDLE, [FIRST]), [SECOND, THIRD])

    assert THIRD is turn.attempt
    assert (Passed(FIRST, NO_THREAD), Passed(SECOND, PAUSED)) == turn.passed


def test_ticks_that_come_during_a_scrape_pass() -> None:
    turn = called(called(RUNNING, [FIRST]), [SECOND])

    assert turn.running and turn.attempt is None
    assert (Passed(FIRST, BUSY), Passed(SECOND, BUSY)) == turn.passed
