"""Judge what a worker published by what one that nobody disturbed would have.

In: the settings and the broker of a worker that was stopped. Out: all differences, as text.

Rule: the pure core takes the scrapes of the worker's own log, in one life, up to the offset that
the worker committed as it stopped. That log is the whole input: `silent` records, which depend on
clocks, are in it, too. Of what is there repeatedly a reader keeps one: of alerts by (epoch, seq),
of indicators by (group, T); repeats must say the same.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from confluent_kafka import Message
from msgspec.structs import replace

from schemas.arrow import decode_indicators
from schemas.codec import decode
from schemas.records import Alert
from schemas.settings import Settings
from schemas.topics import TopicName, full_name
from streams.core.context import Context
from streams.core.evaluate import Limits
from streams.core.hearing import Now
from streams.core.outputs import Outputs
from streams.core.shard import Shard
from streams.core.state import INPUTS
from streams.rulefiles import configured_rule_sets
from tests.kafkalog import KafkaLog
from tests.services.records import read_all

PRECISION = 1e-9
SHOWN_MAX = 20

Rows = list[dict[str, object]]


@dataclass
class Published:
    """What readers keep of the topics of a worker."""

    indicators: dict[tuple[str, str, int], bytes] = field(default_factory=dict)
    alerts: dict[tuple[str, str, int, int], Alert] = field(default_factory=dict)
    epochs: dict[str, set[int]] = field(default_factory=dict)  # by cluster
    times_ms: list[int] = field(default_factory=list)  # wall clock: when results were published
    repeats: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)  # between repeats

    def take_indicators(self, message: Message) -> None:
        """Take one record."""
        value = message.value() or b""
        envelope = decode_indicators(value).envelope
        assert envelope.chunks == 1, "the rules of this test have small results"
        self.epochs.setdefault(envelope.cluster, set()).add(envelope.epoch)
        self.times_ms.append(message.timestamp()[1])
        key = (envelope.cluster, envelope.group, envelope.t_ms)
        if self.indicators.setdefault(key, value) is not value:
            self.repeats["indicators"] += 1
            self.differences += differing_rows(f"again {key}", rows_of(self.indicators[key]), value)

    def take_alert(self, message: Message) -> None:
        """Take one record."""
        one = decode(message.value(), Alert)
        self.epochs.setdefault(one.cluster, set()).add(one.epoch)
        before = self.alerts.setdefault((one.cluster, one.fingerprint, one.epoch, one.seq), one)
        if before is not one:
            self.repeats["alerts"] += 1
            self.differences += differing_alerts("again", before, one)

    def transitions(self) -> Counter[tuple[str, str]]:
        """Return how often each alert changed to what."""
        return Counter((one.labels["alertname"], str(one.status)) for one in self.alerts.values())


def published(bootstrap: str, prefix: str) -> Published:
    """Read all that was published."""
    found = Published()
    for message in read_all(bootstrap, full_name(TopicName.INDICATORS, prefix)):
        found.take_indicators(message)
    for message in read_all(bootstrap, full_name(TopicName.ALERTS, prefix)):
        found.take_alert(message)
    return found


def differences(settings: Settings, bootstrap: str, found: Published) -> list[str]:
    """Return in what the worker differs from an undisturbed one."""
    wrong = [*found.differences]
    wrong += [f"{name} has epochs {ids}" for name, ids in found.epochs.items() if len(ids) != 1]
    left, left_alerts = dict(found.indicators), dict(found.alerts)
    for cluster, out in undisturbed(settings, bootstrap, found):
        for envelope, rows in out.indicators:
            key = (cluster, envelope.group, envelope.t_ms)
            if value := left.pop(key, None):
                wrong += differing_rows(str(key), rows.to_pylist(), value)
            else:
                wrong.append(f"missing: {key}")
        for alert in out.alerts:
            mine = left_alerts.pop((cluster, alert.fingerprint, alert.epoch, alert.seq), None)
            if mine is None:
                wrong.append(f"missing: {brief(alert)}")
            else:
                wrong += differing_alerts("", alert, mine)
    wrong += [f"too much: {key}" for key in left]
    wrong += [f"too much: {brief(one)}" for one in left_alerts.values()]
    return wrong


def undisturbed(
    settings: Settings, bootstrap: str, found: Published
) -> Iterator[tuple[str, Outputs]]:
    """Yield what one life makes of the logs that the worker read."""
    kafka, log = settings.kafka, KafkaLog(bootstrap, settings.kafka.prefix)
    limits = Limits(settings.streams.results_max, settings.streams.alerts_max)
    rewind_ms = int(settings.streams.rewind_s * 1000)
    context = Context(configured_rule_sets(settings), rewind_ms, limits=limits)
    nothing = dict.fromkeys(INPUTS, 0)
    shards: dict[int, Shard] = {}
    ends: dict[int, int] = {}
    for message in read_all(bootstrap, full_name(TopicName.SCRAPES, kafka.prefix)):
        partition, offset = message.partition() or 0, message.offset() or 0
        if partition not in shards:
            shard = Shard(partition, kafka.partitions, context, clusters_max=100)
            shard.begin(nothing, nothing, nothing)
            shards[partition] = shard
            ends[partition] = log.committed(TopicName.SCRAPES, partition, "streams")
        if offset >= ends[partition]:
            continue
        key = message.key() or b""
        assert isinstance(key, bytes)
        epoch = min(found.epochs[key.decode().partition("/")[0]])  # the one thing a clock gave
        value = message.value()
        result = shards[partition].on_record(TopicName.SCRAPES, offset, value, Now(epoch, 0))
        if result is not None:
            yield result.cluster, result.outputs


def rows_of(value: bytes) -> Rows:
    """Return the rows of a record of indicators."""
    rows: Rows = decode_indicators(value).rows.to_pylist()
    return rows


def differing_rows(what: str, expected: Rows, value: bytes) -> Iterator[str]:
    """Yield the rows that differ: labels and coverage by a bit, values by more than they may."""
    found = rows_of(value)
    if len(expected) != len(found):
        there, wanted = ([_written(row) for row in rows] for rows in (found, expected))
        yield from (f"{what}: without {row}" for row in wanted if row not in there)
        yield from (f"{what}: unasked {row}" for row in there if row not in wanted)
        return
    for one, other in zip(expected, found, strict=True):
        mine, theirs = dict(one), dict(other)
        if not close(mine.pop("value"), theirs.pop("value")) or mine != theirs:
            yield f"{what}: {_written(other)}, not {_written(one)}"


def _written(row: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in row.items() if value not in {"", "{}"})


def differing_alerts(what: str, expected: Alert, found: Alert) -> Iterator[str]:
    """Yield in what two records of the same number differ."""
    one, other = expected.indicator, found.indicator
    if one and other and close(one.value, other.value):
        found = replace(found, indicator=replace(other, value=one.value))
    for name in Alert.__struct_fields__:
        mine, theirs = getattr(expected, name), getattr(found, name)
        if mine != theirs:
            yield f"{what} {brief(expected)}: {name} is {theirs}, not {mine}"


def brief(alert: Alert) -> str:
    """Return which alert, and what happens to it."""
    return (
        f"{alert.cluster} {alert.labels['alertname']} {alert.fingerprint} {alert.seq} "
        f"{alert.status} at {alert.updated_at_ms}"
    )


def close(one: object, other: object) -> bool:
    """Tell whether two numbers are equal but for how their sum was rounded."""
    assert isinstance(one, float) and isinstance(other, float)
    nothing = math.isnan(one) and math.isnan(other)
    return nothing or math.isclose(one, other, rel_tol=PRECISION, abs_tol=1e-12)
