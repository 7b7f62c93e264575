"""Unplanned requests: one a second and a burst, and one at a time to an instance that fails."""

from hypothesis import given
from hypothesis import strategies as st

from producers.core.budget import (
    BACKOFF_MS_MAX,
    FAILURES_MAX,
    TRIAL_MS_MAX,
    Bucket,
    Instance,
    admit,
    answered,
    backoff_ms,
    failed,
    refilled,
    take,
    understood,
)

PER_S, BURST = 1.0, 10
NOW_MS = 1_795_351_800_000


def test_a_burst_passes_at_once_and_then_one_a_second() -> None:
    bucket = Bucket(float(BURST), NOW_MS)
    waits = []
    for _ in range(BURST + 3):
        bucket, wait_ms = take(bucket, NOW_MS, per_s=PER_S, burst=BURST)
        waits.append(wait_ms)

    assert [0] * BURST + [1_001, 2_001, 3_001] == waits


def test_time_brings_tokens_up_to_the_burst() -> None:
    empty = Bucket(0.0, NOW_MS)

    assert 2.5 == refilled(empty, NOW_MS + 2_500, per_s=PER_S, burst=BURST).tokens
    assert BURST == refilled(empty, NOW_MS + 60_000, per_s=PER_S, burst=BURST).tokens


def test_a_clock_that_goes_back_brings_nothing() -> None:
    assert 0.0 == refilled(Bucket(0.0, NOW_MS), NOW_MS - 60_000, per_s=PER_S, burst=BURST).tokens


@given(st.lists(st.integers(0, 5_000), max_size=80))
def test_no_minute_has_more_than_sixty_and_the_burst(gaps_ms: list[int]) -> None:
    """Whoever waits as told never exceeds the budget, however requests come."""
    bucket, now_ms = Bucket(float(BURST), NOW_MS), NOW_MS
    sent_ms = []
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        bucket, wait_ms = take(bucket, now_ms, per_s=PER_S, burst=BURST)
        sent_ms.append(now_ms + wait_ms)
    for start_ms in sent_ms:
        within = sum(start_ms <= one < start_ms + 60_000 for one in sent_ms)
        assert within <= 60 + BURST


def ailing() -> Instance:
    instance = Instance()
    for _ in range(FAILURES_MAX):
        instance = failed(instance, NOW_MS, 0.5)
    return instance


def test_two_failures_stop_nobody_and_the_third_does() -> None:
    twice = failed(failed(Instance(), NOW_MS, 0.5), NOW_MS, 0.5)

    assert 0 == admit(twice, NOW_MS)[1]
    assert admit(ailing(), NOW_MS)[1] > 0


def test_only_one_request_tries_an_ailing_instance() -> None:
    instance = ailing()

    trying, wait_ms = admit(instance, instance.retry_ms)
    assert 0 == wait_ms
    assert TRIAL_MS_MAX == admit(trying, instance.retry_ms)[1]


def test_a_trial_that_never_ends_does_not_block_for_ever() -> None:
    instance = ailing()
    trying, _ = admit(instance, instance.retry_ms)

    assert 0 == admit(trying, instance.retry_ms + TRIAL_MS_MAX)[1]


def test_one_success_opens_the_instance_to_all() -> None:
    assert 0 == admit(answered(ailing()), NOW_MS)[1]


def test_after_nonsense_only_an_answer_that_makes_sense_does() -> None:
    """Each answer begins well, so the head of one proves nothing."""
    instance = Instance()
    for _ in range(FAILURES_MAX):
        instance = failed(answered(instance), NOW_MS, 0.5, garbled=True)
    assert admit(answered(instance), NOW_MS)[1] > 0
    assert answered(failed(instance, NOW_MS, 0.5)).ailing  # refused in between
    assert 0 == admit(understood(), NOW_MS)[1]


def test_all_who_ask_wait_for_half_of_the_ceiling_at_least() -> None:
    for jitter in (0.0, 0.5, 1 - 1e-9):
        assert 400 <= failed(Instance(), 0, jitter).retry_ms < 800


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_below_its_ceiling(failures: int, jitter: float) -> None:
    assert 0 <= backoff_ms(failures, jitter) <= BACKOFF_MS_MAX


def test_backoff_doubles_and_is_random_from_zero() -> None:
    almost = 1 - 1e-9

    assert [799, 1_599, 3_199, 6_399] == [backoff_ms(n, almost) for n in range(1, 5)]
    assert 0 == backoff_ms(5, 0.0)
