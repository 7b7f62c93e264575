"""Make Faust's consumer replay. In: assignments. Out: positions from which state can be rebuilt.

The rules this file owns:
- Before partitions go, the record in hand is finished and what was acknowledged is committed: Faust
  forgets acknowledged offsets first, and the next owner would read them again.
- Where partitions are read from is decided after the table was recovered, in `perform_seek`, which
  Faust calls last; every other place is undone by it. Faust also calls it while flow is stopped,
  before recovery and perhaps beside the call that counts: so calls take turns, and each ends with
  our seeks.
- What the fetcher and the queues hold when we seek is from another position: it is thrown away.
  Were it delivered, Faust would take the replay for old news (it drops what is below the last
  offset it read), and the state would miss it.
- The offsets come from the table, not from times: an embedded broker cannot look times up.
- Commits go on from where we read: Faust waits for every record after the committed one, and would
  wait for ever for one that retention took, or that was handled and never committed.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, TransportT

from schemas.errors import BrokerError
from schemas.topics import TopicName
from streams.core.state import INPUTS

FAUST: Final = logging.getLogger("faust")

REST_S: Final = 5.0
"""How long a rebalance waits for the record in hand; the session would end after 10 s."""

SETTLE_S: Final = 0.05
"""What was fetched before a seek reaches the loop before the seek's own answer; a margin."""

Offsets = Mapping[TopicName, int]


class Keeper(Protocol):
    """Who keeps the state of the partitions."""

    inputs: Mapping[str, TopicName]
    """The input topics by full name."""

    async def rest(self, timeout_s: float) -> None:
        """Take no more records until `sought`; drop the state that a record still changes."""

    def keep(self, partitions: frozenset[int]) -> None:
        """Drop the state of all other partitions."""

    def seek(
        self,
        partition: int,
        committed: Mapping[TopicName, int | None],
        earliest: Offsets,
        ends: Offsets,
    ) -> Offsets:
        """Return from where to read a partition's topics, now that the table is whole."""

    def sought(self) -> None:
        """Everything is in place; records may come."""

    def forget(self) -> None:
        """Drop the state of all partitions: it is to be built anew."""


class ReplayingConsumer(driver.Consumer):
    """The consumer of the workers."""

    app: "ReplayingApp"
    logger = FAUST  # it tells each step of a start, as Faust's own classes do
    _recovered: int | None = None  # generation whose table is whole

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seeking = asyncio.Lock()
        self.app.on_rebalance_complete.connect(self._on_recovered)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish what is in hand and commit it."""
        self._recovered = None
        if revoked:
            self.stop_flow()
            await self.app.keeper.rest(REST_S)
            await self.app.producer.flush()
            await self.commit()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Drop the state of partitions that went to others."""
        self.app.keeper.keep(frozenset(tp.partition for tp in assigned))
        await super().on_partitions_assigned(assigned, generation_id)

    async def _on_recovered(self, *_: Any, **__: Any) -> None:
        """Note that the table is whole; Faust calls perform_seek next."""
        self._recovered = self.app.consumer_generation_id

    async def perform_seek(self) -> None:
        """Go to the committed offsets, then to where each partition must be read from."""
        async with self._seeking:
            await super().perform_seek()
            if self._recovered == self.app.consumer_generation_id:
                await self._seek_for_state()

    async def rebuild(self) -> None:
        """Have all state built anew from the table, as after an assignment of all partitions.

        The record in hand is finished first, and what was acknowledged is committed. While an
        assignment is under way that is all: it builds what is not there.
        """
        async with self._seeking:
            flowing = self.flow_active
            self.stop_flow()
            try:
                await self.app.keeper.rest(REST_S)
                await self.app.producer.flush()
                await self.commit()
                self.app.keeper.forget()
                if self._recovered == self.app.consumer_generation_id:
                    await self._seek_for_state()
            finally:
                if flowing and self._recovered == self.app.consumer_generation_id:
                    self.resume_flow()

    async def _seek_for_state(self) -> None:
        flowing = self.flow_active
        self.stop_flow()
        try:
            seeks = await self._seeks()
            await self.seek_wait(seeks)
            await asyncio.sleep(SETTLE_S)
            if self._recovered != self.app.consumer_generation_id:
                return  # the next rebalance has begun
            self.app.flow_control.clear()
            self._read_offset.update({tp: offset or None for tp, offset in seeks.items()})
            self.app.keeper.sought()
        finally:
            if flowing:
                self.resume_flow()

    async def _seeks(self) -> dict[TP, int]:
        """Return from where each of our inputs must be read."""
        inputs = self.app.keeper.inputs
        tps = {tp for tp in self.assignment() if tp.topic in inputs}
        if not tps:
            return {}
        # Both at once: the broker answers after the fetch that is under way, 1.5 s later.
        earliest, ends = await asyncio.gather(self.earliest_offsets(*tps), self.highwaters(*tps))
        seeks: dict[TP, int] = {}
        for partition in sorted({tp.partition for tp in tps}):
            mine = {inputs[tp.topic]: tp for tp in tps if tp.partition == partition}
            if missing := set(INPUTS) - mine.keys():
                raise BrokerError(
                    f"Faust assigned partition {partition} without {', '.join(sorted(missing))}: "
                    "all workers of a group must run the same release"
                )
            offsets = self.app.keeper.seek(
                partition,
                {topic: self._committed_offset[tp] for topic, tp in mine.items()},
                {topic: earliest[tp] for topic, tp in mine.items()},
                {topic: ends[tp] for topic, tp in mine.items()},
            )
            for topic, tp in mine.items():
                seeks[tp] = offsets[topic]
                committed = self._committed_offset[tp]
                self._committed_offset[tp] = commits_from(committed, seeks[tp], ends[tp])
        return seeks


def commits_from(committed: int | None, seek: int, end: int) -> int | None:
    """Return after which offset commits go on; a committed one counts within what is read."""
    return committed if committed is None or seek <= committed <= end else seek


class ReplayingApp(faust.App):
    """A Faust app whose consumer is ours."""

    keeper: Keeper
    logger = FAUST

    async def rebuild(self) -> None:
        """Have all state built anew."""
        consumer = self.consumer
        assert isinstance(consumer, ReplayingConsumer), "see _new_transport"
        await consumer.rebuild()

    def _new_transport(self) -> TransportT:
        transport = super()._new_transport()
        setattr(transport, "Consumer", ReplayingConsumer)  # noqa: B010 a hook its type hides
        return transport
