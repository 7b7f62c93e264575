"""What producers count is told to the clusters that it is about."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from producers.own import OwnSeries, OwnSource
from schemas.metrics import Metric
from schemas.telemetry import Telemetry

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def telemetry() -> Telemetry:
    telemetry = Telemetry("producers")
    for cluster, count in (("a", 2), ("b", 3)):
        telemetry.count(Metric.REQUESTS, count, cluster=cluster, owner="scrape", code="200")
    telemetry.set(Metric.SPOOL_BYTES, 7)
    telemetry.observe(Metric.SCRAPE_DURATION, 0.2, job="etcd")
    return telemetry


def told(series: OwnSeries, cluster: str) -> Samples:
    answer = OwnSource(series, cluster).get(timeout_s=1.0, body_bytes_max=1)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def labelled(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset({"stage": "producers", **labels}.items())


def test_a_cluster_hears_of_itself_and_of_the_process(telemetry: Telemetry) -> None:
    series = OwnSeries(telemetry.registry)
    for cluster, count in (("a", 2), ("b", 3)):
        found = told(series, cluster)
        requests = labelled(owner="scrape", code="200")
        assert count == found["planewatch_requests_total", requests]
        assert 7 == found["planewatch_spool_bytes", labelled()]
        assert 1 == found["planewatch_scrape_duration_seconds_count", labelled(job="etcd")]
        assert found["process_start_time_seconds", frozenset()] > 0
        assert 1 == sum(name == "planewatch_requests_total" for name, _ in found)
        assert not any(name.endswith("_created") for name, _ in found)


def test_a_cluster_of_which_nothing_is_counted_hears_of_the_process(telemetry: Telemetry) -> None:
    found = told(OwnSeries(telemetry.registry), "c")
    assert 7 == found["planewatch_spool_bytes", labelled()]
    assert "planewatch_requests_total" not in {name for name, _ in found}


def test_the_next_scrape_hears_of_what_came_since(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = OwnSeries(telemetry.registry)
    told(series, "a")
    telemetry.set(Metric.SPOOL_BYTES, 8)
    assert 7 == told(series, "b")["planewatch_spool_bytes", labelled()]  # within a second
    monkeypatch.setattr("producers.own.COLLECTED_S", 0.0)
    assert 8 == told(series, "b")["planewatch_spool_bytes", labelled()]
