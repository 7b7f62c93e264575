"""Show alerts to people. In: the alert topic. Out: a table, or a line for each change.

The rule this file owns: where stdout is no terminal there is one line per alert, fields apart by
two spaces.
"""

import logging
from datetime import UTC, datetime
from typing import Final

import click
from confluent_kafka import Message
from rich.console import Console
from rich.table import Table

from schemas.codec import encode
from schemas.errors import DecodeError
from schemas.records import Alert, Status
from schemas.settings import Settings
from schemas.topics import TopicName
from streams.core.alertview import AlertView
from streams.reading import Reader

COLOURS: Final = {"critical": "red", "warning": "yellow"}

logger = logging.getLogger(__name__)


def show_alerts(settings: Settings, *, follow: bool, cluster: str | None, as_json: bool) -> None:
    """Print the newest state of each alert; with `follow`, then each change until interrupted.

    Raises:
        ConfigError: there is no broker.
        BrokerError: it does not answer.
    """
    view, reader = AlertView(cluster), Reader(settings, TopicName.ALERTS)
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
