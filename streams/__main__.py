"""The command of the streams: `python -m streams VERB`. In: arguments. Out: an exit code.

The rule this file owns: 0 good, 1 a finding or a failure in one clear line, 2 wrong usage or
configuration. A verb's module is imported when the verb is used: `alerts` needs no Faust.
"""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from schemas import config
from schemas.errors import ConfigError, PlanewatchError
from schemas.settings import Settings

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
QUIET: Final = ("faust", "mode", "aiokafka", "kafka")
"""They tell each step of a start as news."""


def configured(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb --config and --data, and the settings as its first argument."""

    @click.option("--config", "file", type=click.Path(path_type=Path), help="configuration file")
    @click.option("--data", type=click.Path(path_type=Path), help="folder of run files and state")
    @wraps(verb)
    def read(file: Path | None, data: Path | None, **options: Any) -> None:
        flags: dict[str, Any] = {"data": str(data)} if data else {}
        verb(config.load(file, flags=flags).settings, **options)

    return read


@click.group()
def cli() -> None:
    """Kafka -> Kafka: records to indicators and alerts.

    Example: python -m streams run --config planewatch.yaml
    """


@cli.command("run", short_help="evaluate rules until terminated")
@configured
def run_command(settings: Settings) -> None:
    """Turn scrapes, changes and logs into indicators and alerts.

    Example: planewatch streams --config planewatch.yaml
    """
    from streams.core.rules.files import RuleErrors  # noqa: PLC0415 see the head of this file
    from streams.run import stream  # noqa: PLC0415

    try:
        stream(settings)
    except RuleErrors as error:
        click.echo(error, err=True)
        sys.exit(2)


@cli.command("alerts", short_help="show alerts, or follow them")
@configured
@click.option("--follow", is_flag=True, help="go on, with a line for each change")
@click.option("--cluster", help="only of this cluster")
@click.option("--json", "as_json", is_flag=True, help="the records themselves, one a line")
def alerts_command(settings: Settings, *, follow: bool, cluster: str | None, as_json: bool) -> None:
    """Show the newest state of each alert on the alert topic.

    Example: planewatch alerts --follow --cluster prod-eu-1
    """
    from streams.alerts_cli import show_alerts  # noqa: PLC0415

    show_alerts(settings, follow=follow, cluster=cluster, as_json=as_json)


@cli.group("rules")
def rules_group() -> None:
    """Check and list rule files.

    Example: planewatch rules check my-rules/
    """


@rules_group.command("check")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def check_command(paths: tuple[Path, ...]) -> None:
    """Tell everything that is wrong with rule files, or folders of them; exit 1 where there is.

    Example: planewatch rules check my-rules/ more.yaml
    """
    from streams.rules_cli import check  # noqa: PLC0415

    sys.exit(check(paths))


@rules_group.command("list")
@configured
def list_command(settings: Settings) -> None:
    """List all rules that are evaluated, ours and yours.

    Example: planewatch rules list
    """
    from streams.rules_cli import show  # noqa: PLC0415

    sys.exit(show(settings))


def main() -> None:
    """Run a verb."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        cli(prog_name="streams")
    except ConfigError as error:
        click.echo(error, err=True)
        sys.exit(2)
    except PlanewatchError as error:
        click.echo(f"streams: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
