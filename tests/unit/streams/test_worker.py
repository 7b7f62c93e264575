"""What the worker does with what its shards say: it keeps limits, sends, saves and tells."""

import asyncio

import msgspec
import pytest

from schemas.metrics import Metric
from schemas.partition import partition_of
from schemas.topics import TopicName
from streams.core.context import Context
from streams.core.rules.overrides import RuleSets
from streams.core.samples import Scrape
from tests.fakes.streaming import FakeKafka
from tests.shards import PARTITIONS, chunked, requests, rules

T = 1_700_000_010_000
CONTEXT = Context(RuleSets(rules()), 660_000)


def record(cluster: str, t_ms: int = T) -> bytes:
    one = requests([1], t_ms)
    envelope = msgspec.structs.replace(one.envelope, cluster=cluster)
    (value,) = chunked(Scrape(envelope, one.rows, one.layout), 1)
    return value


def clusters_of(partition: int) -> list[str]:
    return [f"c{i}" for i in range(99) if partition_of(f"c{i}", PARTITIONS) == partition]


def test_the_limit_of_clusters_holds_over_all_partitions() -> None:
    async def run() -> None:
        kafka = FakeKafka(CONTEXT, PARTITIONS, clusters_max=3)
        kafka.assign([0, 1])
        for partition in (0, 1):
            names = clusters_of(partition)[:2]
            given = {n: record(name) for n, name in enumerate(names)}
            assert [0, 1] == await kafka.give(partition, given)

        engines = [len(shard.engines) for shard in kafka.worker.partitions.live()]
        assert [2, 1] == engines
        assert 1 == kafka.telemetry.value(Metric.LIMIT_HITS, limit="clusters_max")

        kafka.assign([1], end=2)  # the other one went to another worker
        await kafka.give(1, {2: record(clusters_of(1)[1])})
        assert [2] == [len(shard.engines) for shard in kafka.worker.partitions.live()]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("committed", "earliest", "missed"),
    [(30, 42, 12), (42, 42, 0), (50, 42, 0), (None, 42, 0), (None, 0, 0)],
    ids=["behind", "at", "beyond", "a new group", "a new log"],
)
def test_records_that_retention_took_before_they_were_read_are_missed(
    committed: int | None, earliest: int, missed: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        kafka = FakeKafka(CONTEXT, PARTITIONS)
        kafka.assign([0], committed=committed, earliest=earliest, end=60)

        assert missed == kafka.telemetry.value(Metric.RECORDS_DROPPED, reason="missing")
        told = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
        assert missed == 0 or told[0].endswith(f" partition=0 scrapes={missed}")
        assert bool(missed) == len(told)

    asyncio.run(run())


def test_what_a_lost_group_has_read_is_in_the_table() -> None:
    async def run() -> None:
        name, *_ = clusters_of(0)
        before = FakeKafka(CONTEXT, PARTITIONS)
        before.assign([0], end=3)
        await before.give(0, {n: record(name, T + n * 5_000) for n in range(3)})

        kafka = FakeKafka(CONTEXT, PARTITIONS, before.app.table)
        kafka.assign([0], committed=None, earliest=10, end=20)
        assert 7 == kafka.telemetry.value(Metric.RECORDS_DROPPED, reason="missing")

    asyncio.run(run())


def test_a_replay_sends_no_dead_letter_again() -> None:
    async def run() -> None:
        name, *_ = clusters_of(0)
        good = {n: record(name, T + n * 5_000) for n in range(60)}
        log = good | {20: b"bad", 40: b"bad, and acknowledged", 41: b"bad, and not acknowledged"}
        before = FakeKafka(CONTEXT, PARTITIONS)
        before.assign([0], end=60)
        assert [*log] == await before.give(0, log)
        assert 3 == len(before.sent(TopicName.DEAD_LETTERS))

        kafka = FakeKafka(CONTEXT, PARTITIONS, before.app.table, undecodable_share_max=0.01)
        assert {0: 0} == kafka.assign([0], committed=41, end=60)
        assert [*log] == await kafka.give(0, log)

        (letter,) = kafka.sent(TopicName.DEAD_LETTERS)
        assert log[41] == letter.value
        assert 1 == kafka.telemetry.value(Metric.DEAD_LETTERS, topic=TopicName.SCRAPES)
        again = kafka.telemetry.value(Metric.RECORDS_DROPPED, reason="undecodable_again")
        assert 2 == again

    asyncio.run(run())


DAY = 86_400_000


def test_nothing_stays_in_the_table_of_a_cluster_that_is_gone() -> None:
    async def run() -> None:
        kafka = FakeKafka(CONTEXT, PARTITIONS)
        kafka.assign([0], end=1)
        kept, gone = clusters_of(0)[:2]
        for n, (name, t_ms) in enumerate(
            [(gone, T), (kept, T), (kept, T + DAY), (kept, T + DAY + 1), (kept, T + DAY + 2)]
        ):
            kafka.now_ms = t_ms + 60_000 * n
            await kafka.give(0, {n: record(name, t_ms + n * 60_000)})

        assert {kept} == {key.decode().split("/")[0] for key in kafka.app.table}

    asyncio.run(run())
