"""Discovery against an API server that has TLS, credentials and bad days; scrapes are real."""

import time

from producers.core.discovery import ABSENT_MS
from schemas.metrics import Metric
from schemas.records import Outcome
from tests.services.discovering import (
    KUBE_SYSTEM,
    KUBERNETES,
    MINUTE_S,
    POD,
    SPEED,
    Producers,
    removals,
    until,
)


def test_an_api_server_is_scraped_by_address_and_checked_by_name(producers: Producers) -> None:
    producers.start()
    found = producers.scraped()

    assert {producers.plane.instance} == {one.instance for one in found}
    assert 1 == found[0].sequence
    assert {"/metrics", "/metrics/slis"} == set(producers.plane.scraped)
    assert (KUBERNETES, {}) == producers.plane.asked[0]
    requests = producers.embedded.telemetry.value(
        Metric.REQUESTS, cluster="rehearsal", owner="discovery", code="200"
    )
    assert 1 <= requests == len(producers.plane.asked)


def test_pods_of_a_service_come_in_pages_and_go_when_they_are_deleted(
    producers: Producers,
) -> None:
    plane = producers.plane
    plane.pods = ["127.0.0.2", "127.0.0.3"]
    producers.discovery = {"jobs": ["coredns"]}
    producers.start()
    until(lambda: len({one.instance for one in producers.records("coredns")}) == 2)
    first, second = plane.asked[:2]
    assert {"labelSelector": "kubernetes.io/service-name=kube-dns", "limit": "500"} == first[1]
    assert "1" == second[1]["continue"]

    plane.pods = ["127.0.0.3"]
    until(lambda: bool(removals(producers.records("coredns"))))
    time.sleep(2.5 * MINUTE_S)
    producers.restart()
    time.sleep(2.5 * MINUTE_S)

    found = producers.records("coredns")
    assert [f"127.0.0.2:{plane.port}"] == removals(found)
    gone = [one for one in found if one.instance == f"127.0.0.2:{plane.port}"]
    assert Outcome.REMOVED is gone[-1].outcome
    assert [one.tick_ms for one in gone] == sorted({one.tick_ms for one in gone})


def test_a_pod_that_returns_is_scraped_again(producers: Producers) -> None:
    plane = producers.plane
    producers.discovery = {"jobs": ["coredns"]}
    producers.start()
    until(lambda: bool(producers.records("coredns")))
    plane.pods = []
    until(lambda: bool(removals(producers.records("coredns"))))
    plane.pods = [POD]

    until(lambda: producers.records("coredns")[-1].outcome is not Outcome.REMOVED)


def test_an_api_server_that_is_no_longer_listed_is_watched_for_a_quarter_of_an_hour(
    producers: Producers,
) -> None:
    plane = producers.plane
    producers.start()
    producers.scraped()
    gone_ms = producers.clock.now_ms()
    plane.servers = ["127.0.0.2"]
    until(lambda: len({one.instance for one in producers.records()}) == 2)
    producers.writer.set_speed(10 * SPEED)
    until(lambda: bool(removals(producers.records())))

    ours = [one for one in producers.records() if one.instance == plane.instance]
    assert [plane.instance] == removals(producers.records())
    assert Outcome.REMOVED is ours[-1].outcome
    assert ours[-1].tick_ms >= gone_ms + ABSENT_MS
    assert 10 <= sum(one.tick_ms > gone_ms for one in ours)


def test_requests_are_few_and_constant(producers: Producers) -> None:
    producers.discovery = {}
    producers.start()
    producers.scraped()
    asked = len(producers.plane.asked)
    time.sleep(4 * MINUTE_S)

    assert 4 <= len(producers.plane.asked) - asked <= 2 * 6, "2 jobs, each minute or so"


# --- the API server is away ----------------------------------------------------------------------


def test_a_restart_while_the_api_server_is_away_scrapes_at_once(producers: Producers) -> None:
    plane = producers.plane
    producers.start()
    before = producers.scraped()
    producers.stop()
    plane.away = True
    producers.start()

    found = producers.scraped(more=2)
    assert [] == removals(found)
    assert [one.sequence for one in found] == list(range(1, len(found) + 1))
    assert len(found) >= len(before) + 2

    plane.stop()  # now it is really gone: scrapes fail, and go on
    until(lambda: producers.records()[-1].outcome is Outcome.REFUSED)
    producers.restart()
    count = len(producers.records())
    until(lambda: len(producers.records()) >= count + 2)
    plane.away = False
    plane.start()
    producers.scraped()
    assert [] == removals(producers.records())


def test_a_server_that_is_away_is_asked_rarely(producers: Producers) -> None:
    producers.plane.away = True
    producers.discovery = {}
    producers.start()
    time.sleep(2 * MINUTE_S)

    assert 2 <= len(producers.plane.asked) <= 50


def test_targets_that_nobody_remembers_are_not_gone_until_the_api_server_says_so(
    producers: Producers,
) -> None:
    producers.discovery = {"jobs": ["coredns"]}
    producers.start()
    until(lambda: bool(producers.records("coredns")))
    producers.stop()
    (file,) = (producers.data / "discovery").glob("*.json")
    file.write_text("{")
    producers.plane.away = True
    producers.plane.pods = []
    producers.start()
    time.sleep(MINUTE_S)
    assert [] == removals(producers.records("coredns"))

    producers.plane.away = False
    until(lambda: bool(removals(producers.records("coredns"))))


def test_what_is_forbidden_hides_nothing_else(producers: Producers) -> None:
    producers.discovery = {
        "services": {"etcd": {"service": "etcd"}},
    }
    producers.plane.hidden = {KUBE_SYSTEM}
    producers.start()

    producers.scraped()
    assert [] == producers.records("coredns")


def test_a_job_that_is_no_longer_discovered_is_removed_at_start(producers: Producers) -> None:
    producers.discovery = {}
    producers.start()
    until(lambda: bool(producers.records("coredns")))
    producers.stop()
    producers.discovery = {"jobs": ["apiserver"]}
    producers.plane.away = True
    producers.start()

    until(lambda: bool(removals(producers.records("coredns"))))
    assert [] == removals(producers.records())
