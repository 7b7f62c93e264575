"""Check and list rules for people. In: paths, settings. Out: lines, a table, an exit code.

The rule this file owns: a problem is told as file:line, as compilers do.
"""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from schemas.settings import Settings
from streams.core.rules.files import AlertingRule, Group, RuleErrors, load_rules
from streams.rulefiles import configured_rules, read_files


def check(paths: Sequence[Path]) -> int:
    """Print what is wrong with these files; return 1 where something is."""
    files = read_files(paths)
    try:
        rules = load_rules(files)
    except RuleErrors as error:
        for one in error.errors:
            click.echo(one, err=True)
        return 1
    count = sum(len(group.rules) for group in rules.groups)
    click.echo(f"{len(files)} files, {len(rules.groups)} groups, {count} rules: good")
    return 0


def show(settings: Settings) -> int:
    """Print the rules of a worker; return 1 where they cannot be used."""
    try:
        rules = configured_rules(settings.rules)
    except RuleErrors as error:
        click.echo(error, err=True)
        return 1
    out = Console(highlight=False)
    if not out.is_terminal:
        for group in rules.groups:
            for row in _rows(group):
                click.echo("\t".join(row))
        return 0
    table = Table("kind", "rule", "group", "every", "for", "severity", "file", box=None)
    for group in rules.groups:
        for row in _rows(group):
            table.add_row(*row)
    out.print(table)
    return 0


def _rows(group: Group) -> list[tuple[str, ...]]:
    every = f"{group.interval_ms / 1000:g}s"
    return [
        ("alert", rule.alert, group.name, every, *_judgement(rule), group.file)
        if isinstance(rule, AlertingRule)
        else ("record", rule.record, group.name, every, "", "", group.file)
        for rule in group.rules
    ]


def _judgement(rule: AlertingRule) -> tuple[str, str]:
    return f"{rule.for_ms / 1000:g}s", rule.labels.get("severity", "")
