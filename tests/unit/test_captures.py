"""The captures beside the repository are what the other tests take them for."""

from collections import Counter

import pytest

from tests import fixtures

pytestmark = pytest.mark.usefixtures("shared_fixtures")


def test_load_is_twelve_scrapes_of_each_process_and_three_of_the_second_api_server() -> None:
    counts = Counter(scrape.instance for scrape in fixtures.cluster_phase("load"))
    assert counts.pop("apiserver2") == 3
    assert set(counts.values()) == {12}


def test_scrapes_come_in_the_order_of_time_and_fail_only_after_the_election() -> None:
    scrapes = fixtures.cluster_index()
    assert scrapes == tuple(sorted(scrapes, key=lambda scrape: scrape.t_ms))
    assert {scrape.phase for scrape in scrapes if scrape.error} == {"after-election", "quorum-lost"}
    assert all((scrape.file is None) == (scrape.error is not None) for scrape in scrapes)


@pytest.mark.parametrize("component", ["api-server", "controller-manager", "etcd", "scheduler"])
@pytest.mark.parametrize("version", ["1_31", "1_35"])
def test_every_component_of_both_versions_answered(version: str, component: str) -> None:
    assert f"{version}-{component}" in fixtures.metrics_names()
    assert b"process_cpu_seconds_total " in fixtures.metrics(f"{version}-{component}")


def test_a_body_of_the_cluster_is_an_exposition() -> None:
    (scheduler, *_) = [s for s in fixtures.cluster_phase("idle") if s.instance == "scheduler"]
    assert scheduler.status == 200
    assert scheduler.body().startswith(b"# HELP ")
