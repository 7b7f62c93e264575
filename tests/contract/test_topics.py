"""Topics are made as the registry plans them, and what differs is told, on a real broker."""

import threading
import time

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from producers.broker import EmbeddedBroker
from producers.topics import Topics
from producers.topics_command import topics_command
from schemas.errors import BrokerError
from schemas.run import Broker
from schemas.settings import KafkaSettings
from schemas.topics import TopicName, full_name, registry

PARTITIONS = 3
WAIT_S = 20.0


@pytest.fixture
def kafka(topic_prefix: str, kafka_bootstrap: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=kafka_bootstrap, prefix=topic_prefix, partitions=PARTITIONS)


@pytest.fixture
def topics(kafka: KafkaSettings) -> Topics:
    return Topics(kafka, Broker(str(kafka.bootstrap)), None)


def make(kafka: KafkaSettings, topic: TopicName, partitions: int) -> None:
    """Make one topic by hand, as somebody might have; return when the broker tells of it."""
    admin = AdminClient({"bootstrap.servers": str(kafka.bootstrap)})
    name = full_name(topic, kafka.prefix)
    for future in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        future.result(WAIT_S)
    end_s = time.monotonic() + WAIT_S
    while name not in admin.list_topics(timeout=WAIT_S).topics:
        assert time.monotonic() < end_s, f"{name} does not show up"


def test_missing_topics_are_made_as_planned_and_made_once(topics: Topics) -> None:
    assert all(state.differences == ("missing",) for state in topics.states())
    assert len(registry()) == len(topics.create_missing())
    assert [()] * len(registry()) == [state.differences for state in topics.states()]
    assert [] == topics.create_missing()


def test_topics_get_no_more_replicas_than_there_are_brokers(
    topics: Topics, kafka: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    topics.create_missing()
    assert kafka.replication == 3
    assert {1} == {state.found.replication for state in topics.states() if state.found}
    assert "replication=1 and not kafka.replication=3" in caplog.text


def test_what_differs_is_told(topics: Topics, kafka: KafkaSettings) -> None:
    make(kafka, TopicName.ALERTS, PARTITIONS)
    topics.create_missing()
    (alerts,) = [state for state in topics.states() if state.differences]
    assert full_name(TopicName.ALERTS, kafka.prefix) == alerts.plan.name
    assert "cleanup.policy delete, not compact" in alerts.differences


def test_topics_of_another_number_of_partitions_are_refused_and_nothing_is_made(
    topics: Topics, kafka: KafkaSettings
) -> None:
    make(kafka, TopicName.SCRAPES, PARTITIONS + 1)
    with pytest.raises(BrokerError, match=r"has 4; set kafka\.partitions"):
        topics.create_missing()
    assert 1 == sum(state.found is not None for state in topics.states())


def test_the_verb_shows_what_is_missing_and_makes_it(kafka: KafkaSettings) -> None:
    environ = {
        "PLANEWATCH_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "PLANEWATCH_KAFKA__PREFIX": kafka.prefix,
        "PLANEWATCH_KAFKA__PARTITIONS": str(PARTITIONS),
    }
    checked = CliRunner().invoke(topics_command, [], env=environ)
    assert (1, len(registry())) == (checked.exit_code, checked.output.count("missing"))
    created = CliRunner().invoke(topics_command, ["--create"], env=environ)
    assert (0, len(registry())) == (created.exit_code, created.output.count("created "))
    again = CliRunner().invoke(topics_command, [], env=environ)
    assert (0, len(registry())) == (again.exit_code, again.output.count("as planned"))


def test_the_embedded_broker_has_all_topics(kafka: KafkaSettings) -> None:
    broker = EmbeddedBroker(kafka)
    topics = Topics(kafka, Broker(broker.bootstrap, broker.incarnation), None)
    assert [] == topics.create_missing()
    assert [()] * len(registry()) == [state.differences for state in topics.states()]


def test_a_broker_that_does_not_answer_is_told() -> None:
    kafka = KafkaSettings(bootstrap="127.0.0.1:1")
    topics = Topics(kafka, Broker("127.0.0.1:1"), None)
    with pytest.raises(BrokerError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        topics.wait(threading.Event(), timeout_s=0.2)
