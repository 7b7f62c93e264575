"""Make the records that sinks read, and say independently what they become.

In: seeds. Out: Kafka records of every topic and, for each, the number of rows of each table. Rule:
the numbers come from how a record was made and never from the code of sinks.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from confluent_kafka import Message, Producer

from schemas.arrow import (
    INDICATOR_SCHEMA,
    SCRAPE_SCHEMA,
    empty_rows,
    encode_indicators,
    encode_scrape,
)
from schemas.codec import encode
from schemas.partition import partition_of
from schemas.records import (
    Alert,
    Change,
    IndicatorEnvelope,
    LogBatch,
    LogLine,
    Op,
    Outcome,
    ScrapeEnvelope,
    Status,
)
from schemas.series import CORE_LABELS
from schemas.topics import TopicName, full_name

DELIVERED_S_MAX = 120.0  # a broker on a busy machine stalls for half a minute
CLUSTERS = ("prod-eu-1", "prod-eu-2", "prod-us-1", "stage-1", "dev-1")
T0_MS = 1_764_000_000_000
COUNTED = (
    *("samples", "histograms", "scrapes", "changes", "logs"),
    *("indicators", "alerts", "dead_letters"),
)


@dataclass(frozen=True, slots=True)
class Made:
    """One record, and the rows that it must become."""

    topic: TopicName
    cluster: str
    key: str
    value: bytes | None
    rows: Mapping[str, int]
    outcome: str = "stored"
    headers: dict[str, str] = field(default_factory=dict)


def mixed(seed: int, count: int, *, series: int = 200) -> Iterator[Made]:
    """Make `count` records of all topics but dead-letters; one in 40 cannot be read."""
    dice = random.Random(seed)
    for i in range(seed * 100_000, seed * 100_000 + count):  # no two records are alike
        cluster = dice.choice(CLUSTERS)
        kind = dice.choices(
            ("scrape", "failed", "change", "logs", "indicators", "alert", "tombstone", "broken"),
            weights=(20, 2, 4, 4, 6, 2, 1, 1),
        )[0]
        t_ms = T0_MS + i * 100
        match kind:
            case "scrape":
                yield scrape(cluster, t_ms, sequence=i, plain=series, histograms=series // 8)
            case "failed":
                yield scrape(cluster, t_ms, sequence=i, outcome=Outcome.REFUSED)
            case "change":
                yield change(cluster, t_ms)
            case "logs":
                yield logs(cluster, t_ms, lines=dice.randint(1, 20))
            case "indicators":
                yield indicators(cluster, t_ms, results=dice.randint(0, 50))
            case "alert":
                yield alert(cluster, t_ms, seq=i)
            case "tombstone":
                yield Made(TopicName.ALERTS, cluster, f"{cluster}/f", None, {}, "tombstone")
            case _:
                topic = dice.choice((TopicName.SCRAPES, TopicName.CHANGES, TopicName.LOGS))
                yield Made(topic, cluster, f"{cluster}/x", b"\xff\x00 nobody", {}, "undecodable")


def scrape(
    cluster: str,
    t_ms: int,
    *,
    sequence: int,
    plain: int = 0,
    histograms: int = 0,
    outcome: Outcome = Outcome.OK,
    chunk: int = 0,
) -> Made:
    """Make one chunk of a scrape of `plain` counters and `histograms`."""
    envelope = ScrapeEnvelope(
        cluster=cluster,
        job="apiserver",
        instance="cp-1",
        path="/metrics",
        scrape_id=f"{sequence:016x}",
        chunk=chunk,
        chunks=chunk + 1,
        tick_ms=t_ms,
        start_ms=t_ms + 3,
        end_ms=t_ms + 50,
        interval_ms=15_000,
        sequence=sequence,
        outcome=outcome,
        rows=plain + histograms,
        kubernetes_version="v1.36.2",
    )
    rows = scrape_rows(plain, histograms) if plain + histograms else empty_rows(SCRAPE_SCHEMA)
    counts = {"samples": plain, "histograms": histograms, "scrapes": int(chunk == 0)}
    key = f"{cluster}/apiserver/cp-1"
    return Made(TopicName.SCRAPES, cluster, key, encode_scrape(envelope, rows), counts)


def scrape_rows(plain: int, histograms: int) -> pa.RecordBatch:
    """Make rows of SCRAPE_SCHEMA, counters first."""
    count = plain + histograms
    is_histogram = [i >= plain for i in range(count)]
    columns: dict[str, list[object]] = {
        "metric": ["request_seconds" if one else "requests_total" for one in is_histogram],
        "kind": ["histogram" if one else "counter" for one in is_histogram],
        **{label: [""] * count for label in CORE_LABELS},
        "verb": [("GET", "LIST")[i % 2] for i in range(count)],
        "labels": [f'{{"n":"{i}"}}' for i in range(count)],
        "series": [*range(1, count + 1)],
        "value": [float(i) for i in range(count)],
        "count": [6 if one else None for one in is_histogram],
        "buckets": [[1, 2, 3] if one else None for one in is_histogram],
        "bounds": ["0.1,1" if one else "" for one in is_histogram],
    }
    return batch(columns, SCRAPE_SCHEMA)


def change(cluster: str, t_ms: int) -> Made:
    """Make a change of a Lease."""
    record = Change(
        cluster=cluster,
        api_version="coordination.k8s.io/v1",
        kind="Lease",
        namespace="kube-system",
        name="kube-scheduler",
        uid="u-1",
        resource_version=str(t_ms),
        op=Op.MODIFIED,
        received_ms=t_ms,
        object={"spec": {"holderIdentity": "cp-1"}},
    )
    return Made(TopicName.CHANGES, cluster, f"{cluster}/u-1", encode(record), {"changes": 1})


def logs(cluster: str, t_ms: int, *, lines: int) -> Made:
    """Make a batch of log lines."""
    line = LogLine(ts_ms=t_ms, level="info", template="m <*>", message="m 1", raw="{}")
    record = LogBatch(cluster=cluster, job="etcd", instance="cp-1", lines=[line] * lines)
    return Made(TopicName.LOGS, cluster, f"{cluster}/cp-1", encode(record), {"logs": lines})


def indicators(cluster: str, t_ms: int, *, results: int) -> Made:
    """Make the results of one rule group."""
    envelope = IndicatorEnvelope(
        cluster=cluster, group="apiserver", t_ms=t_ms, interval_ms=15_000, rules_hash="h", epoch=1
    )
    columns: dict[str, list[object]] = {
        "metric": ["apiserver:request:rate_5m"] * results,
        **{label: [""] * results for label in CORE_LABELS},
        "labels": [f'{{"n":"{i}"}}' for i in range(results)],
        "value": [float(i) for i in range(results)],
        "coverage": [1.0] * results,
    }
    value = encode_indicators(envelope, batch(columns, INDICATOR_SCHEMA))
    key = f"{cluster}/apiserver"
    return Made(TopicName.INDICATORS, cluster, key, value, {"indicators": results})


def alert(cluster: str, t_ms: int, *, seq: int, status: Status = Status.FIRING) -> Made:
    """Make a state change of an alert."""
    record = Alert(
        cluster=cluster,
        fingerprint="00c0ffee00c0ffee",
        epoch=1,
        seq=seq,
        event_id=str(seq),
        dedup_key="d",
        rule_id="TooSlow",
        rule_version="1",
        status=status,
        severity="critical",
        severity_number=21,
        labels={"alertname": "TooSlow"},
        annotations={"summary": "p99 is 3 s"},
        active_at_ms=t_ms,
        starts_at_ms=t_ms,
        updated_at_ms=t_ms,
        watermark_ms=t_ms,
    )
    key = f"{cluster}/00c0ffee00c0ffee"
    headers = {"emitted-at-ms": str(t_ms + 5)}
    return Made(TopicName.ALERTS, cluster, key, encode(record), {"alerts": 1}, headers=headers)


def batch(columns: Mapping[str, list[object]], schema: pa.Schema) -> pa.RecordBatch:
    """Return columns of Python values as `schema` wants them."""
    arrays = [
        pa.array(columns[one.name], one.type.value_type).dictionary_encode().cast(one.type)
        if pa.types.is_dictionary(one.type)
        else pa.array(columns[one.name], one.type)
        for one in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


@dataclass
class Traffic:
    """Writes records to a broker and remembers where each one went."""

    bootstrap: str
    prefix: str
    partitions: int
    sent: dict[tuple[str, int, int], Made] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = {"bootstrap.servers": self.bootstrap, "enable.idempotence": True}
        self._producer = Producer({**settings, "linger.ms": 5, "compression.type": "zstd"})

    def send(self, *records: Made) -> None:
        """Return when the broker has them all."""
        for made in records:
            self._producer.produce(
                full_name(made.topic, self.prefix),
                made.value,
                key=made.key,
                partition=partition_of(made.cluster, self.partitions),
                headers=[*made.headers.items()],
                on_delivery=self._noting(made),
            )
            self._producer.poll(0)
        assert self._producer.flush(DELIVERED_S_MAX) == 0

    def _noting(self, made: Made):  # type: ignore[no-untyped-def] # the client's own callback type
        def note(error: object, message: Message) -> None:
            assert error is None, error
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None and partition is not None and offset is not None
            self.sent[topic, partition, offset] = made

        return note


def same(expected: Mapping[str, int], found: Mapping[str, int]) -> bool:
    """Tell whether two counts of rows by table are equal; what is not named is 0."""
    return all(expected.get(table, 0) == found.get(table, 0) for table in COUNTED)
