"""The worker and the broker die under load, again and again: no alert and no indicator is changed.

What was published is compared with what the pure core makes of the very same log in one undisturbed
life (tests/undisturbed.py). Not with a second worker: that would write `silent` records of its own
by its own clock, and what both do wrong in the same way would stay unseen.
"""

import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from schemas.partition import partition_of
from schemas.topics import TopicName, full_name
from streams.rulefiles import shipped_files
from tests.incidents import RULES, recorded
from tests.kafkalog import KafkaLog, create_topics
from tests.services.kafka import KafkaBroker
from tests.services.outages import WORKER, Feed, Outages, Progress, Record
from tests.services.stages import Stages
from tests.shards import chunked
from tests.undisturbed import SHOWN_MAX, Published, differences, published

PARTITIONS = 4
CLUSTERS = ("north", "south")
FOUR_CLUSTERS = ("north", "south", "alpha", "centre")
"""On a partition each."""
SHORT_MINUTES = 16
ASSIGNED = re.compile(r"assigned partitions=(\S+)")
EVERY = {*"0123"}
SHIPPED = ("control-plane.yaml", "etcd.yaml", "kube-apiserver.yaml")
PATIENCE_S = 300.0
FIRES_AND_ENDS = {
    *("MoreThanBefore", "MoreThanUsual", "Flaps", "FlapsSlowly"),
    *("EtcdDiskSlow", "EtcdMemberDown", "EtcdNoLeader", "EtcdLeaderChanges"),
    *("EtcdProposalsPending", "EtcdApplyBacklog", "EtcdHighNumberOfFailedGRPCRequests"),
    *("KubeAPIServerDown", "KubeAPIServerLatencyHigh", "KubeAPIServerThrottling"),
    "SaturationImminent",
}


def settings_tree(folder: Path, bootstrap: str, prefix: str) -> dict[str, Any]:
    """Rules are copied: a file that changes meanwhile is another test."""
    rules = folder / "rules"
    rules.mkdir(parents=True, exist_ok=True)
    (rules / "own.yaml").write_text(RULES)
    for path, text in shipped_files().items():
        if Path(path).name in SHIPPED:
            (rules / Path(path).name).write_text(text)
    kafka = {"bootstrap": bootstrap, "prefix": prefix, "partitions": PARTITIONS, "replication": 1}
    return {
        "kafka": kafka,
        "rules": {"paths": [str(rules)], "shipped": False},
        "streams": {"instance_id": "one"},
    }


def records(prefix: str, clusters: tuple[str, ...], minutes: int) -> Iterator[Record]:
    """Yield the records of each scrape; those of API servers in two chunks."""
    topic = full_name(TopicName.SCRAPES, prefix)
    for one in recorded(clusters, minutes):
        envelope = one.envelope
        key = f"{envelope.cluster}/{envelope.job}/{envelope.instance}".encode()
        for value in chunked(one, chunks_of(one.rows.num_rows, envelope.job)):
            yield topic, partition_of(envelope.cluster, PARTITIONS), key, value


def chunks_of(rows: int, job: str) -> int:
    return 2 if rows and job == "apiserver" else 1


def count_of(clusters: tuple[str, ...], minutes: int) -> int:
    """Return how many records there will be."""
    return sum(
        chunks_of(one.rows.num_rows, one.envelope.job) for one in recorded(clusters, minutes)
    )


@pytest.mark.parametrize(
    ("kills", "minutes"),
    [(10, 40), pytest.param(200, 240, marks=pytest.mark.torture)],
    ids=["10", "200"],
)
def test_kills_of_worker_and_broker_change_nothing(
    kafka_broker: KafkaBroker, topic_prefix: str, tmp_path: Path, kills: int, minutes: int
) -> None:
    stages = Stages(
        tmp_path / "data", settings_tree(tmp_path, kafka_broker.bootstrap, topic_prefix)
    )
    create_topics(kafka_broker.bootstrap, stages.settings)
    progress = Progress(
        kafka_broker.bootstrap, full_name(TopicName.INDICATORS, topic_prefix), PARTITIONS
    )
    outages = Outages(kafka_broker, stages, progress, random.Random(kills))
    try:
        stages.start(WORKER)
        feed = Feed(
            kafka_broker.bootstrap,
            records(topic_prefix, CLUSTERS, minutes),
            count_of(CLUSTERS, minutes),
        )
        outages.run(kills, feed)
        feed.finish()
        log = KafkaLog(kafka_broker.bootstrap, topic_prefix)
        until(lambda: all_read(log), outages.tend, stages)
        assert 0 == stages.stop(WORKER), stages.tail(WORKER)
        found = published(kafka_broker.bootstrap, topic_prefix)
        tell(outages, found)
        assert [] == outages.ended  # it outlives its broker
        assert_nothing_changed(stages, kafka_broker.bootstrap, found)
        assert [] == log.read(TopicName.DEAD_LETTERS)
        changes = found.transitions()
        missing = {
            name
            for name in FIRES_AND_ENDS
            if not {(name, "firing"), (name, "resolved")} <= changes.keys()
        }
        assert set() == missing
        assert ("BudgetBurns", "firing") in changes
    finally:
        stages.close()
        progress.close()


def assert_nothing_changed(stages: Stages, bootstrap: str, found: Published) -> None:
    wrong = differences(stages.settings, bootstrap, found)
    shown = "\n".join(wrong[:SHOWN_MAX])
    assert not wrong, f"{len(wrong)} differences:\n{shown}"


def all_read(log: KafkaLog) -> bool:
    """Tell whether every scrape was handled, and is known to be; a broker may still be starting."""
    with suppress(KafkaException):
        ends = Counter(one.partition for one in log.read(TopicName.SCRAPES))
        return all(
            log.committed(TopicName.SCRAPES, partition, WORKER) == end
            for partition, end in ends.items()
        )
    return False


def until(true: Callable[[], bool], tend: Callable[[], None], stages: Stages) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, stages.tail(WORKER)
        tend()
        time.sleep(1.0)


def tell(outages: Outages, found: Published) -> None:
    """Print what the note reports."""
    print(f"\n{outages.kills} kills, {len(found.indicators)} results, {len(found.alerts)} changes")
    print(f"said twice: {dict(found.repeats)}; ended by itself: {Counter(outages.ended)}")
    recoveries = outages.recoveries(found.times_ms)
    for who in sorted({who for who, _ in recoveries}):
        all_s = [s for name, s in recoveries if name == who]
        took_s = sorted(filter(isfinite, all_s))
        times = f"{took_s[0]:.1f} to {took_s[-1]:.1f} s" if took_s else "-"
        middle = f"{statistics.median(took_s):.1f} s" if took_s else "-"
        print(
            f"{who} died {len(all_s)} times: evaluated again after {times}, median {middle};",
            end="",
        )
        print(f" {len(all_s) - len(took_s)} cut short by the next kill")


def test_workers_that_join_and_leave_change_nothing(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """One worker, a second joins, the first leaves, returns; then the second is killed."""
    tree = settings_tree(tmp_path, kafka_bootstrap, topic_prefix)
    one = Stages(tmp_path / "one", tree)
    two = Stages(tmp_path / "two", tree | {"streams": {"instance_id": "two"}})
    create_topics(kafka_bootstrap, one.settings)
    log = KafkaLog(kafka_bootstrap, topic_prefix)
    count = count_of(FOUR_CLUSTERS, SHORT_MINUTES)
    try:
        one.start(WORKER)
        feed = Feed(kafka_bootstrap, records(topic_prefix, FOUR_CLUSTERS, SHORT_MINUTES), count)
        keep_up(feed, 0.2, one)
        two.start(WORKER, wait=False)
        keep_up(feed, 0.4, two, lambda: share(one, two))
        assert 0 == one.stop(WORKER), one.tail(WORKER)
        keep_up(feed, 0.6, two, lambda: owned(two) == EVERY)
        one.start(WORKER, wait=False)
        keep_up(feed, 0.8, one, lambda: share(one, two))
        two.kill(WORKER)
        keep_up(feed, 1.0, one, lambda: owned(one) == EVERY)
        feed.finish()
        until(lambda: all_read(log), lambda: None, one)
        assert 0 == one.stop(WORKER), one.tail(WORKER)
        found = published(kafka_bootstrap, topic_prefix)
        assert_nothing_changed(one, kafka_bootstrap, found)
        assert [] == log.read(TopicName.DEAD_LETTERS)
        assert {*FOUR_CLUSTERS} == found.epochs.keys()
        assert "missing" not in one.log(WORKER).read_text() + two.log(WORKER).read_text()
    finally:
        one.close()
        two.close()


def owned(stages: Stages) -> set[str]:
    """Return the partitions of a worker as it last told."""
    said = ASSIGNED.findall(stages.log(WORKER).read_text())
    return {*said[-1].split(",")} & EVERY if said else set()


def share(one: Stages, two: Stages) -> bool:
    """Tell whether two workers have all partitions between them, each some."""
    mine, theirs = owned(one), owned(two)
    return bool(mine and theirs) and mine | theirs == EVERY and not mine & theirs


def keep_up(
    feed: Feed, share: float, stages: Stages, true: Callable[[], bool] = lambda: True
) -> None:
    """Let records flow up to `share`; wait until something is true."""
    end = time.monotonic() + PATIENCE_S
    while not (true() and feed.share >= share):
        assert time.monotonic() < end, stages.tail(WORKER)
        feed.share = min(share, feed.share + 0.01)
        time.sleep(0.2)
