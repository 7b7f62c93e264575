"""The worker as a real process, on the embedded broker and on a real one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from producers.broker import EmbeddedBroker
from schemas import run
from schemas.arrow import decode_indicators, decode_scrape
from schemas.codec import decode
from schemas.records import Alert, Outcome, Status
from schemas.settings import KafkaSettings
from schemas.topics import Header, TopicName
from tests.kafkalog import KafkaLog, Read, create_topics
from tests.scrapes import failed
from tests.services import process
from tests.services.stages import Stages, clean_environment
from tests.shards import PARTITION, PARTITIONS, RULES, Entry, Life, Log, live, requests
from tests.stories import T0, story, without_value

STREAMS = "streams"
WAIT_S = 60.0

EMBEDDED, KAFKA = "embedded", "kafka"


@dataclass
class Bus:
    """A broker, our topics on it, and stages that use it."""

    stages: Stages
    log: KafkaLog
    kind: str
    owner: object  # keeps an embedded broker alive

    def feed(self, entries: list[Entry]) -> None:
        for topic in TopicName:
            values = [one.value for one in entries if one.topic is topic]
            if values:
                self.log.write(topic, PARTITION, values)


@pytest.fixture(params=[EMBEDDED, KAFKA])
def bus(request: pytest.FixtureRequest, tmp_path: Path, topic_prefix: str) -> Iterator[Bus]:
    (tmp_path / "rules.yaml").write_text(RULES)
    kafka: dict[str, Any] = {"prefix": topic_prefix, "partitions": PARTITIONS, "replication": 1}
    owner: object = None
    if request.param == KAFKA:
        kafka["bootstrap"] = request.getfixturevalue("kafka_bootstrap")
    tree = {
        "kafka": kafka,
        "rules": {"paths": [str(tmp_path / "rules.yaml")], "shipped": False},
        "streams": {"instance_id": "one"},
    }
    stages = Stages(tmp_path / "data", tree)
    if request.param == KAFKA:
        bootstrap = kafka["bootstrap"]
        create_topics(bootstrap, stages.settings)
    else:
        owner = broker = EmbeddedBroker(KafkaSettings(prefix=topic_prefix))
        bootstrap = broker.bootstrap
        run.announce(stages.settings, run.BROKER, bootstrap=bootstrap, incarnation="test")
    yield Bus(stages, KafkaLog(bootstrap, topic_prefix), request.param, owner)
    stages.close()


def test_scrapes_in_indicators_and_alerts_out(bus: Bus) -> None:
    entries, expected = facts_first(story())
    bus.feed(entries)

    bus.stages.start(STREAMS)
    until_all(expected, bus)

    assert_same(expected, bus.log)
    alerts = bus.log.read(TopicName.ALERTS)
    assert all(one.key == f"c1/{alert_of(one).fingerprint}".encode() for one in alerts)
    assert all(one.headers[Header.EMITTED_AT_MS].isdigit() for one in alerts)
    keys = {one.key for one in bus.log.read(TopicName.INDICATORS)}
    assert {b"c1/g", b"c1/slow", b"c1/facts"} == keys
    began = time.monotonic()
    assert 0 == bus.stages.stop(STREAMS)
    assert time.monotonic() - began < 5
    assert "Traceback" not in bus.stages.tail(STREAMS)

    before = len(bus.log.read(TopicName.INDICATORS)), len(alerts)
    bus.stages.start(STREAMS)  # it reads back, and says nothing twice
    assert before == (len(bus.log.read(TopicName.INDICATORS)), len(bus.log.read(TopicName.ALERTS)))


def test_a_worker_that_is_killed_goes_on_as_if_nothing_had_happened(bus: Bus) -> None:
    entries, expected = facts_first(story())
    bus.feed(entries)
    chance = random.Random(bus.kind)

    kills = 2 if bus.kind == KAFKA else 1
    for _ in range(kills):  # between sending and saving, then anywhere
        fault = f"streams-sent@{chance.randrange(40, 160)}"
        killed = bus.stages.start(STREAMS, wait=False, PLANEWATCH_TEST_FAULT=fault)
        assert 137 == killed.wait(WAIT_S), bus.stages.tail(STREAMS)
    for _ in range(kills):
        bus.stages.start(STREAMS)
        time.sleep(chance.random() / 2)
        bus.stages.kill(STREAMS)
    bus.stages.start(STREAMS)
    until_all(expected, bus)

    assert_same(expected, bus.log)
    assert "missing" not in bus.stages.tail(STREAMS)


def test_another_worker_takes_over_and_gives_back(bus: Bus, tmp_path: Path) -> None:
    if bus.kind == EMBEDDED:
        return  # it serves one worker, and says so
    entries, expected = facts_first(story())
    scrapes = [one for one in entries if one.topic is TopicName.SCRAPES]
    bus.feed([one for one in entries if one.topic is not TopicName.SCRAPES])
    tree = json.loads(bus.stages.config.read_text())
    del tree["data"]
    other = Stages(tmp_path / "other", tree | {"streams": {"instance_id": "two"}})
    third = len(scrapes) // 3
    try:
        bus.stages.start(STREAMS)
        bus.feed(scrapes[:third])
        other.start(STREAMS)  # they share the partitions
        bus.stages.kill(STREAMS)
        bus.feed(scrapes[third : 2 * third])
        until(lambda: "assigned partitions=0,1,2,3" in other.tail(STREAMS))  # a session later
        bus.stages.start(STREAMS)  # and share them again
        bus.feed(scrapes[2 * third :])
        until_all(expected, bus)
    finally:
        other.close()

    assert_same(expected, bus.log)
    assert "missing" not in bus.stages.tail(STREAMS) + other.tail(STREAMS)


def test_commits_go_on_when_retention_passed_the_committed_offset(bus: Bus) -> None:
    if bus.kind == EMBEDDED:
        return  # it deletes nothing on demand
    entries, _ = facts_first(story(minutes=3))
    logs = [one.value for one in entries if one.topic is TopicName.LOGS]
    bus.feed(entries)
    bus.stages.start(STREAMS)
    until(lambda: bus.log.committed(TopicName.LOGS, PARTITION, STREAMS) == len(logs))
    assert 0 == bus.stages.stop(STREAMS)

    bus.log.write(TopicName.LOGS, PARTITION, logs)
    bus.log.delete(TopicName.LOGS, PARTITION, before=len(logs) + 10)
    bus.stages.start(STREAMS)
    until(lambda: bus.log.committed(TopicName.LOGS, PARTITION, STREAMS) == 2 * len(logs))


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(bus: Bus) -> None:
    if bus.kind == EMBEDDED:
        return  # its state goes with its topics
    entries, expected = facts_first(story(minutes=3))
    bus.feed(entries)
    bus.stages.start(STREAMS)
    until_all(expected, bus)
    assert 0 == bus.stages.stop(STREAMS)
    bus.log.remake(TopicName.SCRAPES, PARTITIONS)
    later, before = Log(), len(indicators_of(bus.log.read(TopicName.INDICATORS)))
    for n in range(20):
        later.scrape(requests([n], T0 + 180_000 + n * 5_000, interval_ms=5_000))
    bus.feed(later.entries)

    bus.stages.start(STREAMS)

    until(lambda: bus.log.committed(TopicName.SCRAPES, PARTITION, STREAMS) == 20, bus.stages)
    assert "scrapes was made anew" in bus.stages.tail(STREAMS)
    assert len(indicators_of(bus.log.read(TopicName.INDICATORS))) > before + 10


def test_what_cannot_be_read_becomes_a_dead_letter_and_the_stage_goes_on(bus: Bus) -> None:
    entries, expected = facts_first(story(minutes=3))
    bus.log.write(TopicName.SCRAPES, PARTITION, [b"no arrow", None])
    bus.log.write(TopicName.LOGS, PARTITION, [b"{}"])
    bus.feed(entries)

    bus.stages.start(STREAMS)
    until_all(expected, bus)

    letters = bus.log.read(TopicName.DEAD_LETTERS)
    found = {(one.headers[Header.ORIGIN_TOPIC].split(b".")[-2], one.value) for one in letters}
    assert {(b"scrapes", b"no arrow"), (b"scrapes", b""), (b"logs", b"{}")} == found
    assert {PARTITION} == {one.partition for one in letters}
    assert {b"DecodeError"} == {one.headers[Header.ERROR_CLASS] for one in letters}


def test_the_stage_stops_and_says_why_when_most_records_cannot_be_read(bus: Bus) -> None:
    running = bus.stages.start(STREAMS)
    bus.log.write(TopicName.CHANGES, PARTITION, [b"{}"] * 60)

    assert 1 == running.wait(WAIT_S)
    assert "streams: more than 50% of the last 100 records of" in bus.stages.tail(STREAMS)
    assert 51 == len(bus.log.read(TopicName.DEAD_LETTERS))


def test_a_silent_fleet_becomes_records_and_an_alert(bus: Bus) -> None:
    bus.stages.start(STREAMS)
    start_ms = int(time.time() * 1000) - 17_000
    log = Log()
    for t_ms in range(start_ms, start_ms + 17_000, 1_000):
        log.scrape(requests([1], t_ms, interval_ms=1_000))
    bus.feed(log.entries)

    until(lambda: any(alert_of(one).labels["alertname"] == "Down" for one in alerts(bus)))

    silent = [decode_scrape(one.value).envelope for one in bus.log.read(TopicName.SCRAPES)[17:]]
    assert {Outcome.SILENT} == {one.outcome for one in silent}
    assert start_ms + 19_000 == silent[0].tick_ms
    assert b"silent" == bus.log.read(TopicName.SCRAPES)[-1].headers[Header.OUTCOME]


def test_a_worker_that_was_paused_declares_nobody_silent(bus: Bus) -> None:
    running = bus.stages.start(STREAMS)

    def scrape_for(seconds: int) -> None:
        for _ in range(seconds):
            log = Log()
            log.scrape(requests([1], int(time.time() * 1000), interval_ms=1_000))
            bus.feed(log.entries)
            time.sleep(1.0)

    scrape_for(3)
    os.kill(running.pid, signal.SIGSTOP)
    scrape_for(8)
    os.kill(running.pid, signal.SIGCONT)
    scrape_for(8)

    scrapes = [decode_scrape(one.value).envelope for one in bus.log.read(TopicName.SCRAPES)]
    assert [Outcome.OK] * 19 == [one.outcome for one in scrapes]
    assert "nothing heard" not in bus.stages.tail(STREAMS)


def test_alerts_are_shown_and_followed(bus: Bus) -> None:
    entries, expected = facts_first(story())
    bus.feed(entries)
    bus.stages.start(STREAMS)
    until_all(expected, bus)

    shown = streams(bus, "alerts")
    records = streams(bus, "alerts", "--json", "--cluster", "c1").stdout.splitlines()
    nothing = streams(bus, "alerts", "--cluster", "another")
    follower = process.start(
        streams_command(bus, "alerts", "--follow"),
        log=bus.stages.data / "follow.log",
        env=clean_environment(),
    )
    open_alerts = [one for one in records if decode(one.encode(), Alert).status is Status.FIRING]
    until(lambda: len(followed(bus)) == len(open_alerts))
    down = next(one for one in map(alert_of, alerts(bus)) if one.labels["alertname"] == "Down")
    later = msgspec.structs.replace(down, seq=99, updated_at_ms=down.updated_at_ms + 1_000)
    bus.log.write(TopicName.ALERTS, PARTITION, [msgspec.json.encode(later)])
    until(lambda: len(followed(bus)) > len(open_alerts))
    process.stop(follower)

    assert 3 == len(shown.stdout.splitlines()) == len(records)
    assert 0 == shown.returncode == nothing.returncode
    assert "" == nothing.stdout
    assert ["firing", "critical", "c1", "Down"] == followed(bus)[-1].split("  ")[1:5]


def test_wrong_rules_stop_the_start_with_their_line(bus: Bus) -> None:
    rules = bus.stages.data.parent / "rules.yaml"
    rules.write_text(RULES.replace("up == 0", "up =="))

    ended = bus.stages.start(STREAMS, wait=False)

    assert 2 == ended.wait(WAIT_S)
    assert f"{rules}:18: " in bus.stages.tail(STREAMS)


def test_rules_that_change_are_used_without_a_restart(bus: Bus) -> None:
    file, log = bus.stages.data.parent / "rules.yaml", Log()

    def scrape(first: int, last: int) -> None:
        log.entries.clear()
        for n in range(first, last):
            t_ms = T0 + n * 5_000
            log.scrape(requests([n * 100], t_ms, instance="a", interval_ms=15_000))
            log.scrape(failed(t_ms, instance="b"))
        bus.feed(log.entries)

    running = bus.stages.start(STREAMS)
    scrape(0, 24)
    until(lambda: {"Down", "Busy"} == records_of(bus).keys(), bus.stages)
    before = records_of(bus)
    fresh = RULES.replace("alert: Busy", "alert: Fresh").replace("for: 20s", "for: 1s")
    file.write_text(fresh)  # reads what was read before
    until(lambda: "rules are in force" in bus.stages.tail(STREAMS), bus.stages)
    assert bus.stages.tail(STREAMS).count("reading partition") == PARTITIONS
    scrape(24, 28)
    until(lambda: "Fresh" in records_of(bus), bus.stages)
    wide = "{alert: Wide, expr: 'sum(increase(requests_total[2m])) > 5'}"
    file.write_text(fresh + f"  - {{name: wide, rules: [{wide}]}}\n")  # and more
    until(lambda: bus.stages.tail(STREAMS).count("rules are in force") == 2, bus.stages)
    assert bus.stages.tail(STREAMS).count("reading partition") == 2 * PARTITIONS
    scrape(28, 30)
    until(lambda: "Wide" in records_of(bus), bus.stages)

    after = records_of(bus)
    assert before["Down"] == after["Down"]  # same seq, same start, and not again
    first, ended = after["Busy"]
    assert [first] == before["Busy"]
    assert ("resolved", "rule_removed", 2) == (ended.status, ended.reason, ended.seq)
    for name in ("Fresh", "Wide"):
        assert [("firing", 1)] == [(one.status, one.seq) for one in after[name]]
    file.write_text("groups: 5")
    until(lambda: "the rules stay as they were" in bus.stages.tail(STREAMS), bus.stages)
    scrape(30, 36)
    until(lambda: bus.log.committed(TopicName.SCRAPES, PARTITION, STREAMS) == 72, bus.stages)
    assert running.poll() is None
    times = [(one.key, decode_indicators(one.value).envelope.t_ms) for one in indicators(bus)]
    assert len(set(times)) == len(times)  # nothing was said twice


def test_rules_that_change_under_load_disturb_nothing_else(bus: Bus) -> None:
    entries, expected = facts_first(story())
    file, scrapes = bus.stages.data.parent / "rules.yaml", TopicName.SCRAPES
    bus.feed([one for one in entries if one.topic is not scrapes])
    bus.stages.start(STREAMS)
    left = [one for one in entries if one.topic is scrapes]
    for n in range(0, len(left), 20):
        if n % 100 == 0:
            window = "" if n % 200 else f"and on () sum(rate(requests_total[{n + 90}s]))"
            rule = f"{{alert: Other{n}, expr: 'up == 5 {window}'}}"
            file.write_text(RULES + f"  - {{name: other, rules: [{rule}]}}\n")
        bus.feed(left[n : n + 20])
        time.sleep(1.0)
    until_all(expected, bus)

    said = bus.stages.log(STREAMS).read_text()
    assert 2 <= said.count("rules are in force")
    assert PARTITIONS < said.count("reading partition")  # and some of them by a replay
    assert_same(expected, bus.log)
    until(lambda: bus.log.committed(scrapes, PARTITION, STREAMS) == len(left), bus.stages)


def test_what_workers_say_about_their_rules_is_listed(bus: Bus) -> None:
    file, log = bus.stages.data.parent / "rules.yaml", Log()
    wrong = "{record: 'misspelt:rate', expr: reqests_total}, {record: many, expr: requests_total}"
    file.write_text(RULES + f"  - {{name: wrong, limit: 1, rules: [{wrong}]}}\n")
    for n in range(40):
        log.scrape(requests([n, n], T0 + n * 5_000, interval_ms=5_000))
    bus.feed(log.entries)
    silent = streams(bus, "rules", "list", "--live")
    bus.stages.start(STREAMS)
    until(lambda: bus.log.committed(TopicName.SCRAPES, PARTITION, STREAMS) == 40, bus.stages)

    listed = streams(bus, "rules", "list", "--live")

    assert "no worker wrote facts lately" in silent.stderr
    assert (0, 0, "heard of c1\n") == (silent.returncode, listed.returncode, listed.stderr)
    rows = [line.split("\t") for line in listed.stdout.splitlines()]
    said = {row[1]: row[-1] for row in rows if row[-1]}
    assert "c1: 1 selectors match nothing" == said.pop("misspelt:rate")
    assert said.pop("many").startswith("c1: failed 1")
    assert {} == said
    assert 1 == bus.stages.tail(STREAMS).count("rule fails cluster=c1 rule=many: 2 results")


def records_of(bus: Bus) -> dict[str, list[Alert]]:
    """Return all alert records, also those that say something twice."""
    found: dict[str, list[Alert]] = {}
    for one in map(alert_of, alerts(bus)):
        found.setdefault(one.labels["alertname"], []).append(one)
    return found


def streams_command(bus: Bus, *verb: str) -> list[str]:
    return [sys.executable, "-P", "-m", "streams", *verb, "--config", str(bus.stages.config)]


def streams(bus: Bus, *verb: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        streams_command(bus, *verb),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        env=clean_environment(),
        check=False,
    )


def followed(bus: Bus) -> list[str]:
    return (bus.stages.data / "follow.log").read_text().splitlines()


def alerts(bus: Bus) -> list[Read]:
    return bus.log.read(TopicName.ALERTS)


def indicators(bus: Bus) -> list[Read]:
    return bus.log.read(TopicName.INDICATORS)


def facts_first(entries: list[Entry]) -> tuple[list[Entry], Life]:
    """Facts before scrapes, as a worker reads them that starts now; and what comes of it."""
    ordered = sorted(entries, key=lambda one: one.topic is TopicName.SCRAPES)
    return ordered, live(ordered)


def until(true: Callable[[], bool], stages: Stages | None = None) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, stages.tail(STREAMS) if stages else "waited too long"
        time.sleep(0.2)


def until_all(expected: Life, bus: Bus) -> None:
    """Wait for everything that is expected."""
    count = len(expected.indicators())
    until(lambda: len(indicators_of(bus.log.read(TopicName.INDICATORS))) >= count, bus.stages)


def indicators_of(records: list[Read]) -> dict[tuple[str, int], list[dict[str, object]]]:
    found = {}
    for one in records:
        frame = decode_indicators(one.value)
        assert 1 == frame.envelope.chunks
        found[frame.envelope.group, frame.envelope.t_ms] = frame.rows.to_pylist()
    return found


def alert_of(record: Read) -> Alert:
    return decode(record.value, Alert)


def assert_same(expected: Life, log: KafkaLog) -> None:
    """Compare what readers keep; an epoch is a time, here that of the test."""
    mine, theirs = expected.indicators(), indicators_of(log.read(TopicName.INDICATORS))
    assert mine.keys() == theirs.keys()
    for key, rows in mine.items():
        assert [without_value(row) for row in rows] == [without_value(row) for row in theirs[key]]
        values = [row["value"] for row in rows]
        assert values == pytest.approx([row["value"] for row in theirs[key]], rel=1e-9)
    alerts: dict[tuple[str, int], Alert] = {}
    for one in map(alert_of, log.read(TopicName.ALERTS)):
        alerts.setdefault((one.fingerprint, one.seq), one)
    assert 1 == len({one.epoch for one in alerts.values()})
    assert {key[::2]: timeless(one) for key, one in expected.alerts().items()} == {
        key: timeless(one) for key, one in alerts.items()
    }


def timeless(alert: Alert) -> Alert:
    """An alert without what follows from its epoch."""
    correlated = "some" if alert.correlation_id else None
    return msgspec.structs.replace(alert, epoch=0, event_id="", correlation_id=correlated)
