"""Windows: what counters grew by, through resets, restarts, births, gaps and layouts."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Outcome
from streams.core.promql import series
from tests.evaluation import World, by_labels

STEP = 5_000


def counter(value: float, **labels: str) -> str:
    inside = ",".join(f'{name}="{text}"' for name, text in labels.items())
    return f"x_total{{{inside}}} {value}\n"


def feed(world: World, values: list[float | None]) -> None:
    """One scrape a step: the value of x_total{s="a"}, or no such series, beside one that stays."""
    for step, value in enumerate(values):
        body = "always 1\n" if value is None else "always 1\n" + counter(value, s="a")
        world.scrape(body, step * STEP)


def test_increase_is_the_difference_of_a_line_between_scrapes() -> None:
    # 0    5    10   15 s
    # 0    10   20   50     increase over (7.5, 15] = 50 - 15
    world = World(["increase(x_total[7500ms])"])
    feed(world, [0, 10, 20, 50])
    assert world.aligned(15_000) == [by_labels({"s": "a"}, 35.0)]


def test_rate_divides_by_the_window_even_where_it_was_not_watched_from_its_beginning() -> None:
    world = World(["rate(x_total[60s])"])
    feed(world, [0, 30, 60])
    (result,) = world.aligned(10_000)
    assert result.value == pytest.approx(1.0)
    assert result.coverage == pytest.approx(10 / 60)


@pytest.mark.parametrize(
    "values, grown",
    [
        pytest.param([5, 9, 3, 4], 4 + 3 + 1, id="reset"),
        pytest.param([5, 9, 9, 9], 4, id="idle"),
        pytest.param([None, 30, 31], 31, id="born while watched: from zero"),
        pytest.param([5, None, None, 9], 4, id="vanished and returned: counts on"),
        pytest.param([5, 7, None, None], 2, id="vanished: keeps what it grew by"),
        pytest.param([5, float("nan"), 9], 4, id="NaN is no sample"),
    ],
)
def test_increase_over_everything(values: list[float | None], grown: float) -> None:
    world = World(["increase(x_total[10m])"])
    feed(world, values)
    (result,) = world.live((len(values) - 1) * STEP)
    assert result.value == pytest.approx(grown)


def test_first_scrape_of_a_target_is_a_baseline() -> None:
    world = World(["increase(x_total[10m])"])
    feed(world, [1000])
    assert world.live(0) == []


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.TOO_BIG])
def test_a_series_first_seen_after_an_incomplete_scrape_is_a_baseline(outcome: Outcome) -> None:
    world = World(["increase(x_total[10m])"])
    world.scrape("always 1\n", 0)
    world.scrape("always 1\n" if outcome is Outcome.TOO_BIG else "", STEP, outcome=outcome)
    world.scrape("always 1\n" + counter(100), 2 * STEP)
    world.scrape("always 1\n" + counter(103), 3 * STEP)
    assert [result.value for result in world.live(3 * STEP)] == [3.0]


def test_a_series_first_seen_under_another_filter_is_a_baseline() -> None:
    world = World(["increase(x_total[10m])"])
    world.scrape("always 1\n", 0, family_filter="lean")
    world.scrape(counter(100), STEP)
    world.scrape(counter(101), 2 * STEP)
    assert [result.value for result in world.live(2 * STEP)] == [1.0]


def test_a_restart_counts_from_zero_even_where_the_new_value_is_greater() -> None:
    world = World(["increase(x_total[10m])"])
    world.scrape(counter(5), 0, started_ms=1_000_000)
    world.scrape(counter(9), STEP, started_ms=1_001_000)  # the kernel's clock moved: no restart
    world.scrape(counter(30), 2 * STEP, started_ms=1_900_000)
    assert [result.value for result in world.live(2 * STEP)] == [4.0 + 30.0]


def test_another_process_that_ran_before_begins_anew_and_one_that_restarted_from_zero() -> None:
    day, begin = 86_400_000, 20_000 * 86_400_000
    world = World(["increase(x_total[10m])"])
    for step, (value, started_ms) in enumerate(
        [
            (5, begin - 2 * day),
            (9, begin - 2 * day),
            (9_000, begin - day),  # ran beside the first one
            (9_007, begin - day),
            (30, begin + 3 * STEP + 1_000),  # was restarted
        ]
    ):
        world.scrape(counter(value), begin + step * STEP, started_ms=started_ms)
    assert [result.value for result in world.live(begin + 4 * STEP)] == [4.0 + 7.0 + 30.0]


def test_a_histogram_falls_as_one_row() -> None:
    def body(low: int, high: int, total: float) -> str:
        return (
            "# TYPE h histogram\n"
            f'h_bucket{{le="1"}} {low}\nh_bucket{{le="+Inf"}} {high}\n'
            f"h_sum {total}\nh_count {high}\n"
        )

    world = World(['increase(h_bucket{le="1"}[10m])', "increase(h_count[10m])"])
    world.scrape(body(10, 10, 3), 0)
    world.scrape(body(12, 9, 4), STEP)  # the first bucket grew, but the row restarted
    assert [result.value for result in world.live(STEP)] == [12.0, 9.0]


def test_buckets_are_cumulative_and_le_is_a_number() -> None:
    text = (
        "# TYPE h histogram\n"
        'h_bucket{{le="0.5"}} {0}\nh_bucket{{le="1"}} {1}\nh_bucket{{le="+Inf"}} {2}\n'
        "h_sum 1\nh_count {2}\n"
    )
    world = World(['increase(h_bucket{le=~"1.0|0.5"}[1m])', 'increase(h_bucket{le="1.0"}[1m])'])
    world.scrape(text.format(0, 0, 0), 0)
    world.scrape(text.format(1, 3, 7), STEP)
    assert world.live(STEP) == [
        by_labels({"le": "0.5"}, 1.0, coverage=STEP / 60_000),
        by_labels({"le": "1"}, 3.0, coverage=STEP / 60_000),
        by_labels({"le": "1"}, 3.0, coverage=STEP / 60_000),
    ]


def test_a_window_ends_at_the_newest_sample_while_that_is_fresh() -> None:
    #   0    5    10         22.5 s: fresh for 2.5 intervals
    world = World(["increase(x_total[10s])"])
    feed(world, [0, 10, 20])
    assert [result.value for result in world.aligned(10_000 + 12_500)] == [20.0]
    # later the window follows the clock: (16, 26] holds nothing of it
    assert world.aligned(26_000) == []


def test_a_window_that_begins_at_the_last_sample_of_a_series_does_not_show_it() -> None:
    world = World(["increase(x_total[10s])"])
    feed(world, [0, 10, None, None])  # its last sample is that of 5 s
    assert [result.value for result in world.live(10_000)] == []
    world = World(["increase(x_total[10001ms])"])
    feed(world, [0, 10, None, None])
    assert len(world.live(10_000)) == 1


def test_an_aligned_window_ignores_what_came_later() -> None:
    world = World(["increase(x_total[10s])"])
    feed(world, [0, 10, 20, 1000])
    assert [result.value for result in world.aligned(12_000)] == [20.0]
    assert [result.value for result in world.live(12_000)] == [990.0]


def test_an_aligned_window_ignores_that_a_series_came_back_later() -> None:
    world = World(["increase(x_total[15s])"])
    values: list[float | None] = [1, 2, None, None, None, None, None, 9]
    feed(world, values[:-1])
    before = world.aligned(6 * STEP)
    feed(world, values)  # what was taken is passed over
    assert world.aligned(6 * STEP) == before == []
    assert world.aligned(7 * STEP) == [by_labels({"s": "a"}, 7.0)]


def test_an_aligned_window_ignores_what_a_stale_target_counted_until_it_answered() -> None:
    world = World(["increase(x_total[60s])"])
    feed(world, [0, 10])
    before = world.aligned(25_000)
    world.scrape("always 1\n" + counter(50, s="a"), 30_000)
    assert world.aligned(25_000) == before != []
    assert before[0].value == 10


@pytest.mark.parametrize("wrong", [2.0**64, 1.7e308, float("inf")])
def test_a_single_wrong_value_spoils_no_later_window(wrong: float) -> None:
    world = World(["increase(x_total[10s])"])
    feed(world, [0, wrong, wrong, *range(120)])
    feed(world, [0, wrong, wrong, *range(240)])
    assert world.aligned(242 * STEP) == [by_labels({"s": "a"}, 2.0)]


def test_a_window_of_ten_minutes_is_exact_also_for_who_is_late_and_scraped_often() -> None:
    world = World(["increase(x_total[10m])"])  # evaluated every 15 s: 37.5 s late at most
    counts = [0]
    for second in range(1, 800):
        counts.append(counts[-1] + second % 3 * (second % 11))
        world.scrape(f"x_total {counts[-1]}\n", second * 1_000, interval_ms=1_000)
        for t in (second, second - 37):
            if t > 700:
                (result,) = world.aligned(t * 1_000)
                assert result.value == counts[t] - counts[t - 600]


def test_a_stale_target_covers_less() -> None:
    world = World(["increase(x_total[60s])"])
    feed(world, list(range(13)))  # 0 to 60 s
    (result,) = world.aligned(75_000)
    assert result.value == pytest.approx(9.0)
    assert result.coverage == pytest.approx(45 / 60)


def test_a_series_born_while_watched_is_fully_covered() -> None:
    world = World(["increase(x_total[10m])"])
    feed(world, [None, None, 3])
    assert [(result.value, result.coverage) for result in world.live(2 * STEP)] == [(3.0, 1.0)]


def test_twice_in_is_once_out() -> None:
    once, twice = World(["increase(x_total[10m])"]), World(["increase(x_total[10m])"])
    for step, value in enumerate([3, 5, 11]):
        once.scrape(counter(value), step * STEP)
        for _ in range(2):
            twice.scrape(counter(value), step * STEP)
    assert once.live(2 * STEP) == twice.live(2 * STEP)


def test_layouts_that_alternate_lose_nothing() -> None:
    world = World(["increase(x_total[10m])", "y"])
    for step in range(10):
        head = "y 1\n" if step % 2 else ""
        world.scrape(head + counter(step * 7), step * STEP)
    assert [result.value for result in world.live(9 * STEP)] == [63.0, 1.0]


def test_rows_that_vanished_long_ago_are_forgotten_and_totals_stay() -> None:
    world = World(["sum(increase(x_total[1m]))", "count(increase(x_total[1m]))"])
    for step in range(60):  # 100 new label sets a scrape, one that stays
        churn = "".join(counter(1, s=f"{step}-{i}") for i in range(100))
        world.scrape(counter(step, s="stays") + churn, step * STEP)
    total, count = world.live(59 * STEP)
    assert total.value == pytest.approx(12 * 100 + 12)
    assert count.value <= 12 * 100 + 101
    (target,) = world.evaluator._targets.values()
    assert target._counters.series.n < 4_000  # of 6,001 ever seen


def test_series_beyond_the_limit_are_not_kept_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "ROWS_MAX", 3)
    world = World(["sum(increase(x_total[10m]))", "count(x_total)"])
    for step in range(3):
        world.scrape("".join(counter(step, s=str(i)) for i in range(5)), step * STEP)
    assert [result.value for result in world.live(2 * STEP)] == [3 * 2.0, 3.0]
    assert world.evaluator.series_refused == 2


values_with_resets = st.lists(st.integers(0, 1000), min_size=2, max_size=20)


@settings(max_examples=60, deadline=None)
@given(values_with_resets)
def test_the_increase_is_what_a_plain_count_says(values: list[int]) -> None:
    world = World(["increase(x_total[10m])"])
    feed(world, [float(value) for value in values])
    expected = sum(now - then if now >= then else now for then, now in pairwise(values))
    assert [result.value for result in world.live((len(values) - 1) * STEP)] == [expected]


@settings(max_examples=40, deadline=None)
@given(values_with_resets.filter(lambda values: len(values) > 2))
def test_adjacent_windows_add_up_to_the_total(values: list[int]) -> None:
    world = World(
        [f"increase(x_total[{STEP}ms])", "increase(x_total[7s])", "increase(x_total[10m])"]
    )
    feed(world, [float(value) for value in values])
    end = (len(values) - 1) * STEP
    (target,) = world.evaluator._targets.values()
    (bank,) = target._counters._banks.values()
    history, slots = bank.history, bank.slots
    cuts = [0, *range(1_234, end, 3_210), end]
    parts = sum(history.increase(a, b, slots) for a, b in pairwise(cuts))
    assert parts == pytest.approx(history.increase(0, end, slots))
