"""Numbers that are missing or there twice are found, and only a killed process explains a gap.

number   1 2 3 4 5 6 7 8 9
kept     a a a     b b b b     4 and 5: process a was killed
lost     a a a     a a b b     4 and 5: nothing explains it
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import Target
from sinks.core.gaps import Judged, Streak, What, judge, odd_numbers

TARGET = Target("c1", "etcd", "i")
STEP_MS = 1_000


def streak(
    generation: str, first: int, last: int, *, at: int = -1, removes: bool = False
) -> Streak:
    """`at`: the step of the first tick; that of its number by default."""
    start_ms = (first if at < 0 else at) * STEP_MS
    return Streak(generation, first, last, start_ms, start_ms + (last - first) * STEP_MS, removes)


def judged(streaks: Sequence[Streak]) -> Judged:
    return judge({TARGET: streaks})


def said(streaks: Sequence[Streak]) -> list[tuple[What, int, int]]:
    return [(one.what, one.first, one.last) for one in odd_numbers(streaks)]


CASES: dict[str, tuple[list[Streak], list[tuple[What, int, int]]]] = {
    "nothing is stored": ([], []),
    "the oldest are beyond the retention": ([streak("a", 500, 900)], []),
    "stopped and started": ([streak("a", 1, 5), streak("b", 6, 9)], []),
    "killed": ([streak("a", 1, 3), streak("b", 6, 9)], [(What.KILLED, 4, 5)]),
    "killed again and again": (
        [streak("a", 1, 3), streak("b", 5, 5), streak("c", 7, 9)],
        [(What.KILLED, 4, 4), (What.KILLED, 6, 6)],
    ),
    "lost within a process": ([streak("a", 1, 3), streak("a", 6, 7)], [(What.LOST, 4, 5)]),
    "lost just before a process ended": (
        [streak("a", 1, 3), streak("a", 6, 6), streak("b", 7, 9)],
        [(What.LOST, 4, 5)],
    ),
    "lost after the first one of a process": (
        [streak("a", 1, 3), streak("b", 4, 4), streak("b", 6, 9)],
        [(What.LOST, 5, 5)],
    ),
    "another process has it for a while, and is killed": (
        [streak("a", 1, 3), streak("b", 4, 5), streak("a", 7, 8), streak("a", 10, 10)],
        [(What.KILLED, 6, 6), (What.LOST, 9, 9)],
    ),
    "a late streak fills its gap": (
        [streak("a", 1, 3), streak("a", 6, 7), streak("a", 4, 5)],
        [],
    ),
    "twice in a process": ([streak("a", 1, 5), streak("a", 5, 9)], [(What.TWICE, 5, 5)]),
    "twice by two processes": (
        [streak("a", 1, 5), streak("b", 4, 9)],
        [(What.TWICE, 4, 5)],
    ),
    "within what another process has": (
        [streak("a", 1, 9), streak("b", 4, 5, at=20), streak("b", 10, 12, at=22)],
        [(What.TWICE, 4, 5)],
    ),
    "all numbers are forgotten": (
        [streak("a", 1, 9), streak("b", 1, 3, at=20)],
        [(What.TWICE, 1, 3)],
    ),
    "removed, and there again": (
        [streak("a", 1, 9, removes=True), streak("b", 1, 30, at=20)],
        [],
    ),
    "removed, and there again in one process": (
        [streak("a", 1, 9, removes=True), streak("a", 1, 30, at=20)],
        [],
    ),
    "removed, and its removal told again": (
        [streak("a", 1, 9, removes=True), streak("b", 10, 10, removes=True)],
        [],
    ),
    "removed, and there again before that was known": (
        [streak("a", 1, 9, removes=True), streak("a", 10, 12)],
        [],
    ),
    "removed twice": (
        [
            streak("a", 1, 9, removes=True),
            streak("a", 1, 3, at=20, removes=True),
            streak("a", 1, 2, at=30),
        ],
        [],
    ),
    "there again, its process killed at once": (
        [streak("a", 1, 9, removes=True), streak("b", 3, 5, at=20)],
        [(What.KILLED, 1, 2)],
    ),
    "there again, its first ones lost": (
        [streak("a", 1, 9, removes=True), streak("a", 3, 5, at=20)],
        [(What.LOST, 1, 2)],
    ),
    "the clock went back": (
        [streak("a", 1, 5, at=100), streak("b", 6, 9, at=50), streak("b", 11, 12, at=60)],
        [(What.LOST, 10, 10)],
    ),
}


@pytest.mark.parametrize(("streaks", "expected"), CASES.values(), ids=CASES)
def test_numbers_are_judged(streaks: list[Streak], expected: list[tuple[What, int, int]]) -> None:
    for order in (streaks, streaks[::-1], random.Random(1).sample(streaks, len(streaks))):
        assert expected == said(order)


@pytest.mark.parametrize(("streaks", "expected"), CASES.values(), ids=CASES)
def test_attempts_one_by_one_say_what_their_streaks_say(
    streaks: list[Streak], expected: list[tuple[What, int, int]]
) -> None:
    found = said([one for whole in streaks for one in single(whole)])
    numbers = [(what, n) for what, first, last in found for n in range(first, last + 1)]
    assert [(w, n) for w, first, last in expected for n in range(first, last + 1)] == numbers


def single(whole: Streak) -> list[Streak]:
    """Return the attempts of a streak, each by itself."""
    return [
        streak(
            whole.generation,
            number,
            number,
            at=whole.first_ms // STEP_MS + number - whole.first,
            removes=whole.removes and number == whole.last,
        )
        for number in range(whole.first, whole.last + 1)
    ]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Streak], int]:
    """What is stored of a target after removals and kills, and how many attempts kills cost."""
    found: list[Streak] = []
    process = number = cost = 0
    events = draw(st.lists(st.sampled_from(["scrape", "stop", "kill", "remove"]), max_size=60))
    for at, event in enumerate(events):
        if event in {"scrape", "remove"}:
            number += 1
            found.append(streak(f"p{process}", number, number, at=at, removes=event == "remove"))
        if event == "remove":
            number = 0
        elif event == "stop":
            process += 1
        elif event == "kill":
            lost = draw(st.integers(0, 3))
            number, process, cost = number + lost, process + 1, cost + lost
    return found, cost


@given(histories(), st.randoms(use_true_random=False))
def test_kills_stops_and_removals_are_no_findings(
    history: tuple[list[Streak], int], dice: random.Random
) -> None:
    found, cost = history
    dice.shuffle(found)
    result = judged(found)
    assert 0 == result.findings
    assert len(found) == result.attempts
    assert sum(odd.attempts for _, odd in result.odd) <= cost


@given(st.lists(st.integers(3, 30), min_size=1, max_size=5), st.data())
def test_whatever_is_taken_out_of_a_process_is_lost(
    lengths: list[int], data: st.DataObject
) -> None:
    stored, number = [], 0
    for process, length in enumerate(lengths):
        for _ in range(length):
            number += 1
            stored.append(streak(f"p{process}", number, number))
    taken = data.draw(st.integers(1, number - 2))  # not the first: retention; not the newest
    before, gone, after = stored[taken - 1 : taken + 2]
    # The last one of a process is what a kill costs; the first one of a process, too.
    killed = before.generation != after.generation
    what = What.KILLED if killed else What.LOST
    assert [(what, gone.first, gone.first)] == said([one for one in stored if one is not gone])


@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), st.data())
def test_whatever_is_given_again_by_another_process_is_there_twice(
    lengths: list[int], data: st.DataObject
) -> None:
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    stored = [
        streak(f"p{n}", end - length + 1, end)
        for n, (length, end) in enumerate(zip(lengths, ends, strict=True))
    ]
    number = data.draw(st.integers(1, ends[-1]))
    again = streak("other", number, number, at=number)
    assert (What.TWICE, number, number) in said([*stored, again])


def test_the_sum_over_all_targets_is_told() -> None:
    other = replace(TARGET, instance="j")
    result = judge(
        {
            TARGET: [streak("a", 1, 3), replace(streak("b", 6, 9), repeats=2)],
            other: [streak("a", 11, 12), streak("a", 14, 14)],
        }
    )
    assert (2, 10, 2, 1) == (result.targets, result.attempts, result.repeats, result.findings)
    assert (STEP_MS, 14 * STEP_MS) == (result.from_ms, result.to_ms)
    assert [(TARGET, What.KILLED), (other, What.LOST)] == [(t, odd.what) for t, odd in result.odd]
    assert judged([]).from_ms is None
