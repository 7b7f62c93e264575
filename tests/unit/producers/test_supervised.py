"""A thread that ends before it was told to says so, with what ended it."""

import threading

import pytest

from producers.supervised import Supervised
from schemas.errors import BrokerError

WAIT_S = 10.0


def fail_with(error: Exception) -> None:
    raise error


def test_work_that_goes_on_is_nobodys_concern() -> None:
    stop = threading.Event()
    worker = Supervised("w", lambda: fail_with(BrokerError("late")) if stop.wait() else None, stop)
    worker.start()
    worker.check()

    stop.set()
    assert worker.join(WAIT_S)
    worker.check()


def test_work_that_has_not_begun_has_not_ended() -> None:
    Supervised("w", lambda: None, threading.Event()).check()


def test_what_ended_the_work_is_raised_as_it_was() -> None:
    worker = Supervised("w", lambda: fail_with(BrokerError("no such topic")), threading.Event())
    worker.start()
    assert worker.join(WAIT_S)

    with pytest.raises(BrokerError, match="no such topic"):
        worker.check()


@pytest.mark.parametrize(
    ("error", "told"),
    [(KeyError("uid"), "has ended of KeyError\\('uid'\\)"), (None, "has ended by itself")],
)
def test_a_mistake_of_ours_is_told_with_its_thread(error: Exception | None, told: str) -> None:
    worker = Supervised("watch-c", lambda: fail_with(error) if error else None, threading.Event())
    worker.start()
    assert worker.join(WAIT_S)

    with pytest.raises(AssertionError, match=f"watch-c {told}") as raised:
        worker.check()
    assert error is raised.value.__cause__
