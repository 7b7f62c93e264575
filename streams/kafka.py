"""Ask the broker what Faust does not. In: settings, the broker. Out: partition counts, topic ids,
where topics end now.

The rule this file owns: all topics of the registry exist and have the same number of partitions, or
the stage does not start; a missing topic may still be on its way.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # its own

from schemas.errors import BrokerError
from schemas.kafka import client_settings, topic_names
from schemas.run import Broker
from schemas.settings import Settings
from schemas.topics import TopicName
from streams.core.state import INPUTS

METADATA_TIMEOUT_S: Final = 30.0
TOPICS_WAIT_S: Final = 30.0
POLL_S: Final = 0.5
ANSWER_S_MAX: Final = 3.0

logger = logging.getLogger(__name__)


def partitions_of(settings: Settings, broker: Broker, password: str | None) -> int:
    """Return how many partitions each topic has; wait a while for topics that are not there.

    Raises:
        BrokerError: the broker does not answer, lacks a topic, or its topics differ.
    """
    client = Producer(client_settings(settings.kafka, broker.bootstrap, password), logger=logger)
    names = set(topic_names(settings.kafka).values())
    end = time.monotonic() + TOPICS_WAIT_S
    try:
        if broker.embedded:
            for name in names:
                client.list_topics(name, timeout=METADATA_TIMEOUT_S)  # asking for it makes it
        while missing := names - (counts := _counts(client)).keys():
            if time.monotonic() > end:
                listed = ", ".join(sorted(missing))
                raise BrokerError(
                    f"{broker.bootstrap} lacks {listed}: create them with "
                    "`planewatch topics --create`"
                )
            logger.info("waiting for topics missing=%d", len(missing))
            time.sleep(POLL_S)
    except KafkaException as error:
        raise BrokerError(f"Kafka at {broker.bootstrap} does not answer: {error}") from error
    ours = {name: counts[name] for name in sorted(names)}
    if len(set(ours.values())) != 1:
        listed = ", ".join(f"{name} has {count}" for name, count in ours.items())
        raise BrokerError(f"all topics need the same number of partitions: {listed}")
    return next(iter(ours.values()))


def topic_ids(settings: Settings, broker: Broker, password: str | None) -> dict[TopicName, str]:
    """Return the ids of our inputs; the embedded broker's incarnation stands for them.

    Raises:
        BrokerError: the broker does not answer.
    """
    every = topic_names(settings.kafka)
    names = {topic: every[topic] for topic in INPUTS}
    if broker.embedded:
        return dict.fromkeys(names, broker.incarnation)
    client = AdminClient(client_settings(settings.kafka, broker.bootstrap, password))
    try:
        asked = client.describe_topics(
            TopicCollection([*names.values()]), request_timeout=METADATA_TIMEOUT_S
        )
        return {name: str(asked[full].result().topic_id) for name, full in names.items()}
    except KafkaException as error:
        raise BrokerError(f"Kafka does not say who its topics are: {error}") from error


class LogEnds:
    """Asks where a topic ends, on a connection of its own: Faust's answers behind its fetches."""

    def __init__(
        self, settings: Settings, broker: Broker, password: str | None, topic: TopicName
    ) -> None:
        base = client_settings(settings.kafka, broker.bootstrap, password)
        self._client = AdminClient(base, logger=logger)
        self._topic = topic_names(settings.kafka)[topic]

    async def now(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return the end of each partition that Kafka tells within ANSWER_S_MAX."""
        newest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # it has no annotations
        asked = {TopicPartition(self._topic, n): newest for n in partitions}
        if not asked:
            return {}
        found = self._client.list_offsets(asked, request_timeout=ANSWER_S_MAX)
        ends = {}
        for place, answer in found.items():
            try:
                offset = int((await asyncio.wrap_future(answer)).offset)
            except KafkaException as error:
                logger.debug("no answer partition=%d error=%s", place.partition, error)
                continue
            if offset >= 0:  # a broker that dies answers -1001: it does not know
                ends[place.partition] = offset
        return ends


def _counts(client: Producer) -> dict[str, int]:
    topics = client.list_topics(timeout=METADATA_TIMEOUT_S).topics
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.partitions}
