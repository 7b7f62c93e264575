"""The command of the streams: `python -m streams VERB`. In: arguments. Out: an exit code.

The rule this file owns: the verbs and their options. What a verb does is imported when it is used:
`alerts` needs no Faust.
"""

import logging
import sys
from pathlib import Path
from typing import Final

import click

from schemas.command import configured, run_verb
from schemas.settings import Settings

QUIET: Final = ("faust", "mode", "aiokafka", "kafka")
"""They tell each step of a start as news."""


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
    """Check, test, list and import rule files.

    Example: planewatch rules check my-rules/
    """


@rules_group.command("check")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def check_command(paths: tuple[Path, ...]) -> None:
    """Tell what is wrong with rule files and what they cost; exit 1 where one is wrong.

    Example: planewatch rules check my-rules/ more.yaml
    """
    from streams.rules_check_cli import check  # noqa: PLC0415

    sys.exit(check(paths))


@rules_group.command("test")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--rate-semantics",
    type=click.Choice(["prometheus", "linear"]),
    default="prometheus",
    show_default=True,
    help="extrapolate rates as the tests expect, or count as a worker does",
)
def test_command(paths: tuple[Path, ...], *, rate_semantics: str) -> None:
    """Run rule tests, in the format of `promtool test rules`; exit 1 where one fails.

    Example: planewatch rules test my-rules/tests/*.yaml
    """
    from streams.core.rules.unittests.run import RateSemantics  # noqa: PLC0415
    from streams.rules_test_cli import test_rules  # noqa: PLC0415

    sys.exit(test_rules(paths, RateSemantics(rate_semantics)))


@rules_group.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="the folder that rule files are written into",
)
def import_command(paths: tuple[Path, ...], *, out: Path) -> None:
    """Turn PrometheusRule objects and rendered mixins into rule files; exit 1 where one is refused.

    Example: planewatch rules import kube-prometheus/*.yaml --out my-rules
    """
    from streams.rules_import_cli import import_rules  # noqa: PLC0415

    sys.exit(import_rules(paths, out))


@rules_group.command("list")
@configured
@click.option("--live", is_flag=True, help="with what running workers say about them")
def list_command(settings: Settings, *, live: bool) -> None:
    """List all rules that are evaluated, ours and yours, and what is overridden.

    With --live it tells which rules fail, and which read what no target has.

    Example: planewatch rules list --live
    """
    from streams.rules_cli import show  # noqa: PLC0415

    sys.exit(show(settings, live=live))


if __name__ == "__main__":
    for _name in QUIET:
        logging.getLogger(_name).setLevel(logging.WARNING)
    run_verb("streams", cli)
