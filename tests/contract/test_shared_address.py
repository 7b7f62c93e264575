"""Several processes behind one address, in turn, through real producers, Kafka and rules."""

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest

from producers.addresses import Addresses
from producers.checkpoint import Checkpoint
from producers.core.processes import PROCESSES_MAX
from producers.reporting import Reports
from producers.scrape import Scraper
from producers.scraping import Scraping
from schemas.arrow import decode_scrape
from schemas.clock import Clock
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.records import Outcome
from schemas.settings import ClusterSettings, ProducersSettings, Settings, TargetSettings
from schemas.topics import TopicName, full_name
from streams.core.samples import Scrape
from tests.evaluation import World
from tests.fakes.embedded import Embedded
from tests.scrapes import CLUSTER
from tests.services.misbehaving import Server, response
from tests.services.records import read_all

WAIT_S = 20.0
INTERVAL_S = 0.3
DAY_S = 86_400
ADDRESS = "lb:6443"
BULK = "kubernetes_feature_enabled"  # the profile `core` leaves it out
GROWTH = 3  # of the counter of each process from one of its answers to the next


@dataclass
class Process:
    """One server behind the address; each answer of it counts a little more."""

    start_s: float
    count: int
    answers: int = 0

    def answer(self, *, header: bool) -> bytes:
        self.answers += 1
        self.count += GROWTH
        lines = f"process_start_time_seconds {self.start_s}\nrequests_total {self.count}\n"
        lines += f"{BULK} 1\n"
        headers = (f"Process-Start-Time-Unix: {int(self.start_s)}",) if header else ()
        return response("200 OK", b"a 1\n" + lines.encode(), *headers)


class Balancer:
    """Behaves as processes in turn: another one for each request, or for each connection."""

    def __init__(self, *processes: Process, pinned: bool = False, header: bool = False) -> None:
        self.processes = list(processes)
        self._header, self._pinned = header, pinned
        self._of: dict[int, int] = {}  # connection to process
        self._turns, self._lock = 0, threading.Lock()

    def __call__(self, connection: socket.socket, _: bytes) -> None:
        with self._lock:
            turn = self._turns
            if self._pinned:
                turn = self._of.setdefault(id(connection), len(self._of))
            self._turns += 1
            body = self.processes[turn % len(self.processes)].answer(header=self._header)
        connection.sendall(body)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    embedded = Embedded(tmp_path)
    yield embedded
    embedded.close()


@contextmanager
def scraping(
    embedded: Embedded, server: Server, families: Literal["core", "all"] = "all"
) -> Iterator[None]:
    target = TargetSettings(
        families=families,
        job="apiserver",
        instance=ADDRESS,
        url=f"http://127.0.0.1:{server.port}/metrics",
        interval_s=INTERVAL_S,
        timeout_s=5,
    )
    settings = Settings(
        data=embedded.settings.data,
        clusters=[ClusterSettings(id=CLUSTER, targets=[target])],
        producers=ProducersSettings(),
    )
    one = Scraping(settings, embedded.sender, Clock(), embedded.telemetry)
    one.start()
    yield
    one.stop(wait_s=2.0)
    embedded.sender.flush(WAIT_S)


def scraped(
    embedded: Embedded, server: Server, requests: int, families: Literal["core", "all"] = "all"
) -> list[Scrape]:
    """Scrape until the server was asked so often; return all records of the address so far."""
    asked, end_s = len(server.requests) + requests, time.monotonic() + WAIT_S
    with scraping(embedded, server, families):
        while len(server.requests) < asked:
            assert time.monotonic() < end_s, f"asked {len(server.requests)} times"
            time.sleep(0.02)
    found = []
    for record in read_all(embedded.bootstrap, full_name(TopicName.SCRAPES, "planewatch")):
        one = decode_scrape(record.value())
        if one.envelope.job == "apiserver":
            assert record.key() == f"{CLUSTER}/apiserver/{one.envelope.instance}".encode()
            found.append(Scrape(one.envelope, one.rows, one.envelope.layout))
    return sorted(found, key=lambda one: one.envelope.tick_ms)


def ruled(scrapes: list[Scrape], expression: str) -> dict[str, float]:
    """What a rule says at the end, by instance."""
    world = World([expression])
    for one in scrapes:
        world.evaluator.accept(one)
    found = world.aligned(scrapes[-1].envelope.start_ms)
    return {dict(one.labels)["instance"]: one.value for one in found}


def by_instance(scrapes: list[Scrape]) -> dict[str, list[Scrape]]:
    found: dict[str, list[Scrape]] = defaultdict(list)
    for one in scrapes:
        found[one.envelope.instance].append(one)
    return found


def consistent(found: dict[str, list[Scrape]]) -> None:
    """Numbers have no gap, ticks grow, and an instance has one process."""
    for instance, scrapes in found.items():
        sequences = [one.envelope.sequence for one in scrapes]
        assert list(range(1, len(scrapes) + 1)) == sequences, instance
        ticks = [one.envelope.tick_ms for one in scrapes]
        assert all(a < b for a, b in pairwise(ticks)), instance
        if instance != ADDRESS:
            assert len({one.envelope.process_start_ms for one in scrapes}) == 1


def processes(count: int) -> list[Process]:
    now_s = int(time.time())
    return [Process(now_s - (count - n) * DAY_S + 0.25, 10 ** (n + 3)) for n in range(count)]


@pytest.mark.parametrize("header", [False, True], ids=["of metrics", "of a header"])
@pytest.mark.parametrize("count", [2, 3])
def test_each_process_is_an_instance_with_its_own_rates(
    embedded: Embedded, count: int, header: bool
) -> None:
    balancer = Balancer(*processes(count), header=header)
    server = Server(balancer)
    try:
        scrapes = scraped(embedded, server, 5 * count)
    finally:
        server.close()
    found = by_instance(scrapes)
    consistent(found)
    assert len(found) == count + 1
    address = found.pop(ADDRESS)
    answered = [one for one in address if one.envelope.outcome is not Outcome.SKIPPED]
    assert {Outcome.OK} == {one.envelope.outcome for one in answered}
    assert [True] + [False] * (len(answered) - 1) == [one.rows.num_rows > 0 for one in answered]

    assert ruled(scrapes, "up") == dict.fromkeys([ADDRESS, *found], 1.0)
    grown = ruled(scrapes, "increase(requests_total[1h])")
    for instance, of_one in found.items():
        assert grown[instance] == GROWTH * (len(of_one) - 1), instance
        assert not any(one.envelope.interval_ms % (count * 300) for one in of_one[1:]), instance
    assert not grown.get(ADDRESS)
    for expression in ("resets(requests_total[1h])", "changes(process_start_time_seconds[1h])"):
        assert ruled(scrapes, expression) == dict.fromkeys([ADDRESS, *found], 0.0)


def test_a_restart_is_a_reset_of_one_target(embedded: Embedded) -> None:
    old = Process(time.time() - DAY_S, 1_000_000)
    balancer = Balancer(old)
    server = Server(balancer)

    def restart() -> None:
        balancer.processes = [Process(time.time(), 0)]

    timer = threading.Timer(5 * INTERVAL_S, restart)
    timer.start()
    try:
        scrapes = scraped(embedded, server, 10)
    finally:
        timer.join()
        server.close()
    assert [ADDRESS] == list(by_instance(scrapes))
    answers = old.answers + balancer.processes[0].answers
    grown = ruled(scrapes, "increase(requests_total[1h])")
    assert grown == {ADDRESS: GROWTH * (answers - 1)}


def test_a_connection_stays_with_its_process(embedded: Embedded) -> None:
    server = Server(Balancer(*processes(3), pinned=True))
    try:
        scrapes = scraped(embedded, server, 6)
    finally:
        server.close()
    assert [ADDRESS] == list(by_instance(scrapes))
    assert server.connections == 1


def test_processes_are_known_after_a_restart_of_ours(embedded: Embedded) -> None:
    server = Server(Balancer(*processes(2)))
    try:
        scraped(embedded, server, 6)
        found = by_instance(scraped(embedded, server, 6))
    finally:
        server.close()
    consistent(found)
    assert len(found) == 3
    outcomes = {one.envelope.outcome for own in found.values() for one in own}
    assert outcomes <= {Outcome.OK, Outcome.SKIPPED}
    assert sum(one.rows.num_rows > 0 for one in found[ADDRESS]) == 1


def test_further_processes_are_left_out_and_counted(embedded: Embedded) -> None:
    server = Server(Balancer(*processes(PROCESSES_MAX + 1)))
    try:
        scrapes = scraped(embedded, server, 2 * PROCESSES_MAX + 2)
    finally:
        server.close()
    found = by_instance(scrapes)
    assert len(found) == 1 + PROCESSES_MAX
    dropped = [one for one in found[ADDRESS] if "too many" in one.envelope.reason]
    assert len(dropped) == embedded.telemetry.value(Metric.LIMIT_HITS, limit="processes_max") > 0
    assert all(one.rows.num_rows == 0 for one in dropped)


@pytest.mark.parametrize("families", ["core", "all"])
def test_what_is_kept_of_an_address_is_kept_of_who_answers_there(
    embedded: Embedded, families: Literal["core", "all"]
) -> None:
    server = Server(Balancer(*processes(2)))
    try:
        scrapes = scraped(embedded, server, 6, families)
    finally:
        server.close()
    members = [one for one in scrapes if one.envelope.instance != ADDRESS and one.rows.num_rows]
    assert len(members) > 2
    metrics = [set(one.rows.column("metric").to_pylist()) for one in members]
    assert [families == "all"] * len(members) == [BULK in one for one in metrics]
    assert len({one.envelope.family_filter for one in members}) == 1


def test_who_is_not_seen_for_long_is_removed_and_so_are_all_with_their_address(
    embedded: Embedded,
) -> None:
    checkpoint = Checkpoint(embedded.settings.data)
    scraper = Scraper(embedded.settings, Clock(), embedded.telemetry)
    reports = Reports(checkpoint, scraper, embedded.sender, embedded.telemetry)
    addresses = Addresses(checkpoint, reports, embedded.telemetry)
    target = Target("rehearsal", "apiserver", ADDRESS)
    now_ms = round(time.time() * 1000)
    old_ms, young_ms = (now_ms - days * DAY_S * 1000 for days in (3, 1))

    def answer(start_ms: int, minute: int) -> str:
        at_ms = now_ms + minute * 60_000
        whose, _ = addresses.whose(reports.attempt(target, {}, at_ms, 15_000), start_ms, at_ms)
        return whose.target.instance

    def removed() -> list[str]:
        embedded.sender.flush(WAIT_S)
        records = read_all(embedded.bootstrap, full_name(TopicName.SCRAPES, "planewatch"))
        found = [decode_scrape(record.value()).envelope for record in records]
        assert {Outcome.REMOVED} == {one.outcome for one in found}
        return [one.instance for one in found]

    _, young, old = answer(old_ms, 0), answer(young_ms, 1), answer(old_ms, 2)
    assert [old] * 14 == [answer(old_ms, minute) for minute in range(3, 17)]
    assert [young] == removed()
    assert old == addresses.reader(target, b"", str(old_ms // 1000)).instance
    assert [] == checkpoint.removed([target])
    addresses.remove(target, "gone", now_ms + 18 * 60_000)
    assert [young, old, ADDRESS] == removed()
    checkpoint.save()
    assert [] == Checkpoint(embedded.settings.data).removed([])
