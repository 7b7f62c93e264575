"""What differs from Prometheus by design: each difference on a few samples, with both results.

streams/README.md lists these tests with the reasons. Rule: a test states both numbers, so that it
fails when either engine changes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from streams.core.evaluate import Evaluator
from tests.differential.comparison import at, ours, prometheus, refusals, rules_for
from tests.differential.world import BASE_MS, STEP_MS, Endpoint, Key, Poll, World, key
from tests.scrapes import CLUSTER
from tests.services.prometheus import LabelSet, Prometheus

pytestmark = pytest.mark.usefixtures("prometheus_program")

TARGET: Final = {("job", "apiserver"), ("instance", "a"), ("zone", "z1")}
X: Final = key("x_total")
STAYS: Final = key("stays")
START: Final = key("process_start_time_seconds")


def world_of(
    series: Mapping[Key, Sequence[float | None]], *, skipped: Sequence[int] = (), tail: int = 3
) -> World:
    """Return a world of one target, with a sample each 15 s; None: the scrape lacks the series.

    skipped: ticks at which nobody tried; tail: scrapes afterwards, which repeat the last one.
    """
    endpoint = Endpoint("apiserver", "a", "z1")
    length = len(next(iter(series.values())))
    for k in range(length + tail):
        here = {
            one: value
            for one, values in series.items()
            if (value := values[min(k, length - 1)]) is not None
        }
        values = None if k in skipped else {STAYS: 1.0, **here}
        endpoint.polls.append(Poll(BASE_MS + k * STEP_MS, values, skipped=k in skipped))
    return World((endpoint,))


def both(
    world: World, expr: str, seconds: float
) -> tuple[dict[LabelSet, float], dict[LabelSet, float]]:
    """Return our results and Prometheus' without the labels of the target."""
    (t_ms,) = at(seconds)
    with Prometheus() as server:
        server.start()
        server.write(world.time_series())
        theirs = prometheus(server, [expr], [t_ms])[expr, t_ms]
    mine = ours(world, [expr], [t_ms])[expr, t_ms]
    assert not mine.error
    assert not theirs.error
    return (
        {labels - TARGET: value for labels, value in mine.results.items()},
        {labels - TARGET: value for labels, value in theirs.results.items()},
    )


def values(world: World, expr: str, seconds: float) -> tuple[list[float], list[float]]:
    """Return the values of both, ascending."""
    mine, theirs = both(world, expr, seconds)
    return sorted(mine.values()), sorted(theirs.values())


def near(*numbers: float) -> object:
    """Return what a list of numbers must equal."""
    return pytest.approx(list(numbers), rel=1e-9, nan_ok=True)


BURST: Final = [1000, 1015, 1030, 1045, 1060, 1075, 1090, 1105, 1120, 1270, 1270]


def test_increase_is_a_difference_on_a_line_and_ends_at_the_newest_scrape() -> None:
    mine, theirs = values(world_of({X: BURST}), "increase(x_total[1m])", 142)
    # The newest scrape is that of 135 s: C(135) - C(75).
    assert mine == near(1270 - 1075)
    # Samples of 90 to 135 s, 180 in 45 s, are extrapolated to the 60 s from 82 to 142 s.
    assert theirs == near(180 / 45 * 60)


def test_an_edge_between_two_scrapes_takes_its_share_of_their_increment() -> None:
    mine, theirs = values(world_of({X: BURST}), "increase(x_total[20s])", 135)
    assert mine == near(150 + 15 / 3)
    assert theirs == near(150 / 15 * 20)


def test_adjacent_windows_add_up() -> None:
    world = world_of({X: BURST})
    pairs = [values(world, "increase(x_total[45s])", k * 15) for k in (3, 6, 9)]
    assert sum(mine[0] for mine, _ in pairs) == pytest.approx(270)
    assert sum(theirs[0] for _, theirs in pairs) > 300


def test_a_window_that_began_before_its_target_is_not_extrapolated() -> None:
    mine, theirs = values(world_of({X: [1000, 1010, 1020]}), "rate(x_total[5m])", 30)
    assert mine == near(20 / 300)  # with a coverage of 0.1
    assert theirs == near(20 / 30 * (30 + 7.5) / 300)


def test_a_series_born_while_watched_counts_from_zero() -> None:
    born = world_of({X: [None, None, None, None, 30, 31]})
    mine, theirs = values(born, "increase(x_total[1m])", 75)
    assert mine == near(31)
    assert theirs == near(1 * (15 + 7.5) / 15)


def test_a_series_that_was_seen_once_has_counted() -> None:
    once = world_of({X: [None, None, None, 30, None]})
    mine, theirs = values(once, "increase(x_total[2m])", 75)
    assert mine == near(30)
    assert theirs == near()


def test_a_restart_is_seen_where_the_new_process_has_counted_further() -> None:
    began, again = BASE_MS / 1000 - 86_400, BASE_MS / 1000 + 20
    world = world_of({X: [10, 12, 20, 25], START: [began, began, again, again]})
    mine, theirs = values(world, "increase(x_total[45s])", 45)
    assert mine == near(2 + 20 + 5)
    assert theirs == near(13 / 30 * 45)


def test_another_server_behind_the_address_is_no_restart() -> None:
    one, other = BASE_MS / 1000 - 86_400, BASE_MS / 1000 - 7_200  # both ran all the time
    world = world_of({X: [10, 12, 9, 14], START: [one, one, other, other]})
    mine, theirs = values(world, "increase(x_total[45s])", 45)
    assert mine == near(2 + 5)
    assert theirs == near((9 + 5) / 30 * 45)


def test_a_histogram_falls_as_one_row() -> None:
    histogram = world_of(
        {
            key("latency_seconds_bucket", le="1"): [5, 5, 5],
            key("latency_seconds_bucket", le="+Inf"): [100, 10, 11],
            key("latency_seconds_sum"): [50, 5, 6],
            key("latency_seconds_count"): [100, 10, 11],
        }
    )
    mine, theirs = values(histogram, 'increase(latency_seconds_bucket{le="1"}[30s])', 30)
    assert mine == near(5)  # all of it was counted by the new process
    assert theirs == near(0)


def test_no_number_is_no_sample_of_a_counter() -> None:
    mine, theirs = values(world_of({X: [5, float("nan"), 9]}), "increase(x_total[30s])", 30)
    assert mine == near(4)
    assert theirs == near(float("nan"))


@pytest.mark.parametrize(
    ("matcher", "mine", "theirs"),
    [('le="1.0"', 1, 0), ('le=~"1[.]0"', 1, 0), ('le="1"', 1, 1), ('le!="1.0"', 1, 2)],
)
def test_a_bound_is_a_number(matcher: str, mine: int, theirs: int) -> None:
    histogram = world_of(
        {
            key("latency_seconds_bucket", le="1"): [5.0],
            key("latency_seconds_bucket", le="+Inf"): [6.0],
            key("latency_seconds_sum"): [50.0],
            key("latency_seconds_count"): [6.0],
        }
    )
    found = both(histogram, f"latency_seconds_bucket{{{matcher}}}", 0)
    assert (mine, theirs) == tuple(len(one) for one in found)


@pytest.mark.parametrize(("seconds", "mine", "theirs"), [(90, [7], [7]), (105, [], [7])])
def test_a_skipped_tick_lets_values_grow_old_after_two_and_a_half_intervals(
    seconds: float, mine: list[float], theirs: list[float]
) -> None:
    world = world_of({key("depth"): [7.0] * 5}, skipped=range(5, 20), tail=15)
    assert (mine, theirs) == values(world, "depth", seconds)


def test_a_job_answers_to_its_aliases() -> None:
    mine, theirs = values(world_of({X: [1.0]}), 'x_total{job="kube-apiserver"}', 0)
    assert mine == near(1)
    assert theirs == near()


def test_what_is_no_number_is_not_published_and_later_rules_see_it() -> None:
    rules = rules_for(["0 / 0 * vector(1)"])
    group = Evaluator(rules, CLUSTER).evaluate_records(rules.groups[0], BASE_MS)
    assert ["r:0:nan"] == group.rows.column("metric").to_pylist()


@pytest.mark.parametrize("series", ["scrape_series_added", "scrape_samples_post_metric_relabeling"])
def test_series_about_storing_are_not_made(series: str) -> None:
    mine, _ = values(world_of({X: [1.0]}), series, 0)
    assert mine == []


def test_of_series_that_tie_topk_takes_those_whose_labels_come_first() -> None:
    world = world_of({key("depth", queue=queue): [7.0] for queue in ("b", "c", "a")})
    mine, theirs = both(world, "topk(2, depth)", 0)
    assert set(mine) == {frozenset({("queue", "a")}), frozenset({("queue", "b")})}
    assert len(theirs) == 2  # which of them is not defined


REFUSED: Final = {
    "x @ 1709249400": "a stream keeps its own recent past",
    "x offset -1m": "future",
    '{__name__=~"x.*"}': "__name__ can only be compared with =",
    '{job="a"}': "a selector needs a metric name",
    "rate(up[5m])": "gauge",
    "histogram_count(x)": "native histograms",
    "histogram_avg(x)": "native histograms",
    "rate(x[41d])": "at most 40",
    "max_over_time(x[25h])": "1 day at most",
    "max_over_time(x[7d:1s])": "at most 1500 steps",
}
"""What Prometheus evaluates without experimental features, and we do not."""


@pytest.mark.parametrize(("expr", "reason"), REFUSED.items())
def test_what_a_stream_cannot_have_is_refused(expr: str, reason: str) -> None:
    assert reason in refusals([expr])[expr]


def test_what_is_refused_is_promql() -> None:
    with Prometheus() as server:
        server.start()
        for expr in REFUSED:
            server.query(expr, BASE_MS)


def test_what_prometheus_calls_experimental_is_refused() -> None:
    """The server refuses these, too, unless it was started with a feature flag."""
    every = ["limitk(1, x)", "mad_over_time(x[5m])", 'sort_by_label(x, "a")', "info(x)"]
    every.append("double_exponential_smoothing(x[5m], 0.5, 0.5)")
    assert every == [one for one, why in refusals(every).items() if "experimental" in why]
