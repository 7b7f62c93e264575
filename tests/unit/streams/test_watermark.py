"""Scrapes pass time, and nothing else."""

import msgspec
import pytest

from schemas.records import Outcome, ScrapeEnvelope
from streams.core.watermark import GAP_MS, Verdict, Watermark, aligned
from tests.scrapes import CLUSTER, failed
from tests.shards import requests

T = 1_700_000_010_000  # a multiple of 15 s
S = 1_000


SILENCE_MS = 900 * S


def silent(mark: Watermark, now_ms: int, heard_ms: int) -> list[ScrapeEnvelope]:
    return mark.silent(now_ms, heard_ms, silence_ms=SILENCE_MS)


def watermark(*ticks: tuple[str, int], interval_ms: int = 15_000) -> Watermark:
    """One that took scrapes of these targets at these seconds after T."""
    made = Watermark(CLUSTER)
    for name, s in ticks:
        one = requests([1], T + s * S, instance=name, interval_ms=interval_ms)
        assert made.judge(one.envelope) is Verdict.ACCEPTED
        made.accept(one.envelope)
    return made


def test_nothing_passes_before_other_targets_had_time_to_appear() -> None:
    assert 0 == watermark(("a", 0), ("a", 14)).frontier()
    assert T + 15 * S == watermark(("a", 0), ("a", 15)).frontier()


def test_time_passes_when_all_live_targets_have() -> None:
    mark = watermark(("a", 0), ("b", 4), ("a", 15), ("b", 19), ("a", 30))

    assert T + 19 * S == mark.frontier()


@pytest.mark.parametrize(("grace_ms", "passed_s"), [(0, 35), (15_000, 35), (20_000, 30)])
def test_a_lagging_target_is_waited_for_as_long_as_the_grace(grace_ms: int, passed_s: int) -> None:
    mark = watermark(("a", 0), ("b", 20), ("b", 35), ("b", 50), interval_ms=30_000)

    assert T + passed_s * S == mark.frontier(grace_ms)


def test_a_target_more_than_three_intervals_behind_is_not_waited_for() -> None:
    ticks = [("a", 0), *(("b", s) for s in range(5, 50, 5))]

    assert T + 30 * S == watermark(*ticks).frontier()
    assert T + 50 * S == watermark(*ticks, ("b", 50)).frontier()


def test_a_removed_target_is_not_waited_for() -> None:
    mark = watermark(("a", 0), ("b", 15))
    mark.accept(failed(T + 16 * S, Outcome.REMOVED, instance="a").envelope)

    assert T + 15 * S == mark.frontier()


def test_only_a_newer_tick_is_accepted() -> None:
    mark = watermark(("a", 15))

    assert Verdict.REPEATED is mark.judge(requests([1], T + 15 * S, instance="a").envelope)
    assert Verdict.LATE is mark.judge(requests([1], T, instance="a").envelope)
    assert Verdict.ACCEPTED is mark.judge(requests([1], T, instance="b").envelope)


FAR = GAP_MS // S + 1


@pytest.mark.parametrize(
    ("name", "s", "verdict"),
    [
        pytest.param("b", FAR, Verdict.ACCEPTED, id="another target"),
        pytest.param("a", FAR + 20, Verdict.ACCEPTED, id="its next tick"),
        pytest.param("a", FAR + 5, Verdict.LEAP, id="the same again"),
        pytest.param("b", 3 * FAR, Verdict.LEAP, id="another time"),
        pytest.param("b", 20, Verdict.ACCEPTED, id="no leap"),
    ],
)
def test_a_leap_is_believed_when_a_second_record_confirms_it(
    name: str, s: int, verdict: Verdict
) -> None:
    mark = watermark(("a", 0), ("b", 5))

    assert Verdict.LEAP is mark.judge(requests([1], T + (FAR + 5) * S, instance="a").envelope)
    again = Watermark.restore(CLUSTER, mark.snapshot())

    assert verdict is again.judge(requests([1], T + s * S, instance=name).envelope)
    assert T + 5 * S == mark.newest_ms


def test_a_request_from_far_ahead_of_its_tick_is_a_leap() -> None:
    mark, one = watermark(("a", 0)), requests([1], T + 15 * S, instance="a").envelope

    assert Verdict.LEAP is mark.judge(msgspec.structs.replace(one, start_ms=T + FAR * S))


def test_a_slow_target_does_not_leap() -> None:
    mark = watermark(("a", 0), interval_ms=3_600_000)
    one = requests([1], T + 3_600 * S, instance="a", interval_ms=3_600_000)

    assert Verdict.ACCEPTED is mark.judge(one.envelope)


def test_silence_is_due_three_intervals_after_the_last_word() -> None:
    mark, heard_ms = watermark(("a", 0), ("a", 15)), T + 16 * S

    assert [] == silent(mark, heard_ms + 45 * S - 1, heard_ms)
    (silence,) = silent(mark, heard_ms + 45 * S, heard_ms)

    assert Outcome.SILENT is silence.outcome
    assert T + 60 * S == silence.tick_ms
    assert mark.judge(silence) is Verdict.ACCEPTED


def test_silence_is_repeated_every_three_intervals_until_enough_was_said() -> None:
    mark, ticks = watermark(("a", 0)), []
    for now_ms in range(T, T + 3_600 * S, S):
        for silence in silent(mark, now_ms, T):
            mark.accept(silence)
            ticks.append(silence.tick_ms - T)

    assert list(range(45 * S, SILENCE_MS + 45 * S, 45 * S)) == ticks


def test_a_slow_target_keeps_silent_longer() -> None:
    mark = watermark(("a", 0))
    mark.accept(requests([1], T, instance="slow", interval_ms=60_000).envelope)

    assert ["a"] == [one.instance for one in silent(mark, T + 100 * S, T)]


def test_silence_does_not_move_the_sequence_of_a_target() -> None:
    mark = watermark(("a", 0))

    (silence,) = silent(mark, T + 45 * S, T)

    assert requests([1], T, instance="a", interval_ms=15_000).envelope.sequence == silence.sequence


def test_a_snapshot_is_all_of_it() -> None:
    mark = watermark(("a", 0), ("b", 4), ("a", 15))

    again = Watermark.restore(CLUSTER, mark.snapshot())

    assert mark.snapshot() == again.snapshot()
    assert mark.frontier() == again.frontier()
    assert (mark.first_ms, mark.now_ms) == (again.first_ms, again.now_ms)


def test_aligned_moments_are_multiples_after_the_last_one() -> None:
    assert [T + 15 * S, T + 30 * S] == list(aligned(T, T + 30 * S, 15 * S))
    assert [T] == list(aligned(T - 1, T + 14 * S, 15 * S))
    assert [] == list(aligned(T, T, 15 * S))
