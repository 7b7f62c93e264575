"""Make topics as the registry plans them. In: the plan, the broker. Out: missing topics made, or
what differs.

The rule this file owns: a topic that exists is never altered; what differs is shown, and the
operator decides. The embedded broker makes topics that are asked for and has no administration.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported without saying so
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
)

from schemas.errors import BrokerError
from schemas.kafka import (
    EMBEDDED_PARTITIONS,
    TopicPlan,
    client_settings,
    topic_plans,
)
from schemas.run import Broker
from schemas.settings import KafkaSettings

TIMEOUT_S: Final = 30.0
PATIENCE_S: Final = 1.0  # of one try, since signals wait until it has ended
VISIBLE_S: Final = 10.0  # after creation, until every broker tells of it

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TopicState:
    """A planned topic beside what the broker has. `found` is None where it has none."""

    plan: TopicPlan
    found: TopicPlan | None

    @property
    def differences(self) -> tuple[str, ...]:
        """What is not as planned, in words."""
        if self.found is None:
            return ("missing",)
        pairs: list[tuple[str, object, object]] = [
            ("partitions", self.plan.partitions, self.found.partitions),
            ("replication", self.plan.replication, self.found.replication),
            *(
                (name, value, self.found.config[name])
                for name, value in self.plan.config.items()
                if name in self.found.config
            ),
        ]
        return tuple(f"{name} {has}, not {plan}" for name, plan, has in pairs if plan != has)


class Topics:
    """The topics of one prefix on one broker."""

    def __init__(self, kafka: KafkaSettings, broker: Broker, password: str | None) -> None:
        self._kafka, self._broker = kafka, broker
        self._admin = AdminClient(client_settings(kafka, broker.bootstrap, password), logger=logger)

    def wait(self, stop: threading.Event, *, timeout_s: float = TIMEOUT_S) -> bool:
        """Wait until the broker answers; False if `stop` was set before.

        Raises:
            BrokerError: it does not answer in `timeout_s` of wall time.
        """
        until_s = time.monotonic() + timeout_s
        told = False
        while not stop.is_set():
            try:
                self._metadata(min(timeout_s, PATIENCE_S))
            except BrokerError as error:
                if time.monotonic() > until_s:
                    raise
                if not told:
                    logger.warning("waiting: %s", error)
                told = True
            else:
                return True
        return False

    def states(self) -> list[TopicState]:
        """Return every planned topic and what the broker has of it.

        Raises:
            BrokerError: the broker does not answer.
        """
        metadata = self._metadata()
        plans = self._plans(len(metadata.brokers))
        there = [plan.name for plan in plans if plan.name in metadata.topics]
        configs = self._configs(there)
        found = {
            name: TopicPlan(
                name,
                len(metadata.topics[name].partitions),
                min(len(p.replicas) for p in metadata.topics[name].partitions.values()),
                configs.get(name, {}),
            )
            for name in there
            if metadata.topics[name].partitions
        }
        return [TopicState(plan, found.get(plan.name)) for plan in plans]

    def create_missing(self) -> list[str]:
        """Create the topics that are missing and return their names.

        Raises:
            BrokerError: the broker refuses, or those that exist have another number of partitions.
        """
        states = self.states()
        missing = [state.plan for state in states if state.found is None]
        self._refuse_other_partitions(states)
        if not missing or self._broker.embedded:
            return []
        futures = self._admin.create_topics(
            [
                NewTopic(plan.name, plan.partitions, plan.replication, config=plan.config)
                for plan in missing
            ],
            operation_timeout=TIMEOUT_S,
        )
        for name, future in futures.items():
            try:
                future.result(TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another producer's
                    raise BrokerError(self._refused(name, error)) from error
        self._await_visible({plan.name for plan in missing})
        return [plan.name for plan in missing]

    def _plans(self, brokers: int) -> list[TopicPlan]:
        """Return the plan for a cluster of this many brokers."""
        plans = topic_plans(self._kafka)
        if self._broker.embedded:
            return [TopicPlan(plan.name, EMBEDDED_PARTITIONS, 1, {}) for plan in plans]
        if brokers >= self._kafka.replication:
            return plans
        logger.warning(
            "kafka has brokers=%d, so topics get replication=%d and not kafka.replication=%d",
            brokers,
            brokers,
            self._kafka.replication,
        )
        return [TopicPlan(p.name, p.partitions, brokers, p.config) for p in plans]

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the configuration of topics, as far as we may see it."""
        if self._broker.embedded or not names:
            return {}
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        found: dict[str, dict[str, str]] = {}
        for resource, future in self._admin.describe_configs(resources).items():
            try:
                entries = future.result(TIMEOUT_S)
            except KafkaException as error:
                logger.warning("cannot see the configuration topic=%s %s", resource.name, error)
            else:
                found[resource.name] = {name: str(entry.value) for name, entry in entries.items()}
        return found

    def _refuse_other_partitions(self, states: Sequence[TopicState]) -> None:
        counts = {s.found.name: s.found.partitions for s in states if s.found is not None}
        planned = states[0].plan.partitions
        if set(counts.values()) - {planned}:
            listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise BrokerError(
                f"all topics need the same number of partitions, for life: {listed}; set "
                f"kafka.partitions (now {planned}) to what exists, or take another kafka.prefix"
            )

    def _refused(self, name: str, error: KafkaException) -> str:
        if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return (
                f"this Kafka user may not create {name}: let somebody run `planewatch topics "
                "--create` who may"
            )
        return f"Kafka does not create {name}: {error}"

    def _await_visible(self, names: set[str]) -> None:
        until_s = time.monotonic() + VISIBLE_S
        while names - self._metadata().topics.keys():
            if time.monotonic() > until_s:
                raise BrokerError("new topics do not show up in the metadata of the broker")
            time.sleep(0.1)

    def _metadata(self, timeout_s: float = TIMEOUT_S) -> ClusterMetadata:
        try:
            return self._admin.list_topics(timeout=timeout_s)
        except KafkaException as error:
            message = f"Kafka at {self._broker.bootstrap} does not answer: {error}"
            raise BrokerError(message) from error
