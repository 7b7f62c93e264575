"""Real captures through producers, streams and sinks as processes, on a real Kafka broker.

    event time   0 s .............. 60 s        70 s                90 s
    cluster      load, 12 scrapes   | etcd1 gone | etcd2 gone as well, API servers hang
    captures     every other capture, Kubernetes 1.31, 1.35 and 1.36, served unchanged

The cluster is the captured one: what refused, refuses; what hung, hangs. Event time runs at twice
the speed of the wall clock.
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, TopicPartition

from schemas import run
from schemas.clock import Clock, ClockWriter
from schemas.topics import TopicName, full_name
from tests import fixtures, independent
from tests.independent import Scraped, Target
from tests.services.replay import Answer, Replay, Step
from tests.services.stages import Stages

ORIGIN_MS = 1_795_351_800_000
STEP_MS = 5_000
LOAD_STEPS = 12
FAILED_AT = LOAD_STEPS
STEPS = 18
SPEED = 2.0
CLUSTER, CAPTURES = "captured", "captures"
JOBS = {"apiserver": "apiserver", "etcd": "etcd"}
SINK_TOPICS = (
    *(TopicName.SCRAPES, TopicName.CHANGES, TopicName.LOGS),
    *(TopicName.INDICATORS, TopicName.ALERTS, TopicName.DEAD_LETTERS),
)
OWN_RULES = """\
groups:
  - name: own
    interval: 15s
    rules:
      - record: own:request:rate_20s
        expr: sum by (verb, code) (rate(apiserver_request_total{job="apiserver"}[20s]))
"""


@dataclass(frozen=True, slots=True)
class Story:
    """All that was stored, and all that was served."""

    client: Client
    cluster: Replay
    captures: Replay
    prefix: str
    bootstrap: str

    def query(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return rows of a query through the read-only front."""
        return [tuple(row) for row in self.client.query(sql, parameters=parameters).result_rows]

    def scrapes(self, instance: str, outcome: str = "ok") -> list[tuple[int, int]]:
        """Return (start_ms, rows) of the scrapes of an instance in the order of their ticks."""
        return self.query(
            "SELECT toUnixTimestamp64Milli(ts), rows FROM scrapes "
            "WHERE instance = {instance:String} AND outcome = {outcome:String} ORDER BY tick",
            instance=instance,
            outcome=outcome,
        )

    def target(self, instance: str) -> Target:
        """Return what the load phase served of an instance of the cluster."""
        load = [
            Scraped(start_ms, body)
            for (start_ms, _), body in zip(
                self.scrapes(instance), self.cluster.served[instance], strict=True
            )
            if start_ms < ORIGIN_MS + LOAD_STEPS * STEP_MS
        ]
        return Target({"instance": instance, "job": _job(instance)}, load)


@pytest.fixture(scope="module")
def story(
    kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory, shared_fixtures: Path
) -> Iterator[Story]:
    """Play everything once; the tests below look at what came of it."""
    folder = tmp_path_factory.mktemp("captures")
    prefix = f"captures{random.randrange(10**9)}"
    writer = ClockWriter(folder / "clock", event_ms=ORIGIN_MS - 60_000, speed=1.0)
    clock = Clock(folder / "clock")
    cluster = Replay(_timelines(), clock, origin_ms=ORIGIN_MS, step_ms=STEP_MS)
    captures = Replay(_captures(), clock, origin_ms=ORIGIN_MS, step_ms=STEP_MS)
    (folder / "own.yaml").write_text(OWN_RULES)
    stages = Stages(
        folder / "data",
        {
            "kafka": {
                "bootstrap": kafka_bootstrap,
                "prefix": prefix,
                "partitions": 2,
                "replication": 1,
            },
            "clusters": [
                _settings(CLUSTER, cluster, interval_s=STEP_MS / 1000, timeout_s=8.0),
                _settings(CAPTURES, captures, interval_s=60.0, timeout_s=25.0),
            ],
            "clock": {"file": str(folder / "clock")},
            "rules": {"paths": [str(folder / "own.yaml")]},
        },
    )
    try:
        stages.start("producers", wait=False)  # makes the topics
        _wait(lambda: _exists(kafka_bootstrap, prefix), "topics")
        for stage in ("sinks", "streams"):
            stages.start(stage)
        _forward(writer, clock, ORIGIN_MS)
        _wait(lambda: clock.now_ms() > ORIGIN_MS + STEPS * STEP_MS, "the end of the story")
        stages.stop("producers")
        front = stages.settings
        found = run.find(front, run.FRONT)
        assert found
        client = _connect(found)
        _wait(lambda: _stored(client) == _on_broker(kafka_bootstrap, prefix), "all to be stored")
        stages.stop("streams")
        _wait(lambda: _stored(client) == _on_broker(kafka_bootstrap, prefix), "the rest")
        yield Story(client, cluster, captures, prefix, kafka_bootstrap)
        client.close()
    finally:
        stages.close()
        cluster.close()
        captures.close()


def test_nothing_became_a_dead_letter(story: Story) -> None:
    assert [] == story.query("SELECT * FROM dead_letters")
    assert [] == story.query("SELECT topic, error FROM records WHERE outcome != 'stored'")


def test_records_are_what_kafka_has_once_each(story: Story) -> None:
    doubled = "SELECT _p, _o, count() FROM records GROUP BY _p, _o HAVING count() > 1"
    assert [] == story.query(doubled)
    assert _on_broker(story.bootstrap, story.prefix) == _stored(story.client)


def test_rows_equal_the_series_of_each_exposition(story: Story) -> None:
    stored = dict(
        story.query(
            "SELECT (instance, ts), count() FROM (SELECT instance, ts FROM samples "
            "UNION ALL SELECT instance, ts FROM histograms) GROUP BY instance, ts"
        )
    )
    for replay in (story.cluster, story.captures):
        for instance, bodies in replay.served.items():
            scrapes = story.query(
                "SELECT ts, rows FROM scrapes WHERE instance = {i:String} AND outcome = 'ok' "
                "ORDER BY tick",
                i=instance,
            )
            expected = [independent.folded_rows(body) for body in bodies]
            assert expected == [rows for _, rows in scrapes], instance
            assert expected == [stored[instance, ts] for ts, _ in scrapes], instance


def test_spot_values_are_equal(story: Story) -> None:
    """Fifty random samples of every capture that has them, by metric and labels."""
    for instance, bodies in story.captures.served.items():
        (ts,) = story.query(
            "SELECT min(ts) FROM scrapes WHERE instance = {i:String} AND outcome = 'ok'", i=instance
        )[0]
        values = {
            (metric, frozenset(labels.items())): value
            for metric, labels, value in _stored_samples(story, instance, ts)
        }
        plain = {
            key: value
            for key, value in independent.samples(bodies[0]).items()
            if key in values  # not of a histogram or summary; not renamed by the other parser
        }
        assert len(plain) > 100, instance
        for key in random.Random(instance).sample(sorted(plain, key=str), 50):  # seeded
            assert plain[key] == values[key], key


def test_failed_scrapes_are_rows_that_say_how(story: Story) -> None:
    assert story.scrapes("etcd1", "refused")
    assert story.scrapes("etcd2", "refused")
    assert story.scrapes("apiserver2", "timeout")
    gaps = story.query(
        "SELECT cluster, instance FROM scrapes WHERE outcome != 'silent' GROUP BY 1, 2 "
        "HAVING max(sequence) - min(sequence) + 1 != uniqExact(sequence)"
    )
    assert [] == gaps


def test_indicators_equal_an_independent_computation(story: Story) -> None:
    servers = [story.target(instance) for instance in ("apiserver1", "apiserver2")]
    members = [story.target(instance) for instance in ("etcd1", "etcd2", "etcd3")]
    requests = "apiserver_request_total"
    durations = "apiserver_request_duration_seconds_bucket"
    for t_ms in range(ORIGIN_MS + 30_000, ORIGIN_MS + 60_001, 15_000):
        _equal(
            _indicator(story, "apiserver:request:rate_5m", t_ms),
            independent.summed_rate(
                servers,
                requests,
                lambda _: True,
                ("instance", "verb", "group", "resource", "scope", "code"),
                t_ms=t_ms,
                window_ms=300_000,
            ),
        )
        _equal(
            _indicator(story, "own:request:rate_20s", t_ms),
            independent.summed_rate(
                servers, requests, lambda _: True, ("verb", "code"), t_ms=t_ms, window_ms=20_000
            ),
        )
        _equal(
            _indicator(story, "apiserver:request:latency_p99_5m", t_ms),
            independent.quantile(
                0.99,
                independent.summed_rate(
                    servers,
                    durations,
                    lambda labels: labels["verb"] not in {"WATCH", "WATCHLIST", "CONNECT"},
                    ("verb", "resource", "scope", "le"),
                    t_ms=t_ms,
                    window_ms=300_000,
                ),
            ),
        )
        _equal(
            _indicator(story, "etcd:raft:commit_rate_5m", t_ms),
            independent.summed_rate(
                members,
                "etcd_server_proposals_committed_total",
                lambda _: True,
                ("instance",),
                t_ms=t_ms,
                window_ms=300_000,
            ),
        )
        _equal(
            _indicator(story, "etcd:db:size_bytes", t_ms),
            independent.summed_gauge(
                members,
                "etcd_mvcc_db_total_size_in_bytes",
                lambda _: True,
                ("instance",),
                t_ms=t_ms,
            ),
        )


def test_only_watchdog_fires_under_load_and_the_lost_member_within_two_scrapes(
    story: Story,
) -> None:
    fired = {
        (alertname, instance): starts_ms
        for alertname, instance, starts_ms in story.query(
            "SELECT JSONExtractString(labels, 'alertname'), "
            "JSONExtractString(labels, 'instance'), min(toUnixTimestamp64Milli(starts_at)) "
            "FROM v_alerts WHERE cluster = {c:String} GROUP BY 1, 2",
            c=CLUSTER,
        )
    }
    load_end_ms = ORIGIN_MS + LOAD_STEPS * STEP_MS
    assert {"Watchdog"} == {name for (name, _), at_ms in fired.items() if at_ms < load_end_ms}
    (first_failed_ms, _) = story.scrapes("etcd1", "refused")[0]
    assert fired["EtcdMemberDown", "etcd1"] <= first_failed_ms + 2 * STEP_MS


# --- what the story is made of -------------------------------------------------------------------


def _timelines() -> dict[str, list[Step]]:
    """What each process of the captured cluster did, step by step of 5 s; what lasts, lasts."""
    phases = [("load", 0), ("after-election", FAILED_AT), ("quorum-lost", FAILED_AT + 2)]
    timelines: dict[str, list[Step]] = {}
    for phase, first in phases:
        entries = fixtures.cluster_phase(phase)
        begin_ms = min(entry.t_ms for entry in entries)
        for entry in entries:
            step = first + round((entry.t_ms - begin_ms) / STEP_MS)
            steps = timelines.setdefault(entry.instance, [])
            steps += [steps[-1]] * (step - len(steps)) if steps else []
            if step == len(steps) and step < STEPS:
                steps.append(_step(entry))
    return timelines


def _step(entry: fixtures.Scrape) -> Step:
    if entry.error is None:
        return Step(Answer.BODY, entry.body())
    return Step(Answer.REFUSED if "refused" in entry.error else Answer.SILENCE)


def _captures() -> dict[str, list[Step]]:
    """Every other capture: Kubernetes 1.31 and 1.35, and the 1.36 phases that are not the story."""
    bodies = {name: fixtures.metrics(name) for name in fixtures.metrics_names()}
    for phase in ("idle", "burst", "load-formats"):
        for entry in fixtures.cluster_phase(phase):
            bodies[f"{phase}-{entry.instance}"] = entry.body()
    return {name: [Step(Answer.BODY, body)] for name, body in bodies.items()}


def _job(instance: str) -> str:
    name = instance.removesuffix("-0").rstrip("0123456789")
    for part, job in (("api", "apiserver"), ("etcd", "etcd"), ("scheduler", "kube-scheduler")):
        if part in name:
            return job
    return "kube-controller-manager"


def _settings(cluster: str, replay: Replay, *, interval_s: float, timeout_s: float) -> Any:
    return {
        "id": cluster,
        "targets": [
            {
                "job": _job(instance),
                "instance": instance,
                "url": f"http://127.0.0.1:{port}/metrics",
                "interval_s": interval_s,
                "timeout_s": timeout_s,
            }
            for instance, port in replay.ports.items()
        ],
    }


def _forward(writer: ClockWriter, clock: Clock, event_ms: int) -> None:
    """Let the time before the story pass quickly, then run it at its speed."""
    writer.set_speed(SPEED)
    _wait(lambda: clock.now_ms() >= event_ms, "the story to begin")


# --- what came of it -----------------------------------------------------------------------------


def _indicator(story: Story, metric: str, t_ms: int) -> dict[independent.Group, float]:
    labels = ("instance", "verb", "group", "resource", "scope", "code")
    rows = story.query(
        "SELECT JSONExtractString(labels, 'instance'), verb, group, resource, scope, code, value "
        "FROM v_indicators WHERE cluster = {c:String} AND metric = {m:String} "
        "AND toUnixTimestamp64Milli(ts) = {t:Int64}",
        c=CLUSTER,
        m=metric,
        t=t_ms,
    )
    return {
        tuple((name, text) for name, text in zip(labels, row[:-1], strict=True) if text): row[-1]
        for row in rows
    }


def _equal(found: dict[independent.Group, float], expected: dict[independent.Group, float]) -> None:
    assert expected
    wanted = {
        frozenset(group): value
        for group, value in expected.items()
        if not math.isnan(value)  # a quantile of nothing is no result
    }
    got = {frozenset(group): value for group, value in found.items()}
    assert wanted.keys() == got.keys()
    for group, value in wanted.items():
        assert got[group] == pytest.approx(value, rel=1e-9, abs=1e-12), group


def _stored_samples(story: Story, instance: str, ts: Any) -> Iterator[tuple[str, Any, float]]:
    core = "verb,group,resource,subresource,scope,code,name,type,operation,flow_schema"
    names = [*core.split(","), "priority_level"]
    rows = story.query(
        f"SELECT metric, {', '.join(f'`{name}`' for name in names)}, labels, value FROM samples "
        "WHERE instance = {i:String} AND ts = {t:DateTime64(3)}",
        i=instance,
        t=ts,
    )
    for metric, *values, others, value in rows:
        labels = {name: text for name, text in zip(names, values, strict=True) if text}
        yield metric, labels | _json(others), value


def _json(text: str) -> dict[str, str]:
    return dict(json.loads(text)) if text else {}


def _connect(front: run.Facts) -> Client:
    host, _, port = str(front["url"]).removeprefix("http://").rstrip("/").rpartition(":")
    return clickhouse_connect.get_client(
        host=host,
        port=int(port),
        username="planewatch",
        password=front["token"],
        database=front["database"],
        autogenerate_session_id=False,
    )


def _stored(client: Client) -> dict[tuple[str, int], int]:
    rows = client.query(
        "SELECT topic, bitAnd(_p, 65535), uniqExact(_o) FROM records GROUP BY 1, 2"
    ).result_rows
    return {(topic, partition): n for topic, partition, n in rows}


def _on_broker(bootstrap: str, prefix: str) -> dict[tuple[str, int], int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{prefix}-count"})
    try:
        counts = {}
        for topic in SINK_TOPICS:
            for partition in range(2):
                where = TopicPartition(full_name(topic, prefix), partition)
                low, high = consumer.get_watermark_offsets(where)
                if high > low:
                    counts[str(topic), partition] = high - low
        return counts
    finally:
        consumer.close()


def _exists(bootstrap: str, prefix: str) -> bool:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{prefix}-look"})
    try:
        topics = consumer.list_topics(timeout=5).topics
        return all(full_name(name, prefix) in topics for name in TopicName)
    finally:
        consumer.close()


def _wait(until: Callable[[], bool], what: str, *, timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.1)
