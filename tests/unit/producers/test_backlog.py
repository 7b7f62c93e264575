"""Fresh records come first, a backlog has a share, and scrapes are given up before all else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.core.backlog import (
    CREDIT_BYTES_MAX,
    IDLE_BYTES_PER_S,
    IDLE_MS,
    Pace,
    Place,
    at_time,
    first_given_up,
    is_late,
    lane_name,
    lane_place,
    with_follower,
    with_fresh,
    with_sent,
)
from schemas.topics import TopicName

SPENT = Pace(0.0, fresh_ms=0, now_ms=0)


@given(
    st.lists(st.tuples(st.integers(0, 1_000_000), st.integers(1, 1_000_000)), max_size=50),
)
def test_a_backlog_never_has_more_than_a_quarter_of_what_is_fresh(
    given: list[tuple[int, int]],
) -> None:
    pace, fresh, sent = SPENT, 0, 0
    for nbytes, backlog in given:
        pace, fresh = with_fresh(pace, nbytes, 0), fresh + nbytes
        while pace.allows:
            pace, sent = with_sent(pace, backlog), sent + backlog
        assert sent <= fresh / 4 + 1_000_000  # the last record may be bigger than its share


@pytest.mark.parametrize(
    ("idle_ms", "credit_bytes"),
    [
        pytest.param(IDLE_MS - 1, 0, id="something was fresh just now"),
        pytest.param(IDLE_MS, IDLE_BYTES_PER_S // 10, id="nothing is fresh any more"),
    ],
)
def test_a_backlog_may_go_faster_when_nothing_is_fresh(idle_ms: int, credit_bytes: int) -> None:
    before = at_time(SPENT, idle_ms - 100)
    assert credit_bytes == at_time(before, idle_ms).credit_bytes


def test_a_pause_gives_no_more_than_its_maximum() -> None:
    assert CREDIT_BYTES_MAX == at_time(SPENT, 3_600_000).credit_bytes
    assert CREDIT_BYTES_MAX == with_fresh(SPENT, 10**9, 0).credit_bytes


def test_what_an_earlier_process_left_goes_at_once() -> None:
    assert at_time(Pace(), 5).allows


def test_a_fresh_record_that_follows_brings_its_own_room() -> None:
    pace = SPENT
    for _ in range(100):
        pace = with_sent(with_follower(pace, 1_000), 1_000)
    assert pace.credit_bytes == pytest.approx(25_000)  # and so the backlog comes to an end


@pytest.mark.parametrize(
    ("oldest_ms", "late"), [(None, False), (101, False), (100, True), (0, True)]
)
def test_kafka_is_late_when_its_oldest_report_is(oldest_ms: int | None, late: bool) -> None:
    assert late == is_late(oldest_ms, now_ms=400, late_ms=300)


def test_the_oldest_scrapes_are_given_up_and_nothing_else() -> None:
    scrapes = [(Place(TopicName.SCRAPES, 3), 5), (Place(TopicName.SCRAPES, 0), 7)]
    told_once = [(Place(TopicName.CHANGES, 0), 1), (Place(TopicName.LOGS, 0), 2)]
    assert scrapes[0] == first_given_up(told_once + scrapes[::-1])
    assert first_given_up(told_once) is None


def test_a_folder_names_its_place() -> None:
    for place in (Place(TopicName.SCRAPES, 0), Place(TopicName.DEAD_LETTERS, 23)):
        assert place == lane_place(lane_name(place))
    for other in ("scrapes", "scrapes-", "scrapes-x", "unknown-1", "-1", "lost+found"):
        assert lane_place(other) is None
