"""Write that nobody was heard. In: the shards of a worker, the ends of their logs. Out: `silent`
records in `scrapes`.

The rule this file owns: the log is asked once a second where it ends; what is silent is judged by
what was read up to there. Without an answer nothing is written: the worker is deaf, not the fleet
silent. A log that ends before what was read of it is another log: the worker has to start again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from schemas.errors import BrokerError
from streams.core.assemble import target_of
from streams.core.hearing import Now
from streams.core.shard import Shard
from streams.kafka import LogEnds
from streams.outputs import Publisher
from streams.partitions import Partitions

CHECK_S: Final = 1.0

logger = logging.getLogger(__name__)


class Silence:
    """Watches for silent targets."""

    def __init__(
        self, partitions: Partitions, publisher: Publisher, ends: LogEnds, now: Callable[[], Now]
    ) -> None:
        self._partitions, self._publisher = partitions, publisher
        self._ends, self._now = ends, now

    async def run(self) -> None:
        """Write the records that are due, again and again.

        Raises:
            BrokerError: a log ends before what was read of it.
        """
        while True:
            await asyncio.sleep(CHECK_S)
            await self._ask()
            for shard in self._partitions.live():
                for envelope in shard.silent():
                    logger.warning(
                        "nothing heard cluster=%s target=%s: %s",
                        *(envelope.cluster, target_of(envelope), envelope.reason),
                    )
                    await self._publisher.silent(shard.partition, envelope)

    async def _ask(self) -> None:
        """Tell the shards where their logs ended now."""
        now = self._now()
        shards = {shard.partition: (shard, shard.read) for shard in self._partitions.live()}
        ends = await self._ends.now(shards)
        for partition, end in ends.items():
            shard, read = shards[partition]
            if end <= read:
                raise BrokerError(_shorter(shard, read, end))
            shard.hearing.asked(now, end)


def _shorter(shard: Shard, read: int, end: int) -> str:
    return (
        f"scrapes of partition {shard.partition} end at {end}, but offset {read} was read: the "
        f"topic was made anew, or Kafka lost records; start again"
    )
