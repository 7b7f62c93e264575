"""A replay repeats what other rules remember, from where it has scrapes."""

from streams.core.schedule import Schedule
from tests.shards import rules

RULES = """
groups:
- name: g
  interval: 1m
  rules:
  - {record: "x:now", expr: "sum(x)"}
  - {record: "x:mean", expr: "avg_over_time(x:now[20m])"}
"""
MINUTE_MS = 60_000


def restored(*, last: int, remembered: int, since: int) -> Schedule:
    """Return the schedule of a crash in this minute."""
    made = Schedule(rules(RULES))
    known = {"g": remembered * MINUTE_MS if remembered else -1}
    now_ms = last * MINUTE_MS
    made.restore({"g": now_ms}, now_ms, known, since_ms=since * MINUTE_MS)
    return made


def repeated(schedule: Schedule, upto: int) -> list[int]:
    """Return which minutes are evaluated once more."""
    return [t_ms // MINUTE_MS for t_ms, _, _ in schedule.repetitions(lambda _: upto * MINUTE_MS)]


def test_what_is_not_remembered_is_evaluated_once_more() -> None:
    schedule = restored(last=108, remembered=105, since=95)
    assert [106, 107] == repeated(schedule, 107)
    assert [108] == repeated(schedule, 110)
    assert [] == repeated(schedule, 111)


def test_where_nothing_is_remembered_repetitions_start_with_the_replay() -> None:
    assert [96, 97] == repeated(restored(last=108, remembered=0, since=95), 97)


def test_a_replay_from_the_first_scrape_repeats_no_time_before_it() -> None:
    schedule = restored(last=1_003, remembered=0, since=0)
    schedule.begin(1_000 * MINUTE_MS)
    assert [1_001, 1_002, 1_003] == repeated(schedule, 1_004)
