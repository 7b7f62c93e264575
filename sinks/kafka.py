"""Find what is on the broker. In: settings. Out: the topics that sinks read, with partitions and
identities.

The rule this file owns: a topic is told from a later one of the same name by the ids of its Kafka
cluster and of itself; all topics have the same number of partitions, or nothing starts.
"""

import logging
import time
from dataclasses import dataclass
from threading import Event
from typing import Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from schemas.config import kafka_password
from schemas.errors import BrokerError
from schemas.kafka import ClientSettings, client_settings
from schemas.run import Broker
from schemas.settings import Settings
from schemas.topics import TopicName, full_name
from sinks.core.sources import Identity
from sinks.core.tables import TABLES_OF

log = logging.getLogger(__name__)

ANSWER_S_MAX: Final = 10.0
TOPICS_S_MAX: Final = 60.0
"""How long a stage waits for topics: in a fresh installation producers make them beside it."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics that sinks read."""

    names: dict[TopicName, str]
    partitions: int
    identities: dict[TopicName, Identity]


def base_settings(settings: Settings, broker: Broker) -> ClientSettings:
    """Return what all our Kafka clients share: address, TLS, SASL."""
    return client_settings(settings.kafka, broker.bootstrap, kafka_password(settings.kafka))


def find_topics(settings: Settings, broker: Broker, stopping: Event) -> Topics:
    """Return the topics that sinks read; wait a minute for those that nobody made yet.

    Raises:
        BrokerError: topics are missing or differ in partitions. KafkaException: no answer.
    """
    admin = AdminClient(base_settings(settings, broker))
    names = {name: full_name(name, settings.kafka.prefix) for name in TABLES_OF}
    partitions = _partitions(admin, names, stopping)
    return Topics(names, partitions, _identities(admin, names, broker))


def _partitions(admin: AdminClient, names: dict[TopicName, str], stopping: Event) -> int:
    deadline_s = time.monotonic() + TOPICS_S_MAX
    told = False
    while True:
        counts = {topic: _count(admin, topic) for topic in names.values()}
        missing = sorted(topic for topic, count in counts.items() if not count)
        if not missing:
            break
        if time.monotonic() > deadline_s or stopping.is_set():
            raise BrokerError(f"no topic {', '.join(missing)}: make them with `planewatch topics`")
        if not told:
            log.info("waiting for topics missing=%s", ",".join(missing))
            told = True
        stopping.wait(0.5)
    if len(set(counts.values())) > 1:
        differing = ", ".join(f"{topic} has {count}" for topic, count in sorted(counts.items()))
        raise BrokerError(f"topics need the same number of partitions: {differing}")
    return next(iter(counts.values()))


def _count(admin: AdminClient, topic: str) -> int:
    found = admin.list_topics(topic, timeout=ANSWER_S_MAX).topics.get(topic)
    return len(found.partitions) if found and found.error is None else 0


def _identities(
    admin: AdminClient, names: dict[TopicName, str], broker: Broker
) -> dict[TopicName, Identity]:
    """Return who each topic is; the embedded broker's incarnation stands for ids."""
    if broker.embedded:
        return {name: Identity(broker.incarnation, topic, "") for name, topic in names.items()}
    try:
        cluster = admin.describe_cluster(request_timeout=ANSWER_S_MAX).result().cluster_id
        described = admin.describe_topics(
            TopicCollection([*names.values()]), request_timeout=ANSWER_S_MAX
        )
        ids = {topic: str(future.result().topic_id) for topic, future in described.items()}
    except KafkaException as error:
        raise BrokerError(f"Kafka does not say who its topics are: {error}") from error
    return {name: Identity(cluster, topic, ids[topic]) for name, topic in names.items()}
