"""A partition's records reach their clusters, once."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import decode
from schemas.errors import DecodeError
from schemas.layouts import Layouts
from schemas.metrics import Metric
from schemas.partition import partition_of
from schemas.records import Change, Status
from schemas.topics import TopicName
from streams.core import state
from streams.core.context import Context
from streams.core.judging import Budget
from streams.core.outputs import VALUE_BYTES_MAX, Outputs
from streams.core.rules.overrides import RuleSets
from streams.core.samples import Scrape
from streams.core.shard import Shard
from streams.core.state import INPUTS
from tests.scrapes import failed
from tests.shards import (
    NOW,
    PARTITION,
    PARTITIONS,
    Life,
    Log,
    chunked,
    lease,
    lines,
    live,
    requests,
    rules,
)
from tests.stories import assert_same, story

T = 1_700_000_010_000
LAYOUTS_FULL = {"limit": "layouts_bytes"}


def test_outputs_of_aligned_groups_do_not_depend_on_the_order_of_targets() -> None:
    expected = aligned_rows(None)

    @settings(max_examples=25)
    @given(st.randoms(use_true_random=False))
    def property_of(chance: random.Random) -> None:
        assert expected == aligned_rows(chance)

    property_of()


def aligned_rows(chance: random.Random | None) -> dict[object, object]:
    """Scrapes of three targets; within 5 s any of them may come first."""
    log = Log()
    for t_ms in range(T, T + 180_000, 15_000):
        for shift_ms in (0, 5_000, 10_000):
            group = [
                requests([(t_ms - T) // 1_000 * (i + 1)], t_ms + shift_ms + i, instance=name)
                for i, name in enumerate("abc")
            ]
            if chance:
                chance.shuffle(group)
            for one in group:
                log.scrape(one)
    # The last moments may still wait for a target.
    rows = live(log.entries).indicators().items()
    return {key: row for key, row in rows if key[1] <= T + 150_000}


def test_a_record_on_the_partition_of_another_cluster_cannot_be_read() -> None:
    other = next(f"c{i}" for i in range(99) if partition_of(f"c{i}", PARTITIONS) != PARTITION)
    value = rename(requests([1], T), other)

    with pytest.raises(DecodeError, match="belongs on partition"):
        Life().shard.on_record(TopicName.SCRAPES, 0, value, NOW)


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        (TopicName.SCRAPES, b"no arrow"),
        (TopicName.SCRAPES, None),
        (TopicName.CHANGES, b"{}"),
        (TopicName.LOGS, b"[]"),
    ],
)
def test_what_cannot_be_read_is_taken_and_told(topic: TopicName, value: bytes | None) -> None:
    shard = Life().shard

    with pytest.raises(DecodeError):
        shard.on_record(topic, 0, value, NOW)
    assert shard.on_record(topic, 0, value, NOW) is None


def test_a_cluster_id_that_is_none_cannot_be_read() -> None:
    value = msgspec.json.encode(
        msgspec.structs.replace(decode(lease(T, ""), Change), cluster="A/b")
    )

    with pytest.raises(DecodeError, match="no cluster id"):
        Life().shard.on_record(TopicName.CHANGES, 0, value, NOW)


def test_an_interval_of_zero_cannot_be_read() -> None:
    one = requests([1], T)
    envelope = msgspec.structs.replace(one.envelope, interval_ms=0)
    (value,) = chunked(Scrape(envelope, one.rows, one.layout), 1)

    with pytest.raises(DecodeError, match="interval 0 ms"):
        Life().shard.on_record(TopicName.SCRAPES, 0, value, NOW)


def test_clusters_beyond_the_limit_are_left_out_and_counted() -> None:
    life = Life()
    names = [f"c{i}" for i in range(99) if partition_of(f"c{i}", PARTITIONS) == PARTITION]
    results = [
        life.shard.on_record(TopicName.SCRAPES, n, rename(requests([1], T), name), NOW)
        for n, name in enumerate(names[:11])
    ]

    hits = [one for result in results if result for one in result.outputs.counts]
    assert 10 == len(life.shard.engines)
    assert ["clusters_max"] == [
        one.labels["limit"] for one in hits if one.metric is Metric.LIMIT_HITS
    ]


def test_facts_before_the_first_scrape_survive_a_crash() -> None:
    log = Log()
    log.add(TopicName.LOGS, lines([T + 1, T + 2]))
    log.add(TopicName.CHANGES, lease(T, "2023-11-14T22:13:30Z"))
    before = list(log.entries)
    for t_ms in range(T, T + 60_000, 5_000):
        log.scrape(requests([1], t_ms))

    life = Life()
    for entry in before:
        life.take(entry)
    life.crash(before)
    for entry in log.entries[len(before) :]:
        life.take(entry)

    assert_same(live(log.entries), life)


def test_a_scrape_cut_in_two_by_a_crash_is_joined() -> None:
    log = Log()
    for t_ms in range(T, T + 90_000, 5_000):
        log.scrape(requests([(t_ms - T) // 1_000] * 4, t_ms), chunks=2)
    for cut in range(20, 24):
        life = Life()
        for number, entry in enumerate(log.entries, 1):
            life.take(entry)
            if number == cut:
                life.crash(log.entries[:cut])
        assert_same(live(log.entries), life)


def test_half_a_scrape_of_a_target_that_never_returns_does_not_pin_the_replay() -> None:
    log = Log()
    log.scrape(requests([1, 2], T, instance="dead"), chunks=2)
    del log.entries[1]
    for n in range(1, 400):
        log.scrape(requests([n], T + n * 5_000))
    life = live(log.entries)

    assert life.crash(log.entries) < 160  # 12 minutes, not everything
    assert 1 == incomplete(life)


def test_a_replay_gives_half_a_scrape_up_when_the_life_before_it_did() -> None:
    slow = {"interval_ms": 300_000}
    late = chunked(requests([1, 2], T - 600_000, instance="late", **slow), 2)
    lost = chunked(requests([1, 2], T + 181_000, instance="lost"), 2)
    log = Log()
    for n in range(210):
        if n == 36:
            log.add(TopicName.SCRAPES, late[0])  # from a spool; its grace begins when it comes
            log.add(TopicName.SCRAPES, lost[0])
        log.scrape(requests([n], T + n * 5_000))
        if n == 72:
            log.add(TopicName.SCRAPES, lost[1])  # the first record after the rewind point
    before = list(log.entries)
    log.add(TopicName.SCRAPES, late[1])
    log.scrape(requests([999], T + 1_050_000))

    expected, life = live(log.entries), live(before)
    assert 0 < life.crash(before) < 190
    for entry in log.entries[len(before) :]:
        life.take(entry)

    assert_same(expected, life)
    assert incomplete(expected) == incomplete(life) == 2


def incomplete(life: Life) -> int:
    counts = [one for out in life.sent for one in out.counts]
    return sum(one.labels.get("reason") == "incomplete_scrape" for one in counts)


def test_nobody_reads_back_for_a_cluster_that_is_long_gone() -> None:
    log = story(minutes=13)
    life = live(log)
    gone = next(f"c{i}" for i in range(2, 99) if partition_of(f"c{i}", PARTITIONS) == PARTITION)
    newer = max(one.offset for one in log if one.topic is TopicName.SCRAPES) + 1
    for i in range(3):
        tick_ms = T + 7_200_000 + i * 5_000
        result = life.shard.on_record(
            TopicName.SCRAPES, newer + i, rename(requests([1], tick_ms), gone), NOW
        )
        assert result is not None
        for kind, value in result.outputs.writes.items():
            assert value is not None
            life.table[f"{gone}/{kind}".encode()] = value

    shard = Shard(PARTITION, PARTITIONS, life.context, clusters_max=10)
    ends = dict.fromkeys(INPUTS, newer + 3)
    shard.restore(life.table.items(), ends)
    seeks = shard.begin(ends, dict.fromkeys(INPUTS, 0), ends)

    assert 2 == len(shard.engines)
    assert newer == seeks[TopicName.SCRAPES]


def test_one_tick_from_the_future_blinds_nobody() -> None:
    log, disturbed = Log(), Log()
    for n, t_ms in enumerate(range(T, T + 300_000, 5_000)):
        for one in (log, disturbed):
            one.scrape(requests([n * 7], t_ms))
        if n == 20:
            disturbed.scrape(requests([n * 7], T + 86_400_000))

    life = live(disturbed.entries)

    assert live(log.entries).indicators() == life.indicators()
    dropped = [one for out in life.sent for one in out.counts if one.labels.get("reason")]
    assert [("leap", 1)] == [(one.labels["reason"], one.amount) for one in dropped]


def test_no_value_of_the_table_grows_with_the_number_of_alerts() -> None:
    rule = "{alert: Many, expr: requests_total > 0, annotations: {summary: %s}}" % ("long" * 100)
    rule_set = rules(f"groups: [{{name: g, limit: 1500, rules: [{rule}]}}]")
    log, life = Log(), Life(Context(RuleSets(rule_set), 660_000))
    for t_ms in (T, T + 5_000, T + 10_000):
        log.scrape(requests([1] * 1_500, t_ms))
    for entry in log.entries:
        life.take(entry)

    assert 1_500 == len(life.alerts())
    assert max(map(len, life.table.values())) < 100_000 < VALUE_BYTES_MAX

    life.crash(log.entries)
    log.scrape(requests([0] * 1_500, T + 15_000))
    life.take(log.entries[-1])
    assert {1, 2} == {seq for _, _, seq in life.alerts()}
    assert 3_000 == len(life.alerts())


@pytest.mark.parametrize(
    ("kept", "name"), [(0, "new"), (0, ""), (100, "")], ids=["made anew", "emptied", "cut"]
)
def test_a_log_that_is_not_the_one_that_was_evaluated_is_told_and_alerts_go_on(
    kept: int, name: str
) -> None:
    life, old, new = Life(), Log(), Log()
    for number, t_ms in enumerate(range(T, T + 1_200_000, 5_000)):
        old.scrape(requests([number], t_ms) if t_ms < T + 1_190_000 else failed(t_ms))
    for entry in old.entries:
        life.take(entry)
    for entry in old.entries[:kept]:
        new.add(entry.topic, entry.value)
    life.context = replace(life.context, logs=dict.fromkeys(INPUTS, name))
    life.crash(new.entries)
    assert life.shard.lost
    for number, t_ms in enumerate(range(T + 1_200_000, T + 1_500_000, 5_000)):
        new.scrape(requests([number], t_ms))

    for entry in new.entries[kept:]:
        life.take(entry)

    down = [one for one in life.alerts().values() if one.labels["alertname"] == "Down"]
    assert [Status.FIRING, Status.RESOLVED] == [one.status for one in down]
    assert [1, 2] == [one.seq for one in down]
    assert T + 1_200_000 == down[1].updated_at_ms
    newest_ms = max(t_ms for group, t_ms in life.indicators() if group == "g")
    assert T + 1_480_000 <= newest_ms

    said, alerts = len(life.sent), life.alerts()
    life.crash(new.entries)  # what was noted for the old log is not looked at again
    assert [] == life.shard.lost
    assert not any(one.indicators or one.alerts for one in life.sent[said:])
    assert alerts == life.alerts()


def test_what_a_lost_state_left_behind_is_deleted() -> None:
    log = story(minutes=2)
    life = live(log)
    life.table[b"c1/alert-a1"] = msgspec.msgpack.encode([])

    life.crash(log, acknowledged=0)
    assert 1 == len(life.shard.lost)
    assert b"c1/alert-a1" not in life.table

    life.crash(log)
    assert [] == life.shard.lost


def test_a_state_that_is_too_long_is_counted_and_the_one_before_stays() -> None:
    out = Outputs()

    assert out.write("a", state.Numbering(seq_floor=1))
    long = [f"{n:0100}" for n in range(VALUE_BYTES_MAX // 100)]
    assert not out.write("b", Budget(1.0, long))  # type: ignore[arg-type]  # any long state

    assert {"a"} == out.writes.keys()
    assert ["state_bytes"] == [one.labels["limit"] for one in out.counts]


def test_a_state_that_cannot_be_read_is_told_and_begun_anew() -> None:
    life = live(story(minutes=2))
    shard = Shard(PARTITION, PARTITIONS, life.context, clusters_max=10)

    shard.restore([(b"c1/position", b"\xc1")], dict.fromkeys(INPUTS, 0))

    assert 1 == len(shard.lost)
    assert {} == shard.engines


def drop(*path: object) -> Callable[[Any], Any]:
    """Return what takes one field away."""

    def change(value: Any) -> Any:
        for name in path[:-1]:
            value = value[name]
        del value[path[-1]]
        return value

    return change


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("rewind-", drop("received", "logs")),
        ("rewind-", drop("logs", "scrapes")),
        ("rewind-", drop("watermark")),
        ("alert-", drop("labels")),
        ("alert-", drop("alert", "status")),
        ("alert-", lambda value: value.update(fingerprint="of another")),
        ("alert-", lambda value: value.update(alert=[])),
        ("position", drop("budget")),
    ],
)
def test_a_state_of_another_shape_is_told_and_begun_anew(
    kind: str, change: Callable[[Any], Any]
) -> None:
    log = Log()
    for t_ms in range(T, T + 60_000, 5_000):
        log.scrape(failed(t_ms))
    life = live(log.entries)
    for key, value in life.table.items():
        if kind in key.decode():
            saved = msgspec.msgpack.decode(value)
            change(saved)
            life.table[key] = msgspec.msgpack.encode(saved)

    life.crash(log.entries, acknowledged=0)

    (lost,) = life.shard.lost
    assert lost.startswith("c1: ")
    assert lost.endswith("; it starts anew")
    assert live(log.entries).alerts().keys() == life.alerts().keys()
    life.crash(log.entries)
    assert [] == life.shard.lost


def test_positions_are_never_above_the_committed_ones_nor_outside_of_the_log() -> None:
    shard = Life().shard
    committed = {
        TopicName.SCRAPES: 7,
        TopicName.CHANGES: None,
        TopicName.AUDIT: 90,
        TopicName.LOGS: 2,
    }

    seeks = shard.begin(committed, dict.fromkeys(INPUTS, 3), dict.fromkeys(INPUTS, 50))

    assert [7, 3, 50, 3] == [seeks[topic] for topic in INPUTS]


def test_a_failed_scrape_passes_time_too() -> None:
    log = Log()
    for t_ms in range(T, T + 60_000, 5_000):
        log.scrape(failed(t_ms))

    alerts = live(log.entries).alerts().values()

    assert ["Down"] == [alert.labels["alertname"] for alert in alerts]


def rename(one: Scrape, cluster: str) -> bytes:
    """The record of a scrape of another cluster."""
    envelope = msgspec.structs.replace(one.envelope, cluster=cluster)
    return chunked(Scrape(envelope, one.rows, one.layout), 1)[0]


def test_a_worker_without_room_for_layouts_gives_the_same_and_counts_it() -> None:
    entries, context = story(3), Context(RuleSets(rules()), 660_000)
    narrow = replace(context, layouts=Layouts(bytes_max=0))
    lives = [Life(one) for one in (context, narrow)]
    for life in lives:
        for entry in entries:
            life.take(entry)
    assert_same(*lives)
    hits = [
        sum(one.amount for out in life.sent for one in out.counts if one.labels == LAYOUTS_FULL)
        for life in lives
    ]
    assert 0 == hits[0] < hits[1]
