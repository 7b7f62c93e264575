"""histogram_quantile and histogram_fraction: Prometheus' arithmetic and its edge cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.promql.quantile import fractions, quantiles
from tests.evaluation import World, by_labels

INF = math.inf
BOUNDS = [0.1, 1.0, 10.0, INF]


def quantile(q: float, counts: list[float], bounds: list[float] = BOUNDS) -> float:
    return float(quantiles(q, np.array(bounds), np.array([counts], np.float64))[0])


@pytest.mark.parametrize(
    "q, counts, expected",
    [
        pytest.param(0.5, [10, 20, 20, 20], 0.1, id="at an edge"),
        pytest.param(0.75, [10, 20, 20, 20], 0.1 + 0.9 * 0.5, id="inside a bucket"),
        pytest.param(0.25, [10, 20, 20, 20], 0.05, id="the first bucket begins at 0"),
        pytest.param(0.99, [0, 0, 0, 5], 10.0, id="beyond the last bound: that bound"),
        pytest.param(0.5, [0, 0, 0, 0], math.nan, id="no observation"),
        pytest.param(-1, [1, 1, 1, 1], -INF, id="below 0"),
        pytest.param(2, [1, 1, 1, 1], INF, id="above 1"),
        pytest.param(math.nan, [1, 1, 1, 1], math.nan, id="NaN"),
        pytest.param(0, [4, 4, 4, 4], 0.0, id="0"),
        pytest.param(0, [0, 4, 4, 4], math.nan, id="0 with an empty first bucket, as Prometheus"),
        pytest.param(1, [0, 4, 4, 4], 1.0, id="1"),
        pytest.param(0.5, [10, 5, 20, 20], 0.1, id="a bucket that falls is lifted"),
    ],
)
def test_quantile_of_one_histogram(q: float, counts: list[float], expected: float) -> None:
    assert quantile(q, counts) == pytest.approx(expected, nan_ok=True)


def test_a_first_bound_below_zero_is_the_result() -> None:
    assert quantile(0.1, [5, 10], [-1.0, INF]) == -1.0


@pytest.mark.parametrize("bounds", [[0.1, 1.0, 10.0, 20.0], [INF, INF, INF, INF]])
def test_without_infinity_or_a_second_bucket_there_is_no_quantile(bounds: list[float]) -> None:
    assert math.isnan(quantile(0.5, [1, 2, 3, 4], bounds))


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(1e-6, 1))
def test_a_quantile_lies_in_the_bucket_that_holds_its_rank(grown: list[int], q: float) -> None:
    counts = np.cumsum(grown).astype(float)
    found = quantile(q, counts.tolist())
    if counts[-1] == 0:
        assert math.isnan(found)
        return
    bucket = int(np.searchsorted(counts[:-1], q * counts[-1]))
    low, high = [0.0, *BOUNDS][bucket], min(BOUNDS[bucket], 10.0)
    assert min(low, 10.0) - 1e-9 <= found <= high + 1e-9


def test_histograms_with_different_bounds_are_kept_apart_and_equal_bounds_are_added() -> None:
    def histogram(s: str, buckets: dict[str, int]) -> str:
        total = max(buckets.values())
        lines = [f'h_bucket{{s="{s}",le="{le}"}} {n}' for le, n in buckets.items()]
        return "\n".join([*lines, f'h_sum{{s="{s}"}} 0', f'h_count{{s="{s}"}} {total}'])

    world = World(
        ["histogram_quantile(0.5, h_bucket)", "histogram_quantile(0.5, sum by (le) (h_bucket))"]
    )
    body = "\n".join(
        [
            "# TYPE h histogram",
            histogram("a", {"1": 0, "2": 10, "+Inf": 10}),
            histogram("b", {"1.0": 10, "4": 10, "+Inf": 10}),
            "",
        ]
    )
    world.scrape(body, 0)
    by_s, together = world.live(0)[:2], world.live(0)[2]
    assert by_s == [by_labels({"s": "a"}, 1.5), by_labels({"s": "b"}, 0.5)]
    # bounds 1 (0 + 10), 2 (10), 4 (10), +Inf (20): 2 and 4 are lifted to 10 and rank 10 is at 1
    assert together.value == pytest.approx(1.0)


def test_a_series_without_a_bound_belongs_to_no_histogram() -> None:
    world = World(["histogram_quantile(0.5, y)"])
    world.scrape('y{le="1"} 5\ny{le="+Inf"} 10\ny{le="many"} 99\ny 99\n', 0)
    assert world.live(0) == [by_labels({}, 1.0)]


@pytest.mark.parametrize(
    "lower, upper, expected",
    [
        (1, 4, 0.4),
        (1.5, 1.7, 0.08),
        (3, INF, 0.4),
        (10, 20, 0.0),
        (1, 10, 0.4),
        (-INF, 10, 0.6),
        (-INF, INF, 1.0),
        (1, 0, 0.0),
        (0, 1, math.nan),  # nothing is known below the first bound
        (math.nan, 1, math.nan),
        (1, math.nan, math.nan),
    ],
)
def test_fraction_of_one_histogram(lower: float, upper: float, expected: float) -> None:
    found = fractions(lower, upper, np.array([1.0, 2.0, 4.0, INF]), np.array([[2.0, 6, 6, 10]]))
    assert found.tolist() == pytest.approx([expected], nan_ok=True)


def test_fraction_does_not_lift_buckets_that_fall_as_prometheus_3_5() -> None:
    found = fractions(1.5, 2, np.array([1.0, 2.0, 4.0, INF]), np.array([[4.0, 3, 10, 12]]))
    assert found.tolist() == pytest.approx([-0.5 / 12])


@pytest.mark.parametrize(
    "bounds, counts", [([1.0, 2.0], [1.0, 2.0]), ([INF], [4.0]), ([1.0, INF], [0.0, 0.0])]
)
def test_without_infinity_a_second_bucket_or_observations_there_is_no_fraction(
    bounds: list[float], counts: list[float]
) -> None:
    assert math.isnan(fractions(0.5, 2, np.array(bounds), np.array([counts]))[0])


def test_fraction_in_an_expression() -> None:
    world = World(["histogram_fraction(-0.5, 1, h_bucket)", "histogram_fraction(0, 1, gone)"])
    world.scrape('h_bucket{le="-1"} 2\nh_bucket{le="1"} 6\nh_bucket{le="+Inf"} 6\n', 0)
    assert world.live(0) == [by_labels({}, 0.5)]


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("histogram_quantile(0, h_bucket)", 1.0),
        ("histogram_quantile(0.5, h_bucket)", math.nan),
        ("histogram_fraction(0.1, 1, h_bucket)", math.nan),
        ("histogram_quantile(0.5, -h_bucket)", 1.0),
    ],
)
def test_counts_that_are_infinite_or_below_zero(expression: str, expected: float) -> None:
    world = World([expression])
    world.scrape('h_bucket{le="0.1"} 1\nh_bucket{le="1"} +Inf\nh_bucket{le="+Inf"} +Inf\n', 0)
    assert world.live(0) == [by_labels({}, expected)]
