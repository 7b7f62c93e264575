"""Show alerts to people. In: the alert topic. Out: a table, or a line for each change.

The rule this file owns: it reads without a group and commits nothing, so looking changes nothing.
Where stdout is no terminal there is one line per alert, fields apart by two spaces.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import click
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from rich.console import Console
from rich.table import Table

from schemas import run
from schemas.codec import encode
from schemas.config import kafka_password
from schemas.errors import BrokerError, DecodeError
from schemas.kafka import client_settings, consumer_settings
from schemas.records import Alert, Status
from schemas.settings import Settings
from schemas.topics import TopicName, full_name
from streams.core.alertview import AlertView

QUEUE_BYTES_MAX: Final = 8_000_000
TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.2
COLOURS: Final = {"critical": "red", "warning": "yellow"}

logger = logging.getLogger(__name__)


def show_alerts(settings: Settings, *, follow: bool, cluster: str | None, as_json: bool) -> None:
    """Print the newest state of each alert; with `follow`, then each change until interrupted.

    Raises:
        ConfigError: there is no broker.
        BrokerError: it does not answer.
    """
    view, reader = AlertView(cluster), Reader(settings)
    try:
        for message in reader.until_now():
            _take(view, message)
        found = view.all()
        if follow:
            found = [alert for alert in found if alert.status is not Status.RESOLVED]
        _print(found, as_json=as_json, lines=follow)
        while follow:
            for message in reader.poll():
                if alert := _take(view, message):
                    _print([alert], as_json=as_json, lines=True)
    except KeyboardInterrupt:
        return  # the way to end --follow
    finally:
        reader.close()


class Reader:
    """Reads the whole alert topic from its beginning."""

    def __init__(self, settings: Settings) -> None:
        broker = run.broker(settings)
        base = client_settings(settings.kafka, broker.bootstrap, kafka_password(settings.kafka))
        self._topic = full_name(TopicName.ALERTS, settings.kafka.prefix)
        self._bootstrap = broker.bootstrap
        self._consumer = Consumer(
            consumer_settings(base, "planewatch-alerts", QUEUE_BYTES_MAX)
            | {"group.id": "planewatch-alerts", "auto.offset.reset": "earliest"},
            logger=logger,
        )

    def until_now(self) -> Iterator[Message]:
        """Yield what the topic holds now."""
        try:
            ends = self._assign()
        except KafkaException as error:
            raise BrokerError(f"Kafka at {self._bootstrap} does not answer: {error}") from error
        while ends:
            yield from self.poll()
            for one in self._consumer.position([TopicPartition(self._topic, n) for n in ends]):
                if one.offset >= ends[one.partition]:
                    del ends[one.partition]

    def poll(self) -> list[Message]:
        """Return what came since."""
        messages = self._consumer.consume(500, POLL_S)
        for message in messages:
            if (error := message.error()) and error.fatal():
                raise BrokerError(f"cannot read {self._topic}: {error}")
        return [message for message in messages if message.error() is None]

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _assign(self) -> dict[int, int]:
        """Read all partitions from the beginning; return where those that hold records end."""
        found = self._consumer.list_topics(self._topic, timeout=TIMEOUT_S).topics[self._topic]
        if not found.partitions:
            raise BrokerError(
                f"{self._bootstrap} lacks {self._topic}: "
                "create it with `planewatch topics --create`"
            )
        all_of_it = [TopicPartition(self._topic, n, OFFSET_BEGINNING) for n in found.partitions]
        self._consumer.assign(all_of_it)
        bounds = {
            one.partition: self._consumer.get_watermark_offsets(one, timeout=TIMEOUT_S)
            for one in all_of_it
        }
        return {partition: high for partition, (low, high) in bounds.items() if high > low}


def _take(view: AlertView, message: Message) -> Alert | None:
    try:
        return view.take(message.key() or b"", message.value())
    except DecodeError as error:
        logger.warning(
            "not an alert partition=%s offset=%s: %s",
            *(message.partition(), message.offset(), error),
        )
        return None


def _print(alerts: list[Alert], *, as_json: bool, lines: bool) -> None:
    out = Console(highlight=False, markup=False, soft_wrap=True)
    if as_json:
        for alert in alerts:
            click.echo(encode(alert))
    elif lines or not out.is_terminal:
        for alert in alerts:
            click.echo("  ".join(_fields(alert)))
    else:
        table = Table("changed (UTC)", "status", "severity", "cluster", "alert", "what", box=None)
        for alert in alerts:
            quiet = "dim" if alert.status is Status.RESOLVED else COLOURS.get(alert.severity, "")
            table.add_row(*_fields(alert), style=quiet)
        out.print(table if alerts else "no alerts")


def _fields(alert: Alert) -> tuple[str, ...]:
    time = datetime.fromtimestamp(alert.updated_at_ms / 1000, UTC)
    status = f"{alert.status} ({alert.reason})" if alert.reason else str(alert.status)
    name, summary = alert.labels.get("alertname", ""), alert.annotations.get("summary", "")
    return f"{time:%Y-%m-%d %H:%M:%S}", status, alert.severity, alert.cluster, name, summary
