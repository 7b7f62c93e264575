"""The verb `targets`. In: a configuration of Prometheus. Out: the same targets for ours, on stdout.

The rule this file owns: it only reads; what was left out is told on stderr, with file and line.
"""

from pathlib import Path

import click
import yaml

from producers.core.scrapeconfigs import imported
from schemas.identity import is_cluster_id


class _Plain(yaml.SafeDumper):
    """Writes out what several targets share: people read and edit it."""

    def ignore_aliases(self, data: object) -> bool:
        """Tell that nothing is referred to."""
        return True


@click.group("targets", short_help="take targets over from Prometheus")
def targets_command() -> None:
    """Take targets over from Prometheus.

    Example: planewatch targets import prometheus.yml --cluster prod-eu-1
    """


@targets_command.command("import", short_help="print the static targets of scrape_configs")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--cluster", required=True, metavar="ID", help="the cluster that they belong to")
def import_command(file: Path, cluster: str) -> None:
    """Print the static targets of a configuration of Prometheus as ours has them.

    Exit code 1 where a job was refused.

    \b
    Example:
      planewatch targets import prometheus.yml --cluster prod-eu-1 >> planewatch.yaml
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} cannot be read: {error}") from error
    found = imported(text, file.parent)
    tree = {"clusters": [{"id": _cluster(cluster), "targets": found.targets}]}
    if found.targets:
        click.echo(yaml.dump(tree, Dumper=_Plain, sort_keys=False, width=10_000), nl=False)
    for kind, several in (("refused", found.refused), ("left out", found.notes)):
        for one in several:
            where = f"{file}:{one.line}" if one.line else str(file)
            job = f" {one.job}:" if one.job else ""
            click.echo(f"{where}: {kind}:{job} {one.what}", err=True)
    click.echo(f"{len(found.targets)} targets, {len(found.refused)} refused", err=True)
    click.get_current_context().exit(1 if found.refused else 0)


def _cluster(text: str) -> str:
    if not is_cluster_id(text):
        raise click.UsageError(f"{text} is no id of a cluster: lower-case letters, digits, . and -")
    return text
