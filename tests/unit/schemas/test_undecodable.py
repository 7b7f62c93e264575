"""A few bad records pass; a topic of bad records stops the stage."""

from schemas.topics import TopicName
from schemas.undecodable import WINDOW, Undecodable


def first_stop(share_max: float, bad: list[bool]) -> int | None:
    judge = Undecodable(share_max)
    stops = (i for i, one in enumerate(bad) if judge.note(TopicName.LOGS, bad=one))
    return next(stops, None)


def test_half_of_the_last_hundred_passes_and_one_more_stops() -> None:
    assert first_stop(0.5, [True] * 50 + [False] * 50) is None
    assert 50 == first_stop(0.5, [True] * 51)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    assert first_stop(0.5, ([True] * 50 + [False] * 50) * 3) is None
    assert WINDOW + 50 == first_stop(0.5, [False] * WINDOW + [True] * 60)


def test_a_share_of_one_never_stops() -> None:
    assert first_stop(1.0, [True] * 1_000) is None


def test_topics_are_judged_apart() -> None:
    judge = Undecodable(0.5)
    for _ in range(50):
        assert not judge.note(TopicName.LOGS, bad=True)
        assert not judge.note(TopicName.CHANGES, bad=True)
