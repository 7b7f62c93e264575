"""The rehearsed control plane: its counters, its two scenarios, its Leases and its log."""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
from prometheus_client.parser import text_string_to_metric_families

from producers.core.loglines import log_line
from producers.rehearsal.curves import Curves
from producers.rehearsal.leases import HISTORY_MAX
from producers.rehearsal.model import World
from producers.rehearsal.story import FLOW_QUEUED_MAX, SERVERS, STORIES, load
from schemas.records import JsonObject

ORIGIN_MS = 1_795_351_800_000
STORM, CALM = STORIES["list-storm"], STORIES["calm"]
STEP_S = 10
WINDOW_S = 60

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Scrape:
    """What one target said at one second of the story: samples by name and labels."""

    second: int
    samples: dict[tuple[str, Labels], float]
    types: dict[str, str]

    def sum(self, name: str, **labels: str) -> float:
        return sum(
            value
            for (sample, found), value in self.samples.items()
            if sample == name and labels.items() <= dict(found).items()
        )


SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')


def parse(second: int, body: bytes) -> Scrape:
    """Read what we wrote: the parser of prometheus_client takes ten times as long."""
    samples: dict[tuple[str, Labels], float] = {}
    types: dict[str, str] = {}
    kind = ""
    for line in body.decode().splitlines():
        if line.startswith("# TYPE"):
            kind = line.rpartition(" ")[2]
        elif found := SAMPLE.fullmatch(line):
            key = found[1], tuple(sorted(LABEL.findall(found[2] or "")))
            assert key not in samples, f"{key} comes twice"
            samples[key], types[found[1]] = float(found[3]), kind
    return Scrape(second, samples, types)


def bodies(scenario: str, job: str) -> Callable[[int], bytes]:
    """The body of a target as a function of event time."""
    world = World(STORIES[scenario], ORIGIN_MS)
    if job == "etcd-1":
        return lambda t_ms: world.etcd(t_ms).body
    number = int(job[-1]) - 1
    return lambda t_ms: world.apiserver(number, t_ms).body


@cache
def scrapes(scenario: str, job: str, until_s: int) -> list[Scrape]:
    body = bodies(scenario, job)
    return [parse(second, body(ORIGIN_MS + second * 1000)) for second in range(0, until_s, STEP_S)]


def at(found: list[Scrape], second: int) -> Scrape:
    return found[second // STEP_S]


def p99_s(found: list[Scrape], second: int, **labels: str) -> float:
    """The upper edge of the bucket that holds the 99th percentile of the last minute."""
    name = "apiserver_request_duration_seconds_bucket"
    now, before = at(found, second), at(found, second - WINDOW_S)
    bounds = sorted({dict(key)["le"] for n, key in now.samples if n == name}, key=float)
    counts = [now.sum(name, le=b, **labels) - before.sum(name, le=b, **labels) for b in bounds]
    assert counts[-1] > 0, labels
    return next(float(b) for b, n in zip(bounds, counts, strict=True) if n >= 0.99 * counts[-1])


def grown(found: list[Scrape], second: int, name: str, **labels: str) -> float:
    return at(found, second).sum(name, **labels) - at(found, second - WINDOW_S).sum(name, **labels)


@pytest.mark.parametrize(
    ("scenario", "job"),
    [("calm", "apiserver-1"), ("list-storm", "apiserver-2"), ("list-storm", "etcd-1")],
)
def test_the_parser_of_prometheus_reads_what_we_wrote(scenario: str, job: str) -> None:
    for second in (0, 330, 600):
        body = bodies(scenario, job)(ORIGIN_MS + second * 1000)
        theirs = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }
        ours = parse(second, body).samples
        # their parser ends the names of all counters with _total
        assert theirs.items() >= {k: v for k, v in ours.items() if k in theirs}.items()
        assert len(theirs) == len(ours)


# --- what holds for every body -------------------------------------------------------------------

EVERY = [
    ("calm", "apiserver-1", 300),
    ("calm", "etcd-1", 300),
    ("list-storm", "apiserver-1", 660),
    ("list-storm", "apiserver-2", 660),
    ("list-storm", "etcd-1", 660),
]


@pytest.mark.parametrize(("scenario", "job", "until_s"), EVERY)
def test_counters_and_histograms_never_fall(scenario: str, job: str, until_s: int) -> None:
    found = scrapes(scenario, job, until_s)
    for before, after in itertools.pairwise(found):
        fallen = {
            key: (value, after.samples.get(key))
            for key, value in before.samples.items()
            if before.types[key[0]] in {"counter", "histogram"}
            and after.samples.get(key, -1) < value
        }
        assert {} == fallen, f"between {before.second} s and {after.second} s"


@pytest.mark.parametrize(("scenario", "job", "until_s"), EVERY)
def test_histograms_agree_with_their_sums_and_counts(scenario: str, job: str, until_s: int) -> None:
    for scrape in scrapes(scenario, job, until_s)[::20]:
        buckets: dict[tuple[str, Labels], list[tuple[float, float]]] = {}
        for (name, labels), value in scrape.samples.items():
            if name.endswith("_bucket"):
                rest = tuple(pair for pair in labels if pair[0] != "le")
                series = name.removesuffix("_bucket"), rest
                buckets.setdefault(series, []).append((float(dict(labels)["le"]), value))
        assert buckets
        for (name, labels), pairs in buckets.items():
            edges, counts = zip(*sorted(pairs), strict=True)
            assert list(counts) == sorted(counts), (name, labels)
            assert counts[-1] == scrape.samples[f"{name}_count", labels]
            inside = [n - m for n, m in zip(counts, (0.0, *counts), strict=False)]
            lower = sum(n * edge for n, edge in zip(inside, (0.0, *edges), strict=False))
            finite = [*edges[:-1], edges[-2] * 2]
            upper = sum(n * edge for n, edge in zip(inside, finite, strict=True))
            assert lower - 1e-6 <= scrape.samples[f"{name}_sum", labels] <= upper + 1e-6


def test_a_moment_has_one_value_whoever_asks_and_how_often() -> None:
    world, other = World(STORM, ORIGIN_MS), World(STORM, ORIGIN_MS)
    world.apiserver(0, ORIGIN_MS + 400_000)

    assert world.apiserver(0, ORIGIN_MS + 123_456) == other.apiserver(0, ORIGIN_MS + 123_456)


def test_sizes_suit_the_embedded_broker() -> None:
    for job in ("apiserver-1", "apiserver-2"):
        assert 1_500 <= len(at(scrapes("list-storm", job, 660), 300).samples) <= 3_000


def test_requests_and_their_durations_tell_the_same() -> None:
    found = scrapes("list-storm", "apiserver-1", 660)
    for second in (60, 300, 600):
        scrape = at(found, second)
        answered = scrape.sum("apiserver_request_total") - scrape.sum(
            "apiserver_request_total", code="429"
        )
        measured = scrape.sum("apiserver_request_duration_seconds_count")
        assert measured == pytest.approx(answered, rel=0.005)


# --- calm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [60, 180, 290])
def test_calm_is_quick_and_refuses_nobody(second: int) -> None:
    found = scrapes("calm", "apiserver-1", 300)

    assert p99_s(found, second, verb="LIST") < 1
    assert p99_s(found, second, verb="GET") < 1
    scrape = at(found, second)
    assert 0 == scrape.sum("apiserver_request_total", code="429")
    assert 0 == scrape.sum("apiserver_flowcontrol_current_inqueue_requests")
    assert not any(name.startswith("apiserver_flowcontrol_rejected") for name, _ in scrape.samples)
    assert 0.8 < grown(found, second, "process_cpu_seconds_total") / WINDOW_S < 1.8


def test_calm_goes_on_for_ever() -> None:
    world = World(CALM, ORIGIN_MS)
    month_ms = 30 * 86_400_000
    early, late = (
        parse(0, world.apiserver(0, ORIGIN_MS + month_ms + t_ms).body) for t_ms in (0, 60_000)
    )

    name = "apiserver_request_total"
    assert 60 <= (late.sum(name) - early.sum(name)) / 60 <= 75


# --- the storm -----------------------------------------------------------------------------------


@pytest.mark.parametrize("server", range(SERVERS))
def test_latency_comes_first_then_the_queue_then_refusals(server: int) -> None:
    seconds = range(STORM.length_s)
    told = load(STORM, server)
    slow = next(s for s in seconds if told.at(s).list_s > 2 * told.at(0).list_s)
    queue = next(s for s in seconds if told.at(s).queued > 10)
    refused = next(s for s in seconds if told.at(s).rejected > 0)

    assert 90 < slow < queue < refused < 300
    assert FLOW_QUEUED_MAX == max(told.queued)


@pytest.mark.parametrize("job", ["apiserver-1", "apiserver-2"])
def test_at_its_height_everything_waits_and_some_are_refused(job: str) -> None:
    found = scrapes("list-storm", job, 660)

    assert p99_s(found, 60, verb="LIST") < 1
    assert p99_s(found, 330, verb="LIST", scope="cluster") > 5
    assert p99_s(found, 330, verb="GET", scope="resource") > 1
    assert at(found, 330).sum("apiserver_flowcontrol_current_inqueue_requests") > 100
    share = grown(found, 330, "apiserver_request_total", code="429") / grown(
        found, 330, "apiserver_request_total"
    )
    assert share > 0.02
    assert grown(found, 330, "process_cpu_seconds_total") / WINDOW_S > 7.5


def test_refusals_are_counted_alike_wherever_they_are_counted() -> None:
    scrape = at(scrapes("list-storm", "apiserver-1", 660), 600)

    total = scrape.sum("apiserver_request_total", code="429")
    for name in (
        "apiserver_flowcontrol_rejected_requests_total",
        "apiserver_request_terminations_total",
    ):
        assert total == pytest.approx(scrape.sum(name), rel=0.01)


def test_after_the_storm_it_is_calm_again() -> None:
    found = scrapes("list-storm", "apiserver-1", 660)

    assert STORM.length_s < 600
    assert p99_s(found, 600, verb="LIST") < 1
    assert 0 == grown(found, 600, "apiserver_request_total", code="429")
    assert 0 == at(found, 600).sum("apiserver_flowcontrol_current_inqueue_requests")


def test_etcd_stays_well_in_the_storm() -> None:
    found = scrapes("list-storm", "etcd-1", 660)
    for second in range(60, 655, STEP_S):
        assert 1 == at(found, second).sum("etcd_server_has_leader")
        assert 0 == grown(found, second, "etcd_server_leader_changes_seen_total")
    slow = grown(found, 330, "etcd_disk_wal_fsync_duration_seconds_count") - grown(
        found, 330, "etcd_disk_wal_fsync_duration_seconds_bucket", le="0.064"
    )
    assert slow <= 1


# --- Leases and the log --------------------------------------------------------------------------


def renewals(scenario: str, until_s: int) -> dict[str, list[float]]:
    """Seconds at which each lease was renewed."""
    world = World(STORIES[scenario], ORIGIN_MS)
    found: dict[str, list[float]] = {}
    version = world.leases.version
    for second in range(until_s):
        world.leases.advance(ORIGIN_MS + second * 1000)
        for event in world.leases.since(version):
            assert event.resource_version > version, "versions only grow"
            version = event.resource_version
            found.setdefault(event.object["metadata"]["name"], []).append(second)
    return found


def test_leaders_renew_every_two_seconds_and_identities_every_ten() -> None:
    found = renewals("calm", 102)

    assert {"kube-controller-manager": 51, "kube-scheduler": 50} == {
        name: len(at_s) for name, at_s in found.items() if name.startswith("kube")
    }
    assert [10, 10] == [len(at_s) for name, at_s in found.items() if name.startswith("apiserver-")]


def test_renewals_come_late_at_the_height_and_no_leader_gives_up() -> None:
    gaps = [
        after - before
        for at_s in [renewals("list-storm", 540)["kube-scheduler"]]
        for before, after in itertools.pairwise(at_s)
    ]

    assert 5 <= max(gaps) < 10
    assert 2 == min(gaps)


def test_history_of_leases_is_bounded_and_says_where_it_begins() -> None:
    world = World(CALM, ORIGIN_MS)
    first = world.leases.version
    world.leases.advance(ORIGIN_MS + 3_600_000)

    assert HISTORY_MAX == len(world.leases.since(0))
    assert world.leases.oldest > first
    assert HISTORY_MAX == len(world.leases.since(world.leases.oldest))


def test_objects_of_a_list_are_those_of_the_newest_events() -> None:
    world = World(CALM, ORIGIN_MS)
    world.leases.advance(ORIGIN_MS + 60_000)
    newest: dict[str, JsonObject] = {}
    for event in world.leases.since(0):
        newest[event.object["metadata"]["uid"]] = event.object

    assert newest == {one["metadata"]["uid"]: one for one in world.leases.objects()}


def test_log_lines_are_those_of_etcd_whatever_the_spans() -> None:
    world = World(STORM, ORIGIN_MS)
    end_ms = ORIGIN_MS + 600_000
    at_once = world.log(ORIGIN_MS, end_ms)
    in_pieces = [
        line
        for after_ms in range(ORIGIN_MS, end_ms, 250)
        for line in world.log(after_ms, after_ms + 250)
    ]

    assert at_once == in_pieces
    parsed = [log_line(raw.decode().strip(), 0) for raw in at_once]
    assert sorted(line.ts_ms for line in parsed) == [line.ts_ms for line in parsed]
    assert all(ORIGIN_MS < line.ts_ms <= end_ms for line in parsed)
    assert {"apply request took too long", "finished scheduled compaction"} <= {
        line.template for line in parsed
    }
    assert all(json.loads(raw)["caller"] for raw in at_once)


def test_a_curve_without_a_story_grows_at_its_calm_rate() -> None:
    curves = Curves(["a"], 2.0 * load(CALM, 0).lists[:, None, None] / load(CALM, 0).lists[0])

    minute = curves.at(3_660.0) - curves.at(3_600.0)
    assert minute[0, 0] == pytest.approx(120, rel=0.15)
