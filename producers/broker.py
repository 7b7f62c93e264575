"""Be the broker of a demonstration. In: nothing. Out: a Kafka in memory, on loopback, for a while.

The rule this file owns: librdkafka's mock cluster stands in for Kafka where there is none, and says
so. It keeps the newest 5 MiB of each of 4 partitions in memory and forgets everything when it
stops; hence each start is a new incarnation, which readers take for other topics. Every topic of
the registry exists before it is announced.
"""

import logging
import signal
import threading
import uuid
from types import FrameType
from typing import Final

import click
from confluent_kafka import KafkaException, Producer

from schemas import run
from schemas.command import configured
from schemas.errors import BrokerError
from schemas.kafka import EMBEDDED_PARTITIONS, topic_names
from schemas.settings import KafkaSettings, Settings

METADATA_S: Final = 10.0
PARTITION_MIB: Final = 5  # of compressed batches; fixed in librdkafka

logger = logging.getLogger(__name__)


class EmbeddedBroker:
    """An in-memory Kafka of one broker, for demonstration and contract tests.

    It lives as long as the librdkafka client that carries it: keep the object.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        """Start it and make every topic of the registry.

        Raises:
            BrokerError: librdkafka does not start it, or makes other topics than we expect.
        """
        self._carrier = Producer({"test.mock.num.brokers": 1, "log_level": 4}, logger=logger)
        self.incarnation = uuid.uuid4().hex
        for name in topic_names(kafka).values():
            self._touch(name)
        brokers = self._carrier.list_topics(timeout=METADATA_S).brokers
        self.bootstrap = ",".join(f"{one.host}:{one.port}" for one in brokers.values())

    def _touch(self, topic: str) -> None:
        """Ask for a topic, which makes it."""
        try:
            found = self._carrier.list_topics(topic, timeout=METADATA_S).topics[topic]
        except KafkaException as error:
            raise BrokerError(f"the embedded broker does not start: {error}") from error
        if len(found.partitions) != EMBEDDED_PARTITIONS:
            raise BrokerError(
                f"the embedded broker makes {len(found.partitions)} partitions of {topic}, not "
                f"{EMBEDDED_PARTITIONS}: planewatch needs another release of confluent-kafka"
            )


@click.command("broker", short_help="run the embedded broker of a demonstration")
@configured
def broker_command(settings: Settings) -> None:
    """Run an in-memory Kafka for a demonstration, until terminated.

    Example: python -m producers broker --data planewatch-data
    """
    stop = threading.Event()

    def terminate(number: int, _: FrameType | None) -> None:
        logger.info("stopping signal=%s", signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    embedded = EmbeddedBroker(settings.kafka)
    run.announce(
        settings, run.BROKER, bootstrap=embedded.bootstrap, incarnation=embedded.incarnation
    )
    click.echo(
        f"embedded broker at {embedded.bootstrap}: for demonstration, in memory, "
        f"{EMBEDDED_PARTITIONS} partitions of {PARTITION_MIB} MiB"
    )
    try:
        stop.wait()
    finally:
        run.withdraw(settings, run.BROKER)
