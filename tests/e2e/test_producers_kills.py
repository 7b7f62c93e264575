"""Producers and their broker die while targets are scraped, again and again: no attempt is lost but
what a killed process had in hand, and no number is used twice.

What is in the topic is judged three times: by the function that `planewatch verify` uses, by a
count that shares nothing with it, and, stored by sinks, by the command itself. Records that waited
on disk come late, so numbers are judged in their own order, never by offset. Every answer of a
target has a number of its own, so that what was observed is counted, too.
"""

import itertools
import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.arrow import decode_scrape
from schemas.identity import Target
from schemas.records import Outcome, ScrapeEnvelope
from schemas.topics import TopicName, full_name
from sinks.core.gaps import Judged, Streak, What, judge
from sinks.query import ask
from tests.fixtures import REPOSITORY
from tests.services.kafka import KafkaBroker
from tests.services.misbehaving import Behaviour, Server, response, silent
from tests.services.records import read_all
from tests.services.stages import Stages, clean_environment

PRODUCERS = "producers"
PLANEWATCH = Path(sys.executable).parent / "planewatch"
PARTITIONS = 2
LATE_S = 0.5
WORKING_S = (0.1, 3.0)
STARTING_S = (0.2, 2.0)
STARTING_SHARE = 0.25
PATIENCE_S = 120.0
ANSWERS = "answers_total"
AWAY = "south"  # the cluster that is removed, and comes back
BIG_ROWS = 12_000  # of one scrape: several records


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the topic."""

    partition: int
    offset: int
    envelope: ScrapeEnvelope
    answer: float | None  # what the target said, where it was told and is in this chunk
    value: bytes

    @property
    def target(self) -> Target:
        """Who was scraped."""
        one = self.envelope
        return Target(one.cluster, one.job, one.instance, one.path)


@pytest.mark.parametrize(
    "kills", [10, pytest.param(100, marks=pytest.mark.torture)], ids=["10", "100"]
)
def test_kills_of_producers_and_broker_lose_and_double_nothing(
    kafka_broker: KafkaBroker, topic_prefix: str, tmp_path: Path, kills: int
) -> None:
    servers = {
        "quick": Server(answering_numbers(b"")),
        "big": Server(answering_numbers(b"".join(b'x{n="%d"} 1\n' % n for n in range(BIG_ROWS)))),
        "hangs": Server(silent),
    }
    stages = Stages(tmp_path, settings_tree(kafka_broker.bootstrap, topic_prefix, servers))
    killer = Kills(kafka_broker, stages, random.Random(kills))
    try:
        stages.start(PRODUCERS)
        killer.run(kills)
        stages.wait_until_ready(PRODUCERS)
        send_the_backlog_while_a_cluster_is_away(stages)
        time.sleep(2.0)  # undisturbed
        assert 0 == stages.stop(PRODUCERS), stages.tail(PRODUCERS)
        records = [*topic(kafka_broker.bootstrap, topic_prefix)]
        judged = judge(streaks(records))
        tell(killer, judged)
        assert [] == killer.ended  # they outlive their broker
        assert max(one.envelope.chunks for one in records) > 1
        assert {"quick", "refused", "hangs", "big"} <= {one.target.instance for one in records}
        assert [] == [odd for odd in judged.odd if odd[1].is_finding]
        assert [] == [*contradictions(records)]
        assert newest_on_disk(tmp_path) == newest_in_topic(records)
        assert_a_planted_loss_is_found(records)
        assert_stored_and_verified(stages, judged, len(records))
    finally:
        stages.close()
        for server in servers.values():
            server.close()


def answering_numbers(more: bytes) -> Behaviour:
    """Answer each request with a number of its own, and `more`."""
    numbers = itertools.count(1)

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(
            response("200 OK", b"%s %d\n" % (ANSWERS.encode(), next(numbers)) + more)
        )

    return behave


def settings_tree(bootstrap: str, prefix: str, servers: dict[str, Server]) -> dict[str, Any]:
    """Two clusters in partitions of their own; four targets, one of which nobody listens for."""

    def target(name: str, interval_s: float, timeout_s: float) -> dict[str, Any]:
        port = servers[name].port if name in servers else 1
        url = f"http://127.0.0.1:{port}/metrics"
        times = {"interval_s": interval_s, "timeout_s": timeout_s}
        return {"job": "etcd", "instance": name, "url": url, **times}

    quick = [target("quick", 0.2, 10.0), target("refused", 0.5, 1.0), target("hangs", 0.25, 0.7)]
    return {
        "kafka": {
            "bootstrap": bootstrap,
            "prefix": prefix,
            "partitions": PARTITIONS,
            "replication": 1,
        },
        "producers": {"spool_after_s": LATE_S, "interval_s_max": 1.0},
        "sinks": {"flush_age_s": 0.2},
        "clusters": [
            {"id": "north", "targets": quick},
            {"id": AWAY, "targets": [target("big", 1.0, 10.0)]},
        ],
    }


class Kills:
    """Whoever kills."""

    def __init__(self, broker: KafkaBroker, stages: Stages, dice: random.Random) -> None:
        self.done = 0
        self.ended: list[str] = []  # how producers ended by themselves
        self._broker, self._stages, self._dice = broker, stages, dice

    def run(self, kills: int) -> None:
        """Kill so many processes."""
        plan = itertools.cycle(
            (self.producers, self.broker, self.producers, self.both, self.producers_without_broker)
        )
        while self.done < kills:
            starting = self._dice.random() < STARTING_SHARE
            if not starting:
                self._tend()
                self._stages.wait_until_ready(PRODUCERS)
            time.sleep(self._dice.uniform(*(STARTING_S if starting else WORKING_S)))
            self._tend()
            next(plan)()

    def producers(self) -> None:
        """Kill producers."""
        self._restart_producers()

    def broker(self) -> None:
        """Kill the broker."""
        self._kill_broker()
        self._broker.start()

    def both(self) -> None:
        """Kill both in the same moment."""
        self._kill_broker()
        self._restart_producers()
        self._broker.start()

    def producers_without_broker(self) -> None:
        """Kill producers while their broker is away: some records are on disk, some are not yet."""
        self._kill_broker()
        time.sleep(self._dice.uniform(0.0, 6 * LATE_S))
        self._restart_producers()
        self._broker.start()

    def _kill_broker(self) -> None:
        self._broker.kill()
        self.done += 1

    def _restart_producers(self) -> None:
        self._stages.kill(PRODUCERS)
        self.done += 1
        self._stages.start(PRODUCERS, wait=False)

    def _tend(self) -> None:
        """Start producers again that ended by themselves, as a service manager would."""
        code = self._stages.exit_code(PRODUCERS)
        if code is not None:
            said = self._stages.tail(PRODUCERS).strip().splitlines()
            self.ended.append(f"{code}: {said[-1] if said else ''}")
            self._stages.start(PRODUCERS, wait=False)


def send_the_backlog_while_a_cluster_is_away(stages: Stages) -> None:
    """Remove a cluster until nothing waits on disk, which then is sent fast; let it come back."""
    assert 0 == stages.stop(PRODUCERS), stages.tail(PRODUCERS)
    whole = json.loads(stages.config.read_text())
    fewer = {"clusters": [one for one in whole["clusters"] if one["id"] != AWAY]}
    stages.config.write_text(json.dumps(whole | fewer))
    stages.start(PRODUCERS)
    until(lambda: not any((stages.data / "producers" / "spool").rglob("*.spool")), stages)
    assert 0 == stages.stop(PRODUCERS), stages.tail(PRODUCERS)
    stages.config.write_text(json.dumps(whole))
    stages.start(PRODUCERS)


def topic(bootstrap: str, prefix: str) -> Iterator[Record]:
    """Yield all records of scrapes."""
    for message in read_all(bootstrap, full_name(TopicName.SCRAPES, prefix)):
        value, partition, offset = message.value(), message.partition(), message.offset()
        assert isinstance(value, bytes) and partition is not None and offset is not None
        frame = decode_scrape(value)
        rows = frame.rows.slice(0, 1).to_pylist()
        answer = rows[0]["value"] if rows and rows[0]["metric"] == ANSWERS else None
        yield Record(partition, offset, frame.envelope, answer, value)


def streaks(records: Sequence[Record]) -> dict[Target, list[Streak]]:
    """Return each attempt as a streak of its own; what was delivered again is one attempt."""
    copies = Counter((one.target, one.value) for one in records if one.envelope.chunk == 0)
    places = {(one.target, one.value): one for one in reversed(records)}
    found: dict[Target, list[Streak]] = defaultdict(list)
    for key, count in copies.items():
        record = places[key]
        one = record.envelope
        found[record.target].append(
            Streak(
                generation=one.generation,
                first=one.sequence,
                last=one.sequence,
                first_ms=one.tick_ms,
                last_ms=one.tick_ms,
                removes=one.outcome is Outcome.REMOVED,
                repeats=count - 1,
                partition=record.partition,
                first_offset=record.offset,
                last_offset=record.offset,
            )
        )
    return found


def contradictions(records: Sequence[Record]) -> Iterator[str]:
    """Yield what cannot be, found by sets of numbers alone."""
    for (target, _), own in lives(records).items():
        numbers: dict[str, set[int]] = defaultdict(set)
        ids: dict[int, set[str]] = defaultdict(set)
        chunks: dict[str, set[int]] = defaultdict(set)
        values: dict[tuple[str, int], set[bytes]] = defaultdict(set)
        for record in own:
            one = record.envelope
            numbers[one.generation].add(one.sequence)
            ids[one.sequence].add(one.scrape_id)
            chunks[one.scrape_id].add(one.chunk)
            values[one.scrape_id, one.chunk].add(record.value)
        yield from (f"{target}: {n} is used twice" for n, found in ids.items() if len(found) > 1)
        yield from (f"{target}: {key} differs" for key, found in values.items() if len(found) > 1)
        spans = sorted((min(found), max(found), len(found)) for found in numbers.values())
        yield from (f"{target}: gap in {a}-{b}" for a, b, n in spans if b - a + 1 != n)
        yield from (
            f"{target}: {a} in the midst of another process"
            for (_, end, _), (a, _, _) in itertools.pairwise(spans)
            if a <= end
        )
        newest = {max(found) for found in numbers.values()}  # of a killed process: may be half
        yield from (
            f"{target}: {one.envelope.sequence} lacks chunks"
            for one in own
            if len(chunks[one.envelope.scrape_id]) != one.envelope.chunks
            and one.envelope.sequence not in newest
        )
        yield from observed_twice_or_not(target, own)


def lives(records: Sequence[Record]) -> dict[tuple[Target, int], list[Record]]:
    """Return the records of each target, apart for each time that it came back."""
    ends: dict[Target, set[int]] = defaultdict(set)
    for one in records:
        if one.envelope.outcome is Outcome.REMOVED:
            ends[one.target].add(one.envelope.tick_ms)
    found: dict[tuple[Target, int], list[Record]] = defaultdict(list)
    for one in records:
        life = sum(end < one.envelope.tick_ms for end in ends[one.target])
        found[one.target, life].append(one)
    return found


def observed_twice_or_not(target: Target, records: Sequence[Record]) -> Iterator[str]:
    """Yield where answers of a target do not follow each other as its attempts do."""
    told = {
        one.envelope.sequence: (one.envelope.generation, one.answer)
        for one in records
        if one.answer is not None
    }
    for number, (generation, answer) in told.items():
        process, following = told.get(number + 1, ("", None))
        assert answer is not None
        if process == generation and following is not None and following != answer + 1:
            yield f"{target}: answer {answer} of {number} is followed by {following}"
    if len({answer for _, answer in told.values()}) != len(told):
        yield f"{target}: an answer is there twice"


def newest_on_disk(data: Path) -> dict[Target, int]:
    """Return the newest number of each target as producers left it on disk."""
    return {
        Target(file.stem, one["job"], one["instance"], one["path"]): one["sequence"]
        for file in (data / "producers" / "targets").glob("*.json")
        for one in msgspec.json.decode(file.read_bytes())["targets"]
    }


def newest_in_topic(records: Sequence[Record]) -> dict[Target, int]:
    """Return the newest number of each target since it came back."""
    newest: dict[Target, int] = {}
    for (target, _), own in sorted(lives(records).items(), key=lambda one: one[0]):
        newest[target] = max(one.envelope.sequence for one in own)
    return newest


def assert_a_planted_loss_is_found(records: Sequence[Record]) -> None:
    """Take one attempt out of the midst of a process."""
    newest = max(records, key=lambda one: one.envelope.tick_ms).envelope.generation
    own = [one for one in records if one.envelope.generation == newest]
    target = Counter(one.target for one in own).most_common(1)[0][0]
    numbers = sorted({one.envelope.sequence for one in own if one.target == target})
    taken = numbers[len(numbers) // 2]
    assert len(numbers) > 2
    left = [one for one in records if (one.target, one.envelope.sequence) != (target, taken)]
    found = [(t, odd.what, odd.first, odd.last) for t, odd in judge(streaks(left)).odd]
    assert (target, What.LOST, taken, taken) in found
    assert [*contradictions(left)]


def assert_stored_and_verified(stages: Stages, judged: Judged, count: int) -> None:
    """Let sinks store the topic; the command says of the tables what was found in the topic."""
    sql = "SELECT count() AS n FROM records WHERE scrapes + samples + histograms > 0"
    stages.start("sinks")
    until(lambda: ask(stages.settings, sql, {}).to_pylist() == [{"n": count}], stages, "sinks")
    through_the_front = verify(stages)
    assert 0 == stages.stop("sinks"), stages.tail("sinks")
    killed = [odd.attempts for _, odd in judged.odd]
    for said in (through_the_front, verify(stages)):
        assert f"verified {judged.attempts} scrapes of {judged.targets} targets in " in said
        assert f"left out {sum(killed)} numbers in {len(killed)} gaps" in said
        assert f"equal in everything: {judged.repeats} records" in said
        assert "findings: 0" == said.splitlines()[-1]


def verify(stages: Stages) -> str:
    done = subprocess.run(
        [PLANEWATCH, "verify", "--scrapes", "--config", str(stages.config), "--from", "-6h"],
        capture_output=True,
        text=True,
        env=clean_environment(),
        cwd=REPOSITORY,
        timeout=PATIENCE_S,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def until(true: Callable[[], bool], stages: Stages, stage: str = PRODUCERS) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end_s, stages.tail(stage)
        time.sleep(0.2)


def tell(killer: Kills, judged: Judged) -> None:
    """Print what the note reports."""
    killed = [odd.attempts for _, odd in judged.odd if not odd.is_finding]
    print(f"\n{killer.done} kills, {judged.attempts} attempts of {judged.targets} targets")
    print(
        f"{len(killed)} gaps of {sum(killed)} attempts, at most {max(killed, default=0)};", end=""
    )
    print(f" {judged.repeats} records delivered again; ended by itself: {killer.ended}")
