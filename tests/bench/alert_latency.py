"""From trouble at an endpoint to an alert that somebody holds, beside Prometheus.

In: 30 targets whose condition becomes true at random moments, scraped every second and then every
15 s. Ours: the processes of producers and streams on a real Kafka; an alert is there when a
consumer has its record from the topic. Prometheus (Debian) scrapes the same targets at the same
interval, evaluates the same rule as often, and POSTs to an Alertmanager of ours on loopback. Out:
p50 and p99 of both. Rule: every flip counts, one that was never heard fails the bench; both run at
the same time and see the same flips. The worse ratio of medians counts. Who polls waits for half an
interval; Prometheus waits for its next evaluation as well: half of its median is the floor here.

How many flips a target has may be given: `alert_latency.py 2 1` (at 1 s, at 15 s).
"""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import Consumer, TopicPartition

from schemas.codec import decode
from schemas.records import Alert, Status
from schemas.topics import TopicName, full_name
from tests.bench import _report
from tests.bench._flips import ALERT, METRIC, Flips, Heard, planned, served
from tests.kafkalog import create_topics
from tests.services import kafka, prometheus
from tests.services.kafka import KafkaBroker
from tests.services.stages import Stages

NAME = "alert_latency"
CLUSTERS, TARGETS = 10, 3
FLIPS = {1: 6, 15: 2}
"""By interval in seconds."""
PARTITIONS = 4
PREFIX = "bench"
SETTLE_INTERVALS = 6
GOAL = 1 / 3

RULES = {
    "groups": [
        {
            "name": "bench",
            "rules": [
                {"alert": ALERT, "expr": f"{METRIC} == 1", "labels": {"severity": "critical"}}
            ],
        }
    ]
}


def main() -> None:
    """Print both distributions at both intervals, and the worse ratio of medians."""
    flips = dict(zip(FLIPS, map(int, sys.argv[1:3]), strict=False)) or FLIPS
    broker_version = f"Kafka {kafka.VERSION} (Java {kafka.java_version()})"
    _report.head(NAME, prometheus.version(), broker_version)
    ratios = [_compare(interval_s, count) for interval_s, count in flips.items()]
    _report.result(NAME, max(ratios), GOAL, "lower")


def _compare(interval_s: int, count: int) -> float:
    names = [f"t{number}" for number in range(CLUSTERS * TARGETS)]
    plan: dict[str, Flips] = {}
    ours, theirs = Heard(), Heard()
    with (
        tempfile.TemporaryDirectory(prefix="planewatch-bench-") as folder,
        served(plan, theirs) as port,
        KafkaBroker() as broker,
    ):
        rules = Path(folder) / "rules.yaml"
        rules.write_text(yaml.safe_dump(RULES))
        broker.start()
        begin_s = time.time()
        plan |= {name: Flips(name, [], 0.0) for name in names}  # all is well at first
        stages = _stages(Path(folder), rules, broker.bootstrap, port, interval_s)
        server = prometheus.Prometheus(_config(rules, port, interval_s))
        with server, _listening(broker.bootstrap, ours):
            try:
                for stage in ("streams", "producers"):
                    stages.start(stage)
                server.start()
                begin_s = time.time() + SETTLE_INTERVALS * interval_s + 5
                flips = planned(
                    names, begin_s=begin_s, count=count, interval_s=interval_s, seed=interval_s
                )
                plan |= {one.instance: one for one in flips}
                last_s = max(one.begins_s[-1] + one.lasts_s for one in flips)
                time.sleep(last_s + 2 * interval_s - time.time())
            finally:
                stages.close()
    return _show(interval_s, flips, ours, theirs)


def _show(interval_s: int, flips: list[Flips], ours: Heard, theirs: Heard) -> float:
    medians = []
    count = sum(len(one.begins_s) for one in flips)
    print(f"\nscrapes and rules every {interval_s} s: {count} flips of {len(flips)} targets")
    for name, heard in (("Prometheus", theirs), ("planewatch", ours)):
        found, missed = heard.latencies_s(flips)
        assert not missed, f"{name} told nothing of {missed} flips of {count}"
        medians.append(statistics.median(found))
        print(f"{name:12} p50 {medians[-1]:6.2f} s   p99 {_report.percentile(found, 99):6.2f} s")
    return medians[1] / medians[0]


def _targets() -> Iterator[tuple[str, str]]:
    """Yield cluster and name of each target."""
    for number in range(CLUSTERS * TARGETS):
        yield f"c{number // TARGETS}", f"t{number}"


def _stages(folder: Path, rules: Path, bootstrap: str, port: int, interval_s: int) -> Stages:
    clusters: dict[str, list[dict[str, Any]]] = {}
    for cluster, name in _targets():
        url = f"http://127.0.0.1:{port}/metrics?t={name}"
        target = {"job": "bench", "instance": name, "url": url, "interval_s": float(interval_s)}
        clusters.setdefault(cluster, []).append(target)
    tree = {
        "kafka": {
            "bootstrap": bootstrap,
            "prefix": PREFIX,
            "partitions": PARTITIONS,
            "replication": 1,
        },
        "clusters": [{"id": name, "targets": targets} for name, targets in clusters.items()],
        "rules": {"paths": [str(rules)]},
    }
    stages = Stages(folder / "data", tree)
    create_topics(bootstrap, stages.settings)
    return stages


def _config(rules: Path, port: int, interval_s: int) -> str:
    every, here = f"{interval_s}s", f"127.0.0.1:{port}"
    targets = [
        {"targets": [here], "labels": {"cluster": cluster, "instance": name, "__param_t": name}}
        for cluster, name in _targets()
    ]
    managers = {"api_version": "v2", "static_configs": [{"targets": [here]}]}
    tree = {
        "global": {
            "scrape_interval": every,
            "scrape_timeout": every,
            "evaluation_interval": every,
        },
        "rule_files": [str(rules)],
        "alerting": {"alertmanagers": [managers]},
        "scrape_configs": [{"job_name": "bench", "static_configs": targets}],
    }
    return yaml.safe_dump(tree)


@contextmanager
def _listening(bootstrap: str, heard: Heard) -> Iterator[None]:
    """Read the topic of alerts as a subscriber does, and note when firing ones come."""
    topic = full_name(TopicName.ALERTS, PREFIX)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            message = consumer.poll(0.1)
            if message is None or message.error() or message.value() is None:
                continue
            alert = decode(message.value(), Alert)
            if alert.labels["alertname"] == ALERT and alert.status is Status.FIRING:
                heard.note(alert.labels["instance"], alert.starts_at_ms / 1000, time.time())

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        consumer.close()


if __name__ == "__main__":
    main()
