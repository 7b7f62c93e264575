"""Run the clusters of a partition without Kafka. In: a log of records. Out: what was emitted, also
over crashes.

Rule: a crash forgets everything but the table and what was sent; the next life reads what it asks
for, as the worker does: changes and logs to where they end, then scrapes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import yaml

from schemas.arrow import encode_scrape
from schemas.codec import encode
from schemas.partition import partition_of
from schemas.records import Alert, Change, LogBatch, LogLine, Op
from schemas.topics import TopicName
from streams.core import state
from streams.core.context import Context
from streams.core.hearing import Now
from streams.core.outputs import Outputs
from streams.core.rules.files import RuleSet, load_rules
from streams.core.rules.overrides import RuleSets
from streams.core.samples import Scrape
from streams.core.shard import Shard
from streams.core.state import INPUTS
from tests.scrapes import CLUSTER, scrape

PARTITIONS = 4
PARTITION = partition_of(CLUSTER, PARTITIONS)
NOW = Now(wall_ms=1_000, event_ms=0)

RULES = """
groups:
  - name: g
    interval: 15s
    rules:
      - {record: "requests:rate", expr: "sum by (job, instance) (rate(requests_total[1m]))"}
      - {record: "requests:all", expr: "sum(requests:rate)"}
      - {record: "leases:seen", expr: "leases:age"}
      - {record: "lines:rate", expr: "sum by (level) (rate(planewatch_log_lines_total[1m]))"}
  - name: slow
    interval: 30s
    rules:
      - {record: "leases:age", expr: "max(planewatch_lease_age_seconds)"}
      - {record: "requests:slow", expr: "requests:all"}
  - name: a
    rules:
      - alert: Down
        expr: up == 0
        labels: {severity: critical}
      - alert: Busy
        expr: sum by (instance) (rate(requests_total[1m])) > 5
        for: 20s
        labels: {severity: warning}
      - alert: Errors
        expr: increase(planewatch_log_lines_total{level="error"}[1m]) > 2
        labels: {severity: info}
"""


@dataclass(frozen=True)
class Entry:
    """One record of the partition."""

    topic: TopicName
    offset: int
    value: bytes | None


class Log:
    """A partition of every topic, in the order of arrival."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._next = dict.fromkeys(INPUTS, 0)

    def add(self, topic: TopicName, value: bytes | None) -> None:
        """Append a record."""
        self.entries.append(Entry(topic, self._next[topic], value))
        self._next[topic] += 1

    def scrape(self, one: Scrape, chunks: int = 1) -> None:
        """Append a scrape, cut into chunks of equal length."""
        for i, value in enumerate(chunked(one, chunks)):
            assert i < chunks
            self.add(TopicName.SCRAPES, value)


def chunked(one: Scrape, chunks: int) -> list[bytes]:
    """Return the records of a scrape."""
    rows = one.rows.num_rows
    ends = [rows * i // chunks for i in range(chunks + 1)]
    return [
        encode_scrape(
            msgspec.structs.replace(one.envelope, chunk=i, chunks=chunks),
            one.rows.slice(ends[i], ends[i + 1] - ends[i]),
        )
        for i in range(chunks)
    ]


def requests(counts: Sequence[int], t_ms: int, **more: object) -> Scrape:
    """Return a scrape of counters."""
    lines = [f'requests_total{{verb="V{i}"}} {count}' for i, count in enumerate(counts)]
    return scrape("\n".join(lines), t_ms, **more)  # type: ignore[arg-type]  # a test's own names


def lease(t_ms: int, renewed: str, name: str = "kube-scheduler") -> bytes:
    """Return a change of a lease."""
    spec = {"renewTime": renewed, "holderIdentity": "a", "leaseTransitions": 3}
    return encode(
        Change(
            cluster=CLUSTER,
            api_version="coordination.k8s.io/v1",
            kind="Lease",
            namespace="kube-system",
            name=name,
            uid="u",
            resource_version="1",
            op=Op.MODIFIED,
            received_ms=t_ms,
            object={"spec": spec},
        )
    )


def lines(times_ms: Iterable[int], level: str = "error", template: str = "took too long") -> bytes:
    """Return a batch of log lines."""
    made = [
        LogLine(ts_ms=t_ms, level=level, template=template, message="", raw="") for t_ms in times_ms
    ]
    return encode(LogBatch(cluster=CLUSTER, job="etcd", instance="e", lines=made))


def rules(text: str = RULES) -> RuleSet:
    """Return a rule set."""
    assert yaml.safe_load(text)
    return load_rules({"test.yaml": text})


@dataclass
class Life:
    """A partition's worker, its table, and everything that it ever sent."""

    context: Context = field(default_factory=lambda: Context(RuleSets(rules()), 660_000))
    table: dict[bytes, bytes] = field(default_factory=dict)
    sent: list[Outputs] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shard = self._new()
        self._begin([], [])

    def take(self, entry: Entry, *, saves: int | None = None) -> None:
        """Take one record; with `saves` the crash comes after so many writes to the table."""
        result = self.shard.on_record(entry.topic, entry.offset, entry.value, NOW)
        if result is None:
            return
        self.sent.append(result.outputs)
        for kind, value in [*result.outputs.writes.items()][:saves]:
            key = state.table_key(result.cluster, kind)
            self.table.pop(key, None)
            if value is not None:
                self.table[key] = value

    def crash(self, log: Sequence[Entry], *, acknowledged: int | None = None) -> int:
        """Die, live again and read back; return how many scrapes were read again.

        acknowledged: how many records of the log were; all by default.
        """
        seeks = self.restart(log, acknowledged=acknowledged)
        again = [one for one in log if one.offset >= seeks[one.topic]]
        facts = [one for one in again if one.topic is not TopicName.SCRAPES]
        scrapes = [one for one in again if one.topic is TopicName.SCRAPES]
        for one in facts:
            self.take(one)
        assert not self.shard.waits_for_facts
        for one in scrapes:
            self.take(one)
        assert not self.shard.replaying
        return len(scrapes)

    def restart(
        self, log: Sequence[Entry], *, acknowledged: int | None = None
    ) -> dict[TopicName, int]:
        """Die and live again; return from where each topic is to be read."""
        self.shard = self._new()
        self.shard.restore(self.table.items(), _ends(log))
        return self._begin(log, log[:acknowledged])

    def indicators(self) -> dict[tuple[str, int], list[dict[str, object]]]:
        """Return the rows that a reader keeps: the newest of each group and time."""
        return {
            (envelope.group, envelope.t_ms): rows.to_pylist()
            for out in self.sent
            for envelope, rows in out.indicators
        }

    def alerts(self) -> dict[tuple[str, int, int], Alert]:
        """Return the alert records that a reader keeps: the first of each number."""
        found: dict[tuple[str, int, int], Alert] = {}
        for out in self.sent:
            for alert in out.alerts:
                found.setdefault((alert.fingerprint, alert.epoch, alert.seq), alert)
        return found

    def _new(self) -> Shard:
        return Shard(PARTITION, PARTITIONS, self.context, clusters_max=10)

    def _begin(self, log: Sequence[Entry], acknowledged: Sequence[Entry]) -> dict[TopicName, int]:
        return self.shard.begin(_ends(acknowledged), dict.fromkeys(INPUTS, 0), _ends(log))


def _ends(log: Sequence[Entry]) -> dict[TopicName, int]:
    return {
        topic: 1 + max((one.offset for one in log if one.topic is topic), default=-1)
        for topic in INPUTS
    }


def live(entries: Iterable[Entry]) -> Life:
    """Return an undisturbed life."""
    life = Life()
    for entry in entries:
        life.take(entry)
    return life
