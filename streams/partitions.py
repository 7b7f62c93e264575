"""Keep the shards of the partitions that this worker owns. In: assignments, progress. Out: where to
read from, which shard takes a record, when the worker is ready.

The rules this file owns:
- A partition that stays through a rebalance goes on; one that is new is rebuilt from the table,
  and so are all where rules changed that read what was not kept.
- After an assignment the scrapes of a partition are held back until its changes and logs were read
  to where they ended, at most FACTS_WAIT_S; facts that come later count as late. They are held at
  the consumer: an agent that waited would fill the queue that all topics share.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from faust.types import TP, TableT

from schemas.errors import BrokerError
from schemas.kafka import topic_names
from schemas.metrics import Metric
from schemas.topics import TopicName
from streams.consumer import Offsets, ReplayingApp
from streams.core.context import Context
from streams.core.shard import Shard
from streams.core.state import INPUTS
from streams.stage import Stage

FACTS_WAIT_S: Final = 60.0

logger = logging.getLogger(__name__)


class Partitions:
    """The shards of this worker; the consumer's Keeper."""

    def __init__(self, app: ReplayingApp, stage: Stage, table: TableT[Any, Any]) -> None:
        self.ready = asyncio.Event()  # assigned, and nothing left to replay
        names = topic_names(stage.settings.kafka)
        self.inputs: Mapping[str, TopicName] = {names[topic]: topic for topic in INPUTS}
        self._scrapes = names[TopicName.SCRAPES]
        self._app, self._stage, self._table = app, stage, table
        self.context = stage.context
        """Of the shards that are made from now on."""
        self._shards: dict[int, Shard] = {}
        self._open = False  # positions are right: records may come
        self._held: set[int] = set()  # partitions whose scrapes are held back
        self._in_hand: Counter[int] = Counter()  # records that are being handled, by partition
        self._resting = asyncio.Event()
        self._resting.set()
        app.keeper = self

    @contextmanager
    def in_hand(self, partition: int) -> Iterator[Shard | None]:
        """Give the shard for one record; None where none may be taken: it will be read again."""
        self._in_hand[partition] += 1
        self._resting.clear()
        try:
            yield self._shards.get(partition) if self._open else None
        finally:
            self._in_hand -= Counter([partition])
            if not self._in_hand:
                self._resting.set()

    def use(self, context: Context) -> bool:
        """Go on by other rules; return False where all shards must be made anew for them."""
        self.context = context
        takes = self._open and all(one.takes(context.rules) for one in self._shards.values())
        for shard in self._shards.values() if takes else ():
            shard.use(context)
        return takes

    def live(self) -> list[Shard]:
        """Return the shards that take records."""
        return list(self._shards.values()) if self._open else []

    def progress(self, shard: Shard) -> None:
        """Note that a shard took a record: something may have waited for it."""
        if shard.partition in self._held and not shard.waits_for_facts:
            self._release(shard.partition)
        if not self.ready.is_set():
            self._check_ready()

    async def rest(self, timeout_s: float) -> None:
        """Take no more records; drop the shards of those that stay in hand for longer."""
        self._open = False
        try:
            await asyncio.wait_for(self._resting.wait(), timeout_s)
        except TimeoutError:
            for partition in self._in_hand:
                logger.warning("a record is still in hand, rebuilding partition=%d", partition)
                self._shards.pop(partition, None)

    def keep(self, partitions: frozenset[int]) -> None:
        """Drop the shards of partitions that went to others."""
        self._shards = {n: shard for n, shard in self._shards.items() if n in partitions}
        self._held = set()
        logger.info("assigned partitions=%s", ",".join(map(str, sorted(partitions))) or "none")
        if not partitions:  # more workers than partitions: Faust seeks nothing then
            self._check_ready()

    def seek(
        self,
        partition: int,
        committed: Mapping[TopicName, int | None],
        earliest: Offsets,
        ends: Offsets,
    ) -> Offsets:
        """Return from where to read: a kept partition goes on, a new one is replayed."""
        if shard := self._shards.get(partition):
            if not shard.fits(ends):
                raise BrokerError(
                    f"a topic of partition {partition} ends before what was read of it: it was "
                    f"made anew, or Kafka lost records; start again"
                )
            return {topic: offset + 1 for topic, offset in shard.received.items()}
        shard = Shard(
            partition,
            self._stage.partitions,
            self.context,
            clusters_max=self._stage.settings.streams.clusters_max,
            elsewhere=partial(self._clusters, besides=partition),
        )
        shard.restore(self._table.items(), ends)
        for lost in shard.lost:
            logger.error("saved state is of no use partition=%d: %s", partition, lost)
            self._stage.telemetry.count(Metric.ERRORS, kind="state")
        offsets = shard.begin(committed, earliest, ends)
        self._shards[partition] = shard
        self._tell_deleted(shard)
        logger.info(
            "reading partition=%d clusters=%d scrapes_from=%d scrapes_end=%d",
            *(partition, len(shard.engines), offsets[TopicName.SCRAPES], ends[TopicName.SCRAPES]),
        )
        return offsets

    def _tell_deleted(self, shard: Shard) -> None:
        if shard.deleted:
            logger.warning(
                "Kafka deleted records before they were read: the worker was away for longer than "
                "they are kept partition=%d %s",
                shard.partition,
                " ".join(f"{topic}={count}" for topic, count in shard.deleted.items()),
            )
            lost = sum(shard.deleted.values())
            self._stage.telemetry.count(Metric.RECORDS_DROPPED, lost, reason="missing")

    def _clusters(self, besides: int) -> int:
        """Return how many clusters the other partitions of this worker have."""
        return sum(len(one.engines) for n, one in self._shards.items() if n != besides)

    def sought(self) -> None:
        """Take records; hold scrapes back where facts must be read first."""
        self._open = True
        held = {n for n, shard in self._shards.items() if shard.waits_for_facts}
        self._app.consumer.pause_partitions({TP(self._scrapes, n) for n in held})
        loop = asyncio.get_running_loop()
        for partition in held - self._held:
            loop.call_later(FACTS_WAIT_S, self._wait_no_more, self._shards[partition])
        self._held = held
        self._check_ready()

    def forget(self) -> None:
        """Drop all shards: `seek` makes them anew, by the context as it is now."""
        held = {TP(self._scrapes, n) for n in self._held}
        self._app.consumer.resume_partitions(held & self._app.consumer.assignment())
        self._held, self._shards = set(), {}

    def _wait_no_more(self, shard: Shard) -> None:
        if shard.partition not in self._held or self._shards.get(shard.partition) is not shard:
            return
        logger.warning(
            "changes and logs were not read in %.0f s, going on without partition=%d",
            *(FACTS_WAIT_S, shard.partition),
        )
        shard.wait_no_more()
        self.progress(shard)

    def _release(self, partition: int) -> None:
        self._held.discard(partition)
        self._app.consumer.resume_partitions({TP(self._scrapes, partition)})

    def _check_ready(self) -> None:
        waiting = [one for one in self._shards.values() if one.waits_for_facts or one.replaying]
        if not waiting and not self.ready.is_set():
            logger.info("ready partitions=%d", len(self._shards))
            self.ready.set()
