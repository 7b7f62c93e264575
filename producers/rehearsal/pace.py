"""Wait for readers. In: the offsets that readers have committed. Out: whether they are behind.

The rule this file owns: a rehearsal is no faster than those who read it, for the embedded broker
keeps 5 MiB of a partition and forgets what is older. A group that has never committed is no reader.
"""

import logging
import time
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.kafka import ClientSettings
from schemas.partition import partition_of
from schemas.settings import KafkaSettings
from schemas.topics import TopicName, full_name

READERS: Final = ("streams", "sinks")
LOOK_S: Final = 1.0
ANSWER_S: Final = 2.0
BEHIND_RECORDS: Final = 60  # then the clock slows down: 20 scrapes of each of three targets
CAUGHT_UP_RECORDS: Final = 15

logger = logging.getLogger(__name__)


def behind(lag: int, *, before: bool) -> bool:
    """Tell whether readers are behind: from one limit on, until they are below the other."""
    return lag > (CAUGHT_UP_RECORDS if before else BEHIND_RECORDS)


class Readers:
    """Those who read the scrapes of one cluster."""

    def __init__(self, kafka: KafkaSettings, client: ClientSettings, cluster: str) -> None:
        self._topic = full_name(TopicName.SCRAPES, kafka.prefix)
        self._cluster = cluster
        self._groups = [
            Consumer({**client, "group.id": f"{kafka.prefix}-{reader}"}, logger=logger)
            for reader in READERS
        ]
        self._looked_s = 0.0
        self._lag = 0

    def lag(self) -> int:
        """Return how many records the slowest reader is behind; asked once a second."""
        if time.monotonic() - self._looked_s >= LOOK_S:
            self._looked_s = time.monotonic()
            try:
                self._lag = self._ask()
            except KafkaException as error:
                logger.debug("readers are not known error=%s", error)
                self._lag = 0
        return self._lag

    def close(self) -> None:
        """Leave the broker."""
        for group in self._groups:
            group.close()

    def _ask(self) -> int:
        first = self._groups[0]
        topic = first.list_topics(self._topic, timeout=ANSWER_S).topics[self._topic]
        if not topic.partitions:
            return 0
        partition = TopicPartition(self._topic, partition_of(self._cluster, len(topic.partitions)))
        _, high = first.get_watermark_offsets(partition, timeout=ANSWER_S)
        committed = [group.committed([partition], timeout=ANSWER_S)[0] for group in self._groups]
        return max((high - one.offset for one in committed if one.offset >= 0), default=0)
