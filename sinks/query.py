"""Ask the tables from the command line. In: a named query or SQL, parameters, a time range. Out: a
table, CSV, JSON, Parquet or Arrow.

The rule this file owns: what is asked is complete and typed before anybody is asked, and who asks
wrongly is told what would be right.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from schemas.clock import Clock
from schemas.command import configured
from schemas.errors import SinkRefused
from schemas.settings import Settings
from sinks.ask import answering
from sinks.ask import ask as ask  # noqa: PLC0414 part of what is read from here
from sinks.core.macros import expand
from sinks.core.moments import moment_ms
from sinks.core.queries import Query, Value, free_query, load_queries
from sinks.printing import WIDTH_MAX as WIDTH_MAX  # noqa: PLC0414 part of what is read from here
from sinks.printing import WRITERS, opened

STEPS: Final = 60
"""Into how many steps $__timeInterval divides the range: what fits a terminal."""


@click.command("query", short_help="ask the tables by a named query or by read-only SQL")
@click.argument("name", required=False)
@click.option("--sql", help="a reading statement of your own; $__timeFilter_ms(ts) works in it too")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="of a named query, or for {NAME:Type} in --sql; an array is a,b or a JSON array",
)
@click.option("--from", "begin", default="-1h", show_default=True, help="-1h, or a time in UTC")
@click.option("--to", "end", default="now", show_default=True)
@click.option(
    "--format",
    "form",
    type=click.Choice([*WRITERS]),
    default="table",
    show_default=True,
)
@click.option("--output", type=click.Path(path_type=Path), help="a file, instead of stdout")
@configured
def query_command(
    settings: Settings,
    *,
    name: str | None,
    sql: str | None,
    params: Sequence[str],
    begin: str,
    end: str,
    form: str,
    output: Path | None,
) -> None:
    """Answer a named query, or --sql; without either, list the names.

    \b
    Examples:
      planewatch query
      planewatch query failed_scrapes --param cluster=prod-eu-1 --from -6h
      planewatch query --sql "SELECT metric, count() FROM samples GROUP BY 1" --format csv
      planewatch query --sql "SELECT * FROM v_alerts" --format parquet --output alerts.parquet
    """
    if name is None and sql is None:
        _list()
        return
    if name is not None and sql is not None:
        raise click.UsageError("a name and --sql exclude each other")
    try:
        query = free_query(sql) if sql is not None else _named(name or "")
        bound = query.bind(_given(query, params))
    except SinkRefused as error:
        raise click.UsageError(str(error)) from error
    now_ms = Clock(settings.clock.file).now_ms()
    try:
        from_ms, to_ms = moment_ms(begin, now_ms=now_ms), moment_ms(end, now_ms=now_ms)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if from_ms >= to_ms:
        raise click.UsageError(f"--from {begin} is not before --to {end}")
    step_s = max(1, (to_ms - from_ms) // 1000 // STEPS)
    text = expand(query.sql, from_ms=from_ms, to_ms=to_ms, interval_s=step_s)
    with opened(output, form) as out, answering(settings, text, bound) as answer:
        WRITERS[form](answer, out)


def _named(name: str) -> Query:
    queries = load_queries()
    if name not in queries:
        raise click.UsageError(f"no query {name!r}; there are {', '.join(queries)}")
    return queries[name]


def _given(query: Query, params: Sequence[str]) -> Mapping[str, Value]:
    arrays = {one.name for one in query.parameters if one.type.startswith("Array")}
    given: dict[str, Value] = {}
    for param in params:
        name, equals, value = param.partition("=")
        if not equals:
            raise click.UsageError(f"--param {param}: expected NAME=VALUE")
        if name in given:
            raise click.UsageError(f"--param {name} is given twice")
        given[name] = _many(value) if name in arrays else value
    return given


def _many(text: str) -> list[str]:
    """Return the values of an array: a,b or, where they hold commas, a JSON array."""
    if not text.startswith("["):
        return text.split(",") if text else []
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{text} is no JSON array: {error}") from error
    return [one if isinstance(one, str) else json.dumps(one) for one in found]


def _list() -> None:
    for query in load_queries().values():
        click.echo(f"{query.name}\n    {query.what}")
        for one in query.parameters:
            default = "" if one.default is None else f" = {json.dumps(one.default)}"
            click.echo(f"    --param {one.name}=...  {one.type}{default}: {one.what}")
