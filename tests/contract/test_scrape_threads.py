"""Targets that hang hold up nobody else; where threads are too few, records say who waited."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from producers.core.turns import BUSY, NO_THREAD
from producers.scraping import Scraping
from schemas.arrow import decode_scrape
from schemas.clock import Clock
from schemas.metrics import Metric
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import ClusterSettings, ProducersSettings, Settings, TargetSettings
from schemas.topics import TopicName, full_name
from tests.fakes.embedded import Embedded
from tests.services.misbehaving import Server, answering, response, silent
from tests.services.records import read_all

WAIT_S = 20.0
INTERVAL_S = 0.3
HANGING = 12  # more than a pool of a few threads

OK = answering(response("200 OK", b"x 1\n"))


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    embedded = Embedded(tmp_path)
    yield embedded
    embedded.close()


@pytest.fixture
def healthy() -> Iterator[Server]:
    server = Server(OK)
    yield server
    server.close()


@pytest.fixture
def hanging() -> Iterator[Server]:
    server = Server(silent)
    yield server
    server.close()


def target(instance: str, server: Server, *, timeout_s: float = 60.0) -> TargetSettings:
    return TargetSettings(
        job="etcd",
        instance=instance,
        url=f"http://127.0.0.1:{server.port}/metrics",
        interval_s=INTERVAL_S,
        timeout_s=timeout_s,
    )


@contextmanager
def scraping(
    embedded: Embedded, targets: list[TargetSettings], limits: ProducersSettings
) -> Iterator[None]:
    settings = Settings(
        data=embedded.settings.data,
        clusters=[ClusterSettings(id="rehearsal", targets=targets)],
        producers=limits,
    )
    one = Scraping(settings, embedded.sender, Clock(), embedded.telemetry)
    one.start()
    yield
    one.stop(wait_s=0.1)
    embedded.sender.flush(WAIT_S)


def envelopes(embedded: Embedded, instance: str) -> list[ScrapeEnvelope]:
    records = read_all(embedded.bootstrap, full_name(TopicName.SCRAPES, "planewatch"))
    found = [decode_scrape(record.value()).envelope for record in records]
    return [one for one in found if one.instance == instance]


def until(fact: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not fact():
        assert time.monotonic() < end_s, "it did not come true"
        time.sleep(0.02)


def test_targets_that_hang_do_not_hold_up_healthy_ones(
    embedded: Embedded, healthy: Server, hanging: Server
) -> None:
    hung = [target(f"hangs-{number}", hanging) for number in range(HANGING)]
    with scraping(embedded, [*hung, target("good", healthy)], ProducersSettings()):
        until(lambda: len(hanging.requests) == HANGING)
        asked = len(healthy.requests)
        until(lambda: len(healthy.requests) >= asked + 5)

    found = envelopes(embedded, "good")
    assert NO_THREAD not in {one.reason for one in found}
    assert len(healthy.requests) == sum(one.outcome is Outcome.OK for one in found)


def test_a_target_that_waits_for_a_thread_says_so_and_is_tried_once_a_tick(
    embedded: Embedded, healthy: Server, hanging: Server
) -> None:
    targets = [target("hangs", hanging, timeout_s=3 * INTERVAL_S), target("waits", healthy)]
    with scraping(embedded, targets, ProducersSettings(scrape_threads=1)):
        until(lambda: len(hanging.requests) >= 3 and len(healthy.requests) >= 3)

    hung, waited = (envelopes(embedded, instance) for instance in ("hangs", "waits"))
    assert {Outcome.OK, Outcome.SKIPPED} == {one.outcome for one in waited}
    skipped = [one for one in waited if one.reason == NO_THREAD]
    assert skipped
    assert BUSY in {one.reason for one in hung}
    assert BUSY not in {one.reason for one in waited}
    assert len(healthy.requests) == sum(one.outcome is Outcome.OK for one in waited)
    hits = embedded.telemetry.value(Metric.LIMIT_HITS, limit="scrape_threads")
    assert hits >= len(skipped)
    for found in (hung, waited):
        assert list(range(1, len(found) + 1)) == [one.sequence for one in found]
        ticks = [one.tick_ms for one in found]
        assert sorted(set(ticks)) == ticks


def test_a_slow_server_is_asked_half_as_often_until_it_is_quick_again(
    embedded: Embedded,
) -> None:
    slow = threading.Event()
    slow.set()

    def behave(connection: socket.socket, request: bytes) -> None:
        if slow.is_set():
            time.sleep(0.6)
        OK(connection, request)

    server = Server(behave)
    try:
        limits = ProducersSettings(interval_s_max=2 * INTERVAL_S)
        with scraping(embedded, [target("slow", server)], limits):
            until(lambda: len(server.requests) >= 4)
            slow.clear()
            asked = len(server.requests)
            until(lambda: len(server.requests) >= asked + 8)
    finally:
        server.close()

    found = envelopes(embedded, "slow")
    assert list(range(1, len(found) + 1)) == [one.sequence for one in found]
    ticks = [one.tick_ms for one in found]
    assert sorted(set(ticks)) == ticks
    intervals = [one.interval_ms for one in found]
    assert [300, 600, 300] == [interval for interval, _ in groupby(intervals)]
    for one, following in pairwise(found):
        assert following.tick_ms - one.tick_ms <= 2 * max(one.interval_ms, following.interval_ms)
    stretched = [one.tick_ms for one in found if one.interval_ms == 600]
    assert {600} == {following - tick for tick, following in pairwise(stretched)}
