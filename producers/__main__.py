"""The command of the producers: `python -m producers VERB`. In: arguments. Out: an exit code.

The rule this file owns: 0 good, 1 a finding or a failure in one clear line, 2 wrong usage or
configuration. A verb's module is imported when the verb is used: `run` needs no rehearsal.
"""

import importlib
import logging
import sys
from typing import Final

import click

from schemas.errors import ConfigError, PlanewatchError

VERBS: Final = {
    "run": "producers.run:run_command",
    "topics": "producers.topics_command:topics_command",
    "broker": "producers.broker:broker_command",
    "rehearse": "producers.rehearsal.server:rehearse_command",
}
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Verbs(click.Group):
    """A group whose commands are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one verb."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise AssertionError(f"{VERBS[cmd_name]} is no command")
        return command


@click.command(cls=Verbs)
def cli() -> None:
    """Kubernetes -> Kafka: scrape, watch, tail; and what the embedded broker and rehearsals need.

    Example: python -m producers run --config planewatch.yaml
    """


def main() -> None:
    """Run a verb."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        cli(prog_name="producers")
    except ConfigError as error:
        click.echo(error, err=True)
        sys.exit(2)
    except PlanewatchError as error:
        click.echo(f"producers: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
