"""A cluster that is gone is forgotten, and nobody else is."""

from dataclasses import replace

import msgspec
import pytest

from schemas.partition import partition_of
from schemas.records import Alert, ScrapeEnvelope, Status
from schemas.topics import TopicName
from streams.core import state
from streams.core.hearing import Now
from streams.core.samples import Scrape
from streams.core.shard import Shard
from streams.core.state import INPUTS
from tests.scrapes import failed
from tests.shards import PARTITION, PARTITIONS, Life, chunked, requests

T = 1_700_000_010_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
A, B, C, *_ = (f"c{i}" for i in range(99) if partition_of(f"c{i}", PARTITIONS) == PARTITION)


class Worker:
    """A worker with one partition, on a clock of its own."""

    def __init__(self) -> None:
        self.life = Life()
        self.shard = self.life.shard
        self.table: dict[bytes, bytes] = {}
        self.alerts: list[Alert] = []
        self.tombstones: list[str] = []
        self.gone: list[str] = []
        self._offset = -1

    def take(self, cluster: str, one: Scrape, wall_ms: int) -> None:
        """Take a record of a cluster when the worker's clock shows `wall_ms`."""
        self._offset += 1
        scrape = replace(one, envelope=_renamed(one, cluster))
        now = Now(wall_ms, wall_ms)
        (value,) = chunked(scrape, 1)
        result = self.shard.on_record(TopicName.SCRAPES, self._offset, value, now)
        assert result is not None
        for each in (result, *self.shard.expire(now)):
            self.alerts += each.outputs.alerts
            self.tombstones += each.outputs.tombstones
            for kind, saved in each.outputs.writes.items():
                self.table.pop(state.table_key(each.cluster, kind), None)
                if saved is not None:
                    self.table[state.table_key(each.cluster, kind)] = saved
            if each.gone:
                self.gone.append(each.cluster)
                for key in state.keys_of(each.cluster, self.table):
                    del self.table[key]

    def jump(self, cluster: str, t_ms: int) -> None:
        """Let time leap in a cluster; it takes two records to believe that."""
        for at_ms in (t_ms - 1, t_ms):
            self.take(cluster, requests([1], at_ms), at_ms)

    def restart(self) -> None:
        """Live again from the table."""
        ends = dict.fromkeys(INPUTS, self._offset + 1)
        self.shard = Shard(PARTITION, PARTITIONS, self.life.context, clusters_max=2)
        self.shard.restore(self.table.items(), ends)
        self.shard.begin(ends, dict.fromkeys(INPUTS, 0), ends)
        self.shard.received[TopicName.SCRAPES] = self._offset

    def clusters(self) -> set[str]:
        """Return whose state is in the table."""
        return {*state.by_cluster(self.table.items())}


def _renamed(one: Scrape, cluster: str) -> ScrapeEnvelope:
    return msgspec.structs.replace(one.envelope, cluster=cluster)


def test_a_cluster_a_day_behind_is_forgotten_with_its_state() -> None:
    worker = Worker()
    worker.take(A, requests([1], T), T)
    worker.take(B, requests([1], T), T)

    for t_ms in (T + 12 * HOUR, T + DAY):
        worker.jump(A, t_ms)
    assert {A, B} == worker.clusters() == {*worker.shard.engines}
    assert [] == worker.gone

    worker.jump(A, T + DAY + MINUTE)
    assert {A} == worker.clusters() == {*worker.shard.engines}
    assert [B] == worker.gone

    worker.take(B, requests([1], T + DAY + MINUTE), T + DAY + MINUTE)
    assert {A, B} == worker.clusters()


def test_the_alerts_of_a_cluster_that_is_gone_end() -> None:
    worker = Worker()
    worker.take(A, requests([1], T), T)
    for t_ms in (T, T + 5_000):
        worker.take(B, failed(t_ms), t_ms)
    assert [(B, Status.FIRING)] == [(one.cluster, one.status) for one in worker.alerts]

    for t_ms in (T + 12 * HOUR, T + DAY, T + DAY + 2 * MINUTE):
        worker.jump(A, t_ms)

    _, unknown, ended = worker.alerts
    assert (Status.UNKNOWN, Status.RESOLVED) == (unknown.status, ended.status)
    assert ("inputs_gone", T + DAY - 13 * MINUTE - 1) == (ended.reason, ended.ends_at_ms)
    assert [1, 2, 3] == [one.seq for one in worker.alerts]
    assert [] == worker.tombstones


def test_alerts_that_ended_before_leave_a_tombstone() -> None:
    worker = Worker()
    worker.take(A, requests([1], T), T)
    for t_ms, one in ((T, failed(T)), (T + 5_000, requests([1], T + 5_000))):
        worker.take(B, one, t_ms)
    fired, resolved = worker.alerts
    assert Status.RESOLVED is resolved.status

    for t_ms in (T + 12 * HOUR, T + DAY, T + DAY + 2 * MINUTE):
        worker.jump(A, t_ms)

    assert [fired.fingerprint] == worker.tombstones
    assert [fired, resolved] == worker.alerts


def test_a_clock_from_the_future_makes_nobody_old() -> None:
    worker = Worker()
    for minutes in range(0, 180, 30):
        t_ms = T + minutes * MINUTE
        if not minutes:
            worker.take(A, requests([1], t_ms), t_ms)
        worker.take(B, requests([1], t_ms + 3 * DAY), t_ms)

    assert [] == worker.gone  # A made a pause


def test_a_clock_of_the_past_is_behind_and_heard() -> None:
    worker = Worker()
    for minutes in range(0, 180, 30):
        t_ms = T + minutes * MINUTE
        worker.take(A, requests([1], t_ms - 3 * DAY), t_ms)
        worker.take(B, requests([1], t_ms), t_ms)

    assert [] == worker.gone


@pytest.mark.parametrize(("listened_ms", "gone"), [(HOUR, []), (HOUR + MINUTE, [B])])
def test_who_was_restored_is_listened_to_first(listened_ms: int, gone: list[str]) -> None:
    worker = Worker()
    for cluster in (A, B):
        worker.take(cluster, requests([1], T), T)
    worker.restart()

    for t_ms in (T + 2 * DAY, T + 2 * DAY + listened_ms):
        worker.jump(A, t_ms)

    assert gone == worker.gone


def test_who_is_gone_makes_room() -> None:
    worker = Worker()
    for cluster in (A, B):
        worker.take(cluster, requests([1], T), T)
    worker.restart()
    for t_ms in (T + 2 * DAY, T + 2 * DAY + 2 * HOUR):
        worker.jump(A, t_ms)
    worker.take(C, requests([1], T + 2 * DAY + 2 * HOUR), T + 2 * DAY + 2 * HOUR)

    assert {A, C} == {*worker.shard.engines}
