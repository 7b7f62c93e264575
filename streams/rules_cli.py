"""List rules for people. In: settings. Out: lines or a table, an exit code.

The rule this file owns: what a worker would evaluate is listed, or why it would not start.
"""

from typing import Final

import click
from rich.console import Console
from rich.table import Table

from schemas.settings import Settings
from streams.core.rules.files import AlertingRule, RuleErrors
from streams.core.rules.overrides import Effective, effective
from streams.rulefiles import configured_rule_sets
from streams.rules_live import newest_word

_COLUMNS: Final[tuple[str, ...]] = (
    *("kind", "rule", "group", "every", "for", "severity", "file"),
    *("threshold", "clusters", "state"),
)


def show(settings: Settings, *, live: bool = False) -> int:
    """Print the rules of a worker; return 1 where they cannot be used.

    live: with what running workers say about them.

    Raises:
        ConfigError: an override cannot be done, or there is no broker.
        BrokerError: it does not answer.
    """
    try:
        rules = configured_rule_sets(settings).loaded
    except RuleErrors as error:
        click.echo(error, err=True)
        return 1
    found = [*effective(rules.groups, settings.rules.overrides)]
    rows, columns = [_row(one) for one in found], _COLUMNS
    if live:
        view = newest_word(settings)
        clusters = ", ".join(view.clusters) or "no cluster: no worker wrote facts lately"
        click.echo(f"heard of {clusters}", err=True)
        said = (view.said(one.group.name, one.rule.name) for one in found)
        rows = [(*row, text) for row, text in zip(rows, said, strict=True)]
        columns = (*columns, "live")
    out = Console(highlight=False)
    if not out.is_terminal:
        for row in rows:
            click.echo("\t".join(row))
    else:
        table = Table(*columns, box=None)
        for row in rows:
            table.add_row(*row)
        out.print(table)
    return 0


def _row(one: Effective) -> tuple[str, ...]:
    rule, group = one.rule, one.group
    every, alert = f"{group.interval_ms / 1000:g}s", isinstance(rule, AlertingRule)
    judgement = _judgement(rule) if isinstance(rule, AlertingRule) else ("", "")
    threshold = rule.judged.threshold if isinstance(rule, AlertingRule) else None
    return (
        "alert" if alert else "record",
        *(rule.name, group.name, every, *judgement, group.file),
        "" if threshold is None else f"{threshold:g}",
        one.clusters,
        "" if one.enabled else "disabled",
    )


def _judgement(rule: AlertingRule) -> tuple[str, str]:
    return f"{rule.for_ms / 1000:g}s", rule.labels.get("severity", "")
