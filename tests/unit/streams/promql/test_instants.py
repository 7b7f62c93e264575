"""Instant selectors: what is the present, what is stale, what the engine makes up itself."""

from dataclasses import replace

import pyarrow as pa
import pytest

from schemas.records import Outcome
from tests.evaluation import World, by_labels
from tests.scrapes import read

STEP = 5_000
UP = {Outcome.OK: 1.0, Outcome.TOO_BIG: 1.0}
NO_ANSWER = [
    one for one in Outcome if one not in (*UP, Outcome.REMOVED, Outcome.SKIPPED, Outcome.SILENT)
]


def test_a_selector_reads_the_newest_values() -> None:
    world = World(['y{s=~"a|b"}', 'y{s!="a"}', 'y{t=""}'])
    world.scrape('y{s="a"} 1\ny{s="b"} 2\ny{s="c",t="x"} 3\n', 0)
    assert world.live(0) == [
        by_labels({"__name__": "y", "s": "a"}, 1.0),
        by_labels({"__name__": "y", "s": "b"}, 2.0),
        by_labels({"__name__": "y", "s": "b"}, 2.0),
        by_labels({"__name__": "y", "s": "c", "t": "x"}, 3.0),
        by_labels({"__name__": "y", "s": "a"}, 1.0),
        by_labels({"__name__": "y", "s": "b"}, 2.0),
    ]


@pytest.mark.parametrize("outcome", [*NO_ANSWER, Outcome.SILENT, Outcome.REMOVED])
def test_a_failed_target_is_stale_at_once(outcome: Outcome) -> None:
    world = World(["y"])
    world.scrape("y 1\n", 0)
    world.scrape("", STEP, outcome=outcome)
    assert world.live(STEP) == []
    assert [result.value for result in world.aligned(STEP - 1)] == [1.0]


def test_a_skipped_tick_leaves_the_values_while_they_are_fresh() -> None:
    world = World(["y"])
    world.scrape("y 1\n", 0)
    world.scrape("", STEP, outcome=Outcome.SKIPPED)
    assert [result.value for result in world.live(12_500)] == [1.0]
    assert world.live(12_501) == []


def test_a_vanished_series_is_stale_at_once() -> None:
    world = World(["y"])
    world.scrape('y{s="a"} 1\ny{s="b"} 2\n', 0)
    world.scrape('y{s="a"} 3\n', STEP)
    assert world.live(STEP) == [by_labels({"__name__": "y", "s": "a"}, 3.0)]


def test_values_of_a_target_without_news_end_after_five_minutes() -> None:
    world = World(["y"])
    world.scrape("y 1\n", 0)
    assert len(world.live(299_999)) == 1
    assert world.live(300_000) == []


def test_an_aligned_evaluation_reads_the_value_of_its_time() -> None:
    world = World(["y"])
    for step in range(4):
        world.scrape(f"y {step}\n", step * STEP)
    assert [result.value for result in world.aligned(11_000)] == [2.0]


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.REMOVED])
def test_up_is_one_for_an_answer_and_zero_for_anything_else(outcome: Outcome) -> None:
    world = World(["up"])
    world.scrape("y 1\n", 0, outcome=outcome)
    assert [result.value for result in world.live(0)] == [UP.get(outcome, 0.0)]


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.REFUSED])
def test_a_skipped_tick_leaves_up_while_the_attempt_before_is_fresh(outcome: Outcome) -> None:
    world = World(["up", "scrape_samples_scraped"])
    world.scrape("y 1\n", 0, outcome=outcome)
    for tick_ms in (STEP, 2 * STEP):
        world.scrape("", tick_ms, outcome=Outcome.SKIPPED)
    answered = UP.get(outcome, 0.0)

    assert [result.value for result in world.live(12_500)] == [answered, answered]
    assert [result.value for result in world.aligned(STEP)] == [answered, answered]
    assert [result.value for result in world.live(12_501)] == [0.0, 0.0]


def test_a_target_whose_first_tick_was_skipped_is_not_up() -> None:
    world = World(["up"])
    world.scrape("", 0, outcome=Outcome.SKIPPED)
    assert [result.value for result in world.live(0)] == [0.0]


def test_a_target_removed_after_a_skipped_tick_comes_back_as_new() -> None:
    world = World(["up"])
    world.scrape("y 1\n", 0)
    world.scrape("", STEP, outcome=Outcome.REMOVED)
    world.scrape("", STEP + 1, outcome=Outcome.SKIPPED)
    assert [result.value for result in world.live(STEP + 1)] == [0.0]


def test_a_removed_target_has_no_up() -> None:
    world = World(["up"])
    world.scrape("y 1\n", 0)
    world.scrape("", STEP, outcome=Outcome.REMOVED)
    assert world.live(STEP) == []


def test_up_carries_the_labels_of_its_target() -> None:
    world = World(['up{zone="z1"}', 'up{zone=""}', "scrape_duration_seconds", 'up{le="1"}'])
    world.scrape("y 1\n", 0, job="etcd", instance="m1", labels={"zone": "z1"}, duration_ms=250)
    labels = {"job": "etcd", "instance": "m1", "zone": "z1"}
    assert world.live(0) == [
        by_labels({"__name__": "up", **labels}, 1.0),
        by_labels({"__name__": "scrape_duration_seconds", **labels}, 0.25),
    ]


def test_only_the_main_path_makes_up() -> None:
    world = World(["up", "y"])
    world.scrape("y 1\n", 0, path="/metrics/slis")
    assert [dict(result.labels)["__name__"] for result in world.live(0)] == ["y"]


def test_a_label_that_the_target_owns_is_exported() -> None:
    world = World(['y{exported_instance="own"}'])
    world.scrape('y{instance="own"} 1\n', 0, instance="target")
    assert world.live(0) == [
        by_labels({"__name__": "y", "exported_instance": "own", "instance": "target"}, 1.0)
    ]


@pytest.mark.parametrize("selector", ["apiserver", "kube-apiserver", "kubernetes"])
@pytest.mark.parametrize("job", ["apiserver", "kube-apiserver"])
def test_a_job_answers_to_its_aliases(selector: str, job: str) -> None:
    world = World([f'y{{job="{selector}"}}', f'y{{job=~"{selector}"}}', f'y{{job!="{selector}"}}'])
    world.scrape("y 1\n", 0, job=job)
    assert len(world.live(0)) == 2


def test_a_summary_shows_its_quantiles_sum_and_count() -> None:
    world = World(["s", "s_sum", "s_count"])
    world.scrape('# TYPE s summary\ns{quantile="0.5"} 3\ns_sum 12\ns_count 4\n', 0)
    assert world.live(0) == [
        by_labels({"__name__": "s", "quantile": "0.5"}, 3.0),
        by_labels({"__name__": "s_sum"}, 12.0),
        by_labels({"__name__": "s_count"}, 4.0),
    ]


def test_old_servers_are_read_under_current_names() -> None:
    world = World(
        [
            'apiserver_resource_objects{resource="deployments",group="apps"}',
            "sum by (group, resource) (increase(etcd_requests_total[1m]))",
        ]
    )
    old = (
        'apiserver_storage_objects{{resource="deployments.apps"}} 7\n'
        'etcd_requests_total{{operation="get",type="pods"}} {}\n'
    )
    world.scrape(old.format(10), 0, version="v1.33.1")
    world.scrape(old.format(13), STEP, version="v1.33.1")
    found = world.live(STEP)
    assert found[0] == by_labels(
        {"__name__": "apiserver_resource_objects", "group": "apps", "resource": "deployments"}, 7.0
    )
    assert [result.value for result in found[1:]] == [3.0]
    assert found[1].labels == (("resource", "pods"),)


def test_a_rule_with_an_old_name_reads_the_current_one() -> None:
    world = World(["apiserver_storage_objects"])
    world.scrape('apiserver_resource_objects{resource="pods"} 5\n', 0, version="v1.36.0")
    assert [result.value for result in world.live(0)] == [5.0]


def test_an_upgrade_goes_on_with_the_same_series() -> None:
    world = World(["sum by (resource) (increase(etcd_requests_total[10m]))"])
    world.scrape('etcd_requests_total{type="pods"} 10\n', 0, version="v1.33.1", started_ms=1)
    world.scrape('etcd_requests_total{type="pods"} 14\n', STEP, version="v1.33.1", started_ms=1)
    new = 'etcd_requests_total{group="",resource="pods"} 2\n'
    world.scrape(new, 2 * STEP, version="v1.34.0", started_ms=9_000_000)
    assert [result.value for result in world.live(2 * STEP)] == [4.0 + 2.0]


@pytest.mark.parametrize(
    "buckets, shown",
    [
        pytest.param(None, set(), id="a histogram without buckets is none"),
        pytest.param([1], set(), id="as many as it has bounds, and one more"),
        pytest.param([1, None], {"1"}, id="a bucket without a number has no value"),
    ],
)
def test_rows_that_no_parser_makes_end_no_worker(
    buckets: list[int | None] | None, shown: set[str]
) -> None:
    world = World(["h_bucket", "rate(h_bucket[1m])", "sum(x)"])
    buckets_1_and_2 = 'h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\n'
    body = read(f"x 7\n# TYPE h histogram\n{buckets_1_and_2}h_sum 3\nh_count 2\n")
    made = pa.array([None, buckets], pa.list_(pa.int64()))
    at = body.rows.schema.get_field_index("buckets")
    rows = body.rows.set_column(at, body.rows.schema.field(at), made)
    for step in range(3):
        world.scrape(replace(body, rows=rows), step * 5_000)
    found = [(dict(one.labels).get("le"), one.value) for one in world.live(10_000)]
    assert {le for le, value in found if value == 1} == shown
    assert (None, 7.0) in found
