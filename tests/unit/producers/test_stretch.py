"""A server that is slow for us is asked less often, and comes back slowly."""

from itertools import pairwise

import pytest

from producers.core.columns import columns_of
from producers.core.rows import Row, make_series
from producers.core.schedule import Plan, moved, plan, stretched
from producers.core.stretch import QUICK_SCRAPES, Stretch, Waits, Went, after, own_waits
from schemas.identity import Target
from schemas.records import Kind, Outcome

INTERVAL_MS = 15_000
QUICK = Went(Outcome.OK, 80)
SLOW = Went(Outcome.OK, 1_876)


def gone(*scrapes: Went, since: Stretch | None = None, interval_ms: int = INTERVAL_MS) -> Stretch:
    stretch = since or Stretch()
    for went in scrapes:
        stretch = after(stretch, went, interval_ms=interval_ms, interval_ms_max=60_000)
    return stretch


@pytest.mark.parametrize(
    ("went", "factor"),
    [
        (QUICK, 1),
        (Went(Outcome.OK, 1_875), 1),
        (SLOW, 2),
        (Went(Outcome.TOO_BIG, 1_876), 2),
        (Went(Outcome.TIMEOUT, 10), 2),
        (Went(Outcome.THROTTLED, 10), 2),
        (Went(Outcome.REFUSED, 10), 1),
        (Went(Outcome.SKIPPED, 0), 1),
        (Went(Outcome.REMOVED, 0), 1),
    ],
)
def test_a_scrape_burdens_by_its_time_and_its_end(went: Went, factor: int) -> None:
    assert factor == gone(went).factor


def test_each_slow_scrape_doubles_the_interval_up_to_the_maximum() -> None:
    assert [2, 4, 4] == [gone(*[SLOW] * count).factor for count in (1, 2, 3)]


def test_an_interval_above_the_maximum_stays() -> None:
    assert 1 == gone(Went(Outcome.TIMEOUT, 10_000), interval_ms=90_000).factor


def test_what_is_short_is_not_slow() -> None:
    """An eighth of a second would be the time of a busy process of ours, not of a server."""
    assert 1 == gone(Went(Outcome.OK, 500), interval_ms=1_000).factor
    assert 2 == gone(Went(Outcome.OK, 501), interval_ms=1_000).factor


def test_it_comes_back_by_one_step_after_quick_scrapes_in_a_row() -> None:
    stretch = gone(SLOW, SLOW)
    factors = []
    for _ in range(2 * QUICK_SCRAPES):
        stretch = gone(QUICK, since=stretch)
        factors.append(stretch.factor)
    assert [4, 4, 4, 2, 2, 2, 2, 1] == factors

    almost = gone(SLOW, *[QUICK] * (QUICK_SCRAPES - 1))
    assert 4 == gone(SLOW, since=almost).factor
    assert 2 == gone(Went(Outcome.SKIPPED, 0), since=almost).factor
    assert 1 == gone(Went(Outcome.SKIPPED, 0), QUICK, since=almost).factor


@pytest.mark.parametrize(
    ("waits", "factor"),
    [
        ([Waits(50.0, 900)], 1),  # that was before we looked
        ([Waits(50.0, 900), Waits(50.09, 902)], 1),  # 45 ms each
        ([Waits(50.0, 900), Waits(50.2, 902)], 2),
        ([Waits(50.0, 900), None, Waits(50.2, 902)], 2),  # a body without, in between
        ([Waits(50.0, 900), Waits(50.2, 900)], 1),
        ([Waits(50.0, 900), Waits(0.2, 1)], 1),  # another process: it counts anew
        ([Waits(50.0, 900), Waits(0.2, 1), Waits(0.4, 2)], 2),
    ],
)
def test_requests_of_ours_that_wait_in_queues_are_a_burden(
    waits: list[Waits | None], factor: int
) -> None:
    assert factor == gone(*(Went(Outcome.OK, 80, one) for one in waits)).factor


def test_only_our_own_requests_count() -> None:
    def row(metric: str, schema: str, seconds: float, count: int) -> Row:
        labels = {"flow_schema": schema, "priority_level": "x", "execute": "true"}
        series = make_series(metric, Kind.HISTOGRAM, labels)
        return Row(series, seconds, count, (count, 0), "0.1")

    waited = "apiserver_flowcontrol_request_wait_duration_seconds"
    others = [row("apiserver_a", "planewatch", 9.0, 9), row("z", "planewatch", 9.0, 9)]
    foreign = row(waited, "service-accounts", 5.0, 3)
    ours = [row(waited, "planewatch", 0.25, 4), row(waited, "planewatch", 0.5, 1)]

    assert Waits(0.75, 5) == own_waits(columns_of([others[0], foreign, *ours, others[1]]))
    assert own_waits(columns_of([others[0], foreign, others[1]])) is None
    assert own_waits(columns_of(others)) is None
    assert own_waits(columns_of([])) is None


def test_a_stretched_plan_keeps_some_of_its_ticks() -> None:
    planned = plan(Target("c", "etcd", "i"), INTERVAL_MS)
    ticks = {planned.next_tick_ms(now_ms) for now_ms in range(0, 600_000, 1_000)}
    for factor in (1, 2, 4):
        kept = {stretched(planned, factor).next_tick_ms(now_ms) for now_ms in range(0, 600_000, 99)}
        assert kept <= ticks | {max(kept)}
        assert {INTERVAL_MS * factor} == {b - a for a, b in pairwise(sorted(kept))}


@pytest.mark.parametrize(
    ("before", "now", "next_tick_ms", "moved_ms"),
    [
        (1, 2, 30_000, 30_000),
        (1, 2, 45_000, 60_000),
        (2, 1, 60_000, 45_000),
        (4, 2, 120_000, 90_000),
        (2, 2, 60_000, 60_000),
    ],
)
def test_another_plan_goes_on_after_the_last_tick(
    before: int, now: int, next_tick_ms: int, moved_ms: int
) -> None:
    base = Plan(INTERVAL_MS, 0)
    was, becomes = stretched(base, before), stretched(base, now)
    assert moved_ms == moved(was, becomes, next_tick_ms)
