"""Run the clusters of one partition. In: its records of all input topics, and what the table says.
Out: outputs of a cluster; the offsets from which a replay must read.

The rules this file owns:
- A record is taken once: one that comes again (Faust delivers anew after a rebalance) is passed.
- A record on another partition than its cluster's would split the cluster: it is undecodable.
- A cluster that is gone is forgotten: far behind the others, and not heard of for long. Only both
  make it gone; otherwise one wrong clock would end its neighbours, or a cluster would end itself.
- A replay reads each topic from the earliest offset that a cluster needs; changes and logs are
  read to where they ended at the assignment before scrapes are, so that steps find their facts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.arrow import decode_scrape
from schemas.codec import decode
from schemas.errors import DecodeError
from schemas.identity import is_cluster_id
from schemas.metrics import Metric
from schemas.partition import partition_of
from schemas.records import Change, LogBatch, Outcome, ScrapeEnvelope
from schemas.topics import TopicName
from streams.core import state
from streams.core.cluster import ClusterEngine
from streams.core.context import Context
from streams.core.hearing import Hearing, Now
from streams.core.outputs import Outputs
from streams.core.rules.overrides import RuleSets
from streams.core.state import INPUTS

STALE_MS: Final = 3_600_000
"""A cluster that is this much behind the newest of its partition is gone: nobody reads back for it,
its windows have run dry."""

GONE_MS: Final = 86_400_000
"""A cluster that is this much behind is forgotten when it was not heard of for STALE_MS either."""

LOOK_MS: Final = 60_000
"""On the worker's clock, between two looks for clusters that are gone."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one record led to, and for which cluster."""

    cluster: str
    outputs: Outputs
    gone: bool = False  # it is over: nothing of it stays in the table


class Shard:
    """The clusters of one partition."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        context: Context,
        *,
        clusters_max: int,
        elsewhere: Callable[[], int] = lambda: 0,
    ) -> None:
        """Begin without clusters.

        clusters_max: of a worker; elsewhere: how many its other partitions have.
        """
        self.partition = partition
        self.engines: dict[str, ClusterEngine] = {}
        self.received: dict[TopicName, int] = {}  # last offset of each topic that was taken
        self.hearing = Hearing()
        self._partitions = partitions
        self._context = context
        self._clusters_max, self._elsewhere = clusters_max, elsewhere
        self._wanted: dict[TopicName, int] = {}
        self._ends: Mapping[TopicName, int] = {}
        self._committed: Mapping[TopicName, int | None] = {}
        self.missed = 0  # offsets that were never delivered: fallen out of the log, or a fault
        self.deleted: dict[TopicName, int] = {}  # records that the log lost before they were read
        self._useless: dict[str, frozenset[str]] = {}  # kinds in the table that cannot be read
        self._looked_ms: int | None = None
        self.lost: list[str] = []  # what of the saved state is of no use, and why

    def restore(self, items: Iterable[tuple[bytes, bytes]], ends: Mapping[TopicName, int]) -> None:
        """Take the state of this partition's clusters from the items of the table.

        ends: of the logs. What was saved for another log goes on without its offsets.
        """
        logs = {topic: state.Log(self._context.logs[topic], ends[topic]) for topic in INPUTS}
        stored = self._stored(items)
        faults = Counter(fault for one in stored.values() for fault in one.faults(logs))
        self.lost += [f"{count} clusters: {fault}" for fault, count in faults.items()]
        found = {name: one.saved(self._context.rewind_ms, logs) for name, one in stored.items()}
        newest_ms = max((one.position.newest_ms for one in found.values()), default=0)
        for cluster, one in found.items():
            stale = one.position.newest_ms < newest_ms - STALE_MS
            self.engines[cluster] = ClusterEngine.restore(cluster, self._context, one, stale=stale)
            if not stale:
                self._want(TopicName.SCRAPES, one.point.read_from)
                for topic in INPUTS[1:]:
                    self._want(topic, one.point.received[topic] + 1)

    def _stored(self, items: Iterable[tuple[bytes, bytes]]) -> dict[str, state.Stored]:
        found = {}
        for cluster, kinds in state.by_cluster(items).items():
            if partition_of(cluster, self._partitions) != self.partition:
                continue
            try:
                one = state.stored(kinds)
            except DecodeError as error:
                self.lost.append(f"{cluster}: {error}; it starts anew")
                one = None
            if one is None:
                self._useless[cluster] = frozenset(kinds)
            else:
                found[cluster] = one
        return found

    def fits(self, ends: Mapping[TopicName, int]) -> bool:
        """Tell whether the logs reach as far as they were read."""
        return all(offset < ends[topic] for topic, offset in self.received.items())

    def begin(
        self,
        committed: Mapping[TopicName, int | None],
        earliest: Mapping[TopicName, int],
        ends: Mapping[TopicName, int],
    ) -> dict[TopicName, int]:
        """Return the offset from which to read each topic.

        committed: of the consumer group, None where there is none; earliest, ends: of the log.
        """
        self._ends, self._committed = ends, committed
        seeks = {}
        for topic in INPUTS:
            read_to = self._read_to(topic, committed[topic])
            if read_to is not None and read_to < earliest[topic]:
                self.deleted[topic] = earliest[topic] - read_to
            offsets = [o for o in (self._wanted.get(topic), committed[topic]) if o is not None]
            at = max(min(offsets, default=earliest[topic]), earliest[topic])
            seeks[topic] = min(at, ends[topic])
        self.received = {topic: offset - 1 for topic, offset in seeks.items()}
        return seeks

    def _read_to(self, topic: TopicName, committed: int | None) -> int | None:
        """Return up to where a topic was read before, as far as anybody knows."""
        known = [] if committed is None else [committed]
        if topic is TopicName.SCRAPES:
            known += [one.evaluated + 1 for one in self.engines.values()]
        return max(known, default=None)

    def takes(self, rules: RuleSets) -> bool:
        """Tell whether all clusters can go on by other rules as they are."""
        settled = not (self.waits_for_facts or self.replaying)
        return settled and all(engine.takes(rules) for engine in self.engines.values())

    def use(self, context: Context) -> None:
        """Go on by other rules, which it takes."""
        self._context = context
        for engine in self.engines.values():
            engine.use(context)

    @property
    def waits_for_facts(self) -> bool:
        """Whether changes and logs have not been read yet to where they ended."""
        return any(
            self.received[topic] < self._ends[topic] - 1
            for topic in (TopicName.CHANGES, TopicName.LOGS)
        )

    def wait_no_more(self) -> None:
        """Go on without the changes and logs that have not come."""
        self._ends = {**self._ends, TopicName.CHANGES: 0, TopicName.LOGS: 0}

    @property
    def replaying(self) -> bool:
        """Whether scrapes are read that were evaluated before."""
        evaluated = max((one.evaluated for one in self.engines.values()), default=-1)
        last = min(evaluated, self._ends[TopicName.SCRAPES] - 1)
        return self.received[TopicName.SCRAPES] < last

    def on_record(
        self, topic: TopicName, offset: int, value: bytes | None, now: Now
    ) -> Result | None:
        """Take one record; None where nothing comes of it.

        Raises:
            DecodeError: it cannot be read; it counts as taken.
        """
        if offset <= self.received[topic]:
            return None
        before, self.received[topic] = self.received[topic], offset
        self.missed += offset - before - 1
        if topic is TopicName.SCRAPES:
            return self._on_scrape(offset, value, now, before)
        if topic is TopicName.CHANGES:
            change = decode(value, Change)
            return self._on_fact(topic, offset, change, now, before)
        if topic is TopicName.LOGS:
            batch = decode(value, LogBatch)
            return self._on_fact(topic, offset, batch, now, before)
        return None  # audit: no rule reads it yet

    def acknowledged(self, topic: TopicName, offset: int) -> bool:
        """Tell whether a record was done with before the assignment, and is read again."""
        return offset < (self._committed.get(topic) or 0)

    @property
    def read(self) -> int:
        """The last offset of scrapes that was taken."""
        return self.received[TopicName.SCRAPES]

    def silent(self) -> list[ScrapeEnvelope]:
        """Return the `silent` records to write; none unless everything was heard till lately."""
        moment = self.hearing.moment(self.read)
        if moment is None or self.waits_for_facts or self.replaying:
            return []
        at_ms = moment.now.event_ms
        if moment.deaf:
            for engine in self.engines.values():
                engine.heard_ms = at_ms
        return [one for engine in self.engines.values() for one in engine.silent(at_ms)]

    def expire(self, now: Now) -> list[Result]:
        """Forget the clusters that are gone; return what is left to say of them, after a record."""
        if self._looked_ms is not None and now.event_ms - self._looked_ms < LOOK_MS:
            return []
        self._looked_ms = now.event_ms
        if self.replaying:
            return []
        newest_ms = max((one.newest_ms for one in self.engines.values()), default=0)
        at_ms = min(newest_ms, now.event_ms)
        gone = [name for name, one in self.engines.items() if self._is_gone(one, at_ms, now)]
        return [Result(name, self.engines.pop(name).end(at_ms), gone=True) for name in gone]

    def _is_gone(self, engine: ClusterEngine, at_ms: int, now: Now) -> bool:
        if engine.heard_ms is None:
            engine.heard_ms = now.event_ms
        unheard_ms = now.event_ms - engine.heard_ms
        behind = 0 < engine.newest_ms < at_ms - GONE_MS
        # Within the rewind a replay would meet its records again, and take it for a new one.
        return behind and unheard_ms > max(STALE_MS, self._context.rewind_ms)

    def _want(self, topic: TopicName, offset: int) -> None:
        self._wanted[topic] = min(offset, self._wanted.get(topic, offset))

    def _on_scrape(self, offset: int, value: bytes | None, now: Now, before: int) -> Result:
        out, layouts = Outputs(), self._context.layouts
        dropped = layouts.dropped
        frame = decode_scrape(value, layouts)
        out.count(Metric.LIMIT_HITS, layouts.dropped - dropped, limit="layouts_bytes")
        envelope = frame.envelope
        if envelope.interval_ms <= 0 or not 0 <= envelope.chunk < envelope.chunks:
            raise DecodeError(
                f"interval {envelope.interval_ms} ms, chunk {envelope.chunk} of {envelope.chunks}"
            )
        engine = self._engine(envelope.cluster, TopicName.SCRAPES, now, before, out)
        if engine is not None:
            replayed = offset <= engine.evaluated
            out.count(Metric.REPLAYED, float(replayed), topic=TopicName.SCRAPES)
            if envelope.outcome is not Outcome.SILENT:
                engine.heard_ms = now.event_ms
            out = out.then(engine.on_scrape(offset, frame, self.received))
        return Result(envelope.cluster, out)

    def _on_fact(
        self, topic: TopicName, offset: int, record: Change | LogBatch, now: Now, before: int
    ) -> Result:
        out = Outputs()
        engine = self._engine(record.cluster, topic, now, before, out)
        if engine is None:
            return Result(record.cluster, out)
        if isinstance(record, Change):
            out = out.then(engine.on_change(offset, record))
        else:
            out = out.then(engine.on_logs(offset, record))
        return Result(record.cluster, out)

    def _engine(
        self, cluster: str, topic: TopicName, now: Now, before: int, out: Outputs
    ) -> ClusterEngine | None:
        """Return the engine of a cluster, made when it is first seen."""
        if engine := self.engines.get(cluster):
            return engine
        if not is_cluster_id(cluster):
            raise DecodeError(f"{cluster!r} is no cluster id")
        if (home := partition_of(cluster, self._partitions)) != self.partition:
            raise DecodeError(
                f"{cluster} belongs on partition {home} of {self._partitions}, not {self.partition}"
            )
        if len(self.engines) + self._elsewhere() >= self._clusters_max:
            out.count(Metric.LIMIT_HITS, limit="clusters_max")
            return None
        engine = ClusterEngine(cluster, self._context, epoch=now.wall_ms)
        self.engines[cluster] = engine
        out.writes.update(engine.initial({**self.received, topic: before}).writes)
        useless = self._useless.pop(cluster, frozenset())
        out.writes.update(dict.fromkeys(useless - out.writes.keys()))
        return engine
