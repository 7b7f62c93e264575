"""The verb `topics`. In: a broker. Out: a table of what is planned and what is there.

The rule this file owns: looking is the default; only --create changes the broker.
"""

import click
from rich.console import Console
from rich.table import Table

from producers.topics import Topics, TopicState
from schemas import run
from schemas.command import configured
from schemas.config import kafka_password
from schemas.settings import Settings


@click.command("topics", short_help="show or create the topics of the registry")
@click.option("--create/--check", default=False, help="create what is missing (default: check)")
@configured
def topics_command(settings: Settings, create: bool) -> None:
    """Show every topic of the registry beside what the broker has; exit 1 where they differ.

    Example: planewatch topics --create
    """
    topics = Topics(settings.kafka, run.broker(settings), kafka_password(settings.kafka))
    if create:
        for name in topics.create_missing():
            click.echo(f"created {name}")
    states = topics.states()
    Console(width=None if Console().is_terminal else 160).print(_table(states))
    if any(state.differences for state in states):
        click.get_current_context().exit(1)


def _table(states: list[TopicState]) -> Table:
    table = Table(box=None)
    for column in ("topic", "partitions", "replication", "cleanup", "retention", "state"):
        table.add_column(column)
    for state in states:
        plan = state.plan
        table.add_row(
            plan.name,
            str(plan.partitions),
            str(plan.replication),
            plan.config.get("cleanup.policy", ""),
            _hours(plan.config.get("retention.ms")),
            "; ".join(state.differences) or "as planned",
        )
    return table


def _hours(retention_ms: str | None) -> str:
    if retention_ms is None:
        return ""
    return "unlimited" if retention_ms == "-1" else f"{int(retention_ms) // 3_600_000} h"
