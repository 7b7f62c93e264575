"""Take the records of all inputs. In: Faust's streams. Out: published indicators and alerts, and a
table that knows how far they came.

The rules this file owns:
- Order: send outputs, await their acknowledgement, write the table, acknowledge the input.
- Undecodable input becomes a dead letter, once: a replay only counts it. Anything else that fails
  stops the stage before the record is acknowledged. Nothing is skipped in silence.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Final

from faust.types import EventT, TableT

from schemas.clock import wall_ms
from schemas.dead_letters import dead_letter
from schemas.errors import DecodeError
from schemas.kafka import topic_names
from schemas.metrics import Metric
from schemas.topics import TopicName
from schemas.undecodable import WINDOW, Undecodable
from streams import fault
from streams.consumer import ReplayingApp
from streams.core.hearing import Now
from streams.core.outputs import Outputs
from streams.core.rules.overrides import RuleSets
from streams.core.shard import Result, Shard
from streams.core.state import INPUTS, keys_of, table_key
from streams.outputs import Publisher, raw_topic
from streams.partitions import Partitions
from streams.stage import Stage

STAGE_NAME: Final = "streams"

logger = logging.getLogger(__name__)


class Worker:
    """The agents, and the shards that they feed."""

    def __init__(self, app: ReplayingApp, stage: Stage) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._app = app
        self._clock, self._telemetry = stage.clock, stage.telemetry
        names = topic_names(stage.settings.kafka)
        self.publisher = Publisher(app, names, stage.telemetry)
        self._share_max = stage.settings.streams.undecodable_share_max
        self._undecodable = Undecodable(self._share_max)
        self._faults = fault.Faults()
        self._table: TableT[Any, Any] = app.Table(
            "state",
            partitions=stage.partitions,
            key_type=bytes,
            value_type=bytes,
            changelog_topic=raw_topic(app, names[TopicName.STATE]),
        )
        self.partitions = Partitions(app, stage, self._table)
        for topic in INPUTS:
            app.agent(raw_topic(app, names[topic]), name=f"streams.{topic}")(self._agent(topic))

    def _agent(self, topic: TopicName) -> Callable[[Any], Any]:
        async def agent(stream: Any) -> None:  # Faust's types lack noack
            events: AsyncIterator[EventT[Any]] = stream.noack().events()
            async for event in events:
                if await self._handle(topic, event):
                    await stream.ack(event)

        agent.__name__ = topic
        return agent

    async def _handle(self, topic: TopicName, event: EventT[Any]) -> bool:
        """Take one record; return whether it is done with."""
        partition = event.message.tp.partition
        if self.failed.done():
            return False  # it is read again by whoever comes next
        with self.partitions.in_hand(partition) as shard:
            if shard is None:
                return False
            try:
                await self._take(shard, topic, event)
            except Exception as error:
                logger.exception(
                    "cannot go on topic=%s partition=%d offset=%d",
                    *(topic, partition, event.message.offset),
                )
                self._fail(error)
                return False
        self.partitions.progress(shard)
        return True

    async def use(self, rules: RuleSets) -> None:
        """Judge by other rules from the next record on.

        Where they read what was not kept, the state of each cluster is built anew for them.
        """
        context = replace(self.partitions.context, rules=rules)
        if not self.partitions.use(context):
            await self._app.rebuild()
        logger.info("other rules are in force rules=%s", rules.loaded.hash)

    def _fail(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def now(self) -> Now:
        """Return what the two clocks show."""
        return Now(wall_ms(), self._clock.now_ms())

    async def _take(self, shard: Shard, topic: TopicName, event: EventT[Any]) -> None:
        offset, value = event.message.offset, event.value
        self._telemetry.count(Metric.RECORDS_RECEIVED, topic=topic)
        age_s = max(0.0, wall_ms() / 1000 - event.message.timestamp)
        self._telemetry.set(Metric.LAG, age_s, topic=topic)
        began = time.perf_counter()
        try:
            result = shard.on_record(topic, offset, value, self.now())
        except DecodeError as error:
            if shard.acknowledged(topic, offset):  # its dead letter is there
                self._telemetry.count(Metric.RECORDS_DROPPED, reason="undecodable_again")
            else:
                await self._refuse(topic, event, error)
            return
        self._undecodable.note(topic, bad=False)
        self._note_missed(shard, topic, offset)
        if result is not None:
            if result.outputs.indicators or result.outputs.alerts:
                self._telemetry.observe(Metric.EVALUATION_DURATION, time.perf_counter() - began)
            await self._emit(shard, result)
        for gone in shard.expire(self.now()):
            logger.warning(
                "a cluster is gone, nothing heard for a day: it is forgotten partition=%d "
                "cluster=%s",
                *(shard.partition, gone.cluster),
            )
            await self._emit(shard, gone)

    async def _emit(self, shard: Shard, result: Result) -> None:
        await self.publisher.publish(result.cluster, shard.partition, result.outputs)
        self._faults.at(fault.SENT)
        self._save(result)
        self._count(result.cluster, result.outputs)

    def _save(self, result: Result) -> None:
        """Write the table; only stream iteration may."""
        for kind, state in result.outputs.writes.items():
            key = table_key(result.cluster, kind)
            if state is not None:
                self._table[key] = state
            elif key in self._table:
                del self._table[key]
        if result.gone:
            for key in keys_of(result.cluster, [*self._table.keys()]):
                del self._table[key]

    def _note_missed(self, shard: Shard, topic: TopicName, offset: int) -> None:
        if shard.missed:
            logger.warning(
                "records are missing topic=%s partition=%d before=%d count=%d",
                *(topic, shard.partition, offset, shard.missed),
            )
            self._telemetry.count(Metric.RECORDS_DROPPED, shard.missed, reason="missing")
            shard.missed = 0

    async def _refuse(self, topic: TopicName, event: EventT[Any], error: DecodeError) -> None:
        message = event.message
        self._telemetry.count(Metric.DEAD_LETTERS, topic=topic)
        await self.publisher.dead_letter(
            dead_letter(
                message.value,
                error,
                topic=message.topic,
                partition=message.partition,
                offset=message.offset,
                key=message.key,
                stage=STAGE_NAME,
            )
        )
        if self._undecodable.note(topic, bad=True):
            raise DecodeError(
                f"more than {self._share_max:.0%} of the last {WINDOW} records of {message.topic} "
                f"cannot be read, the newest on partition {message.partition} at offset "
                f"{message.offset}: {error}. Mend its sender, or this release"
            )

    def _count(self, cluster: str, outputs: Outputs) -> None:
        for one in outputs.counts:
            self._telemetry.count(one.metric, one.amount, **one.labels)
        for rule in outputs.rules:
            if rule.why:
                logger.warning("rule fails cluster=%s rule=%s: %s", cluster, rule.rule, rule.why)
            else:
                logger.info("rule works again cluster=%s rule=%s", cluster, rule.rule)
        for alert in outputs.alerts:
            logger.info(
                "alert cluster=%s status=%s alertname=%s fingerprint=%s",
                *(cluster, alert.status, alert.labels.get("alertname"), alert.fingerprint),
            )
