"""Check rule files for people. In: paths. Out: problems, a table of costs and inputs, a code.

The rules this file owns:
- A problem is told as file:line, as compilers do. What is wrong with one file hides nothing of
  another.
- A name that nobody knows is told, not refused: people watch more than we ship rules for.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from schemas.eras import RENAMES
from schemas.errors import ConfigError, RuleError
from schemas.metrics import Metric
from streams.core.facts import FACTS
from streams.core.promql.wanted import SYNTHETIC
from streams.core.rules.costs import STEP_MS, Cost, costs, names_read, plans, steps_of
from streams.core.rules.files import RuleErrors, RuleSet, load_rules
from streams.core.rules.lint import duplicates
from streams.rulefiles import read_files, shipped_files

EXPR_CHARS_MAX: Final = 300
"""Of an expression that is shown beside a problem."""
ALERTS: Final = ("ALERTS", "ALERTS_FOR_STATE")


def check(paths: Sequence[Path]) -> int:
    """Print what is wrong with these files, and what the others cost; 1 where one is wrong."""
    files: dict[str, str] = {}
    problems: list[RuleError] = []
    for path in paths:
        try:
            files |= read_files([path])
        except ConfigError as error:
            problems += [RuleError(one.message, file=str(path)) for one in error.problems]
    found, rules = _loaded(files)
    for problem in [*problems, *found]:
        click.echo(_shown(problem), err=True)
    if rules is not None and rules.groups:
        _show(costs(rules, set(_known())))
    return _sum_up(len(problems), files, found, rules)


def _loaded(files: dict[str, str]) -> tuple[list[RuleError], RuleSet | None]:
    """Return all problems, and the rules of the files that have none."""
    try:
        rules = load_rules(files)
        found = duplicates(rules.groups)
    except RuleErrors as error:
        found = list(error.errors)
        wrong = {one.file for one in found}
        good = {name: text for name, text in files.items() if name not in wrong}
        more, rest = _loaded(good) if len(good) < len(files) else ([], None)
        return sorted([*found, *more], key=lambda one: (one.file, one.line)), rest
    return found, rules


def _shown(problem: RuleError) -> str:
    expr = problem.expr
    if len(expr) > EXPR_CHARS_MAX:
        expr = f"{expr[:EXPR_CHARS_MAX]}... ({len(expr)} characters)"
    return str(RuleError(problem.message, file=problem.file, line=problem.line, expr=expr))


def _known() -> Iterator[str]:
    """Yield the names of series that planewatch knows of."""
    yield from names_read(load_rules(shipped_files()))
    for rename in RENAMES:
        yield from (rename.family, rename.new_family)
    yield from (metric.value for metric in Metric)
    yield from (*FACTS, *SYNTHETIC, *ALERTS)


def _show(found: Sequence[Cost]) -> None:
    out = Console(highlight=False)
    if not out.is_terminal:
        for one in found:
            click.echo("\t".join(_row(one)))
        return
    table = Table("rule", "costs", "reads", "keeps", "unknown names", box=None)
    for one in found:
        table.add_row(*_row(one))
    out.print(table)


def _row(one: Cost) -> tuple[str, ...]:
    kept = f"{one.accumulators} accumulators, {one.windows} windows, {one.longest_ms / 1000:g} s"
    return (
        one.rule.name,
        f"{one.steps} steps, {one.evaluation_ms:.2g} ms",
        f"{one.selectors} selectors",
        kept if one.longest_ms else "nothing",
        " ".join(one.unknown) or "-",
    )


def _sum_up(
    unread: int, files: dict[str, str], found: Sequence[RuleError], rules: RuleSet | None
) -> int:
    wrong = unread + len({one.file for one in found})
    if rules is not None and rules.groups:
        count = sum(len(group.rules) for group in rules.groups)
        steps = steps_of(plans(rules))
        click.echo(
            f"an evaluation of these {count} rules: {steps} steps, about {steps * STEP_MS:.2g} ms"
        )
    if wrong:
        click.echo(f"{wrong} of {unread + len(files)} files are wrong", err=True)
        return 1
    groups = () if rules is None else rules.groups
    count = sum(len(group.rules) for group in groups)
    click.echo(f"{len(files)} files, {len(groups)} groups, {count} rules: good")
    return 0
