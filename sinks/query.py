"""Ask the tables from the command line. In: a named query or SQL, parameters, a time range. Out: a
table, CSV or JSON.

The rule this file owns: it only reads, within limits of time and rows: through the front of the
sinks process where one runs, else in the folder itself, else from the configured server.
"""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import click
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from schemas import run
from schemas.clock import Clock
from schemas.command import configured
from schemas.errors import SinkRefused
from schemas.settings import Settings
from sinks.core.failures import QueryError
from sinks.core.macros import expand
from sinks.core.moments import moment_ms
from sinks.core.queries import Query, Value, load_queries
from sinks.engine import address
from sinks.reader import Reader
from sinks.store import Store, read_arrow

STEPS: Final = 60
"""Into how many steps $__timeInterval divides the range: what fits a terminal."""

WIDTH_MAX: Final = 10_000


@click.command("query", short_help="ask the tables by a named query or by read-only SQL")
@click.argument("name", required=False)
@click.option("--sql", help="a reading statement of your own; $__timeFilter_ms(ts) works in it too")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="of a named query")
@click.option("--from", "begin", default="-1h", show_default=True, help="-1h, or a time in UTC")
@click.option("--to", "end", default="now", show_default=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
)
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
) -> None:
    """Answer a named query, or --sql; without either, list the names.

    \b
    Examples:
      planewatch query
      planewatch query failed_scrapes --param cluster=prod-eu-1 --from -6h
      planewatch query --sql "SELECT metric, count() FROM samples GROUP BY 1" --format csv
    """
    if name is None and sql is None:
        _list()
        return
    if name is not None and sql is not None:
        raise click.UsageError("a name and --sql exclude each other")
    text, bound = (sql, {}) if sql is not None else _named(name or "", params)
    assert text is not None
    now_ms = Clock(settings.clock.file).now_ms()
    try:
        from_ms, to_ms = moment_ms(begin, now_ms=now_ms), moment_ms(end, now_ms=now_ms)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    step_s = max(1, (to_ms - from_ms) // 1000 // STEPS)
    answer = ask(settings, expand(text, from_ms=from_ms, to_ms=to_ms, interval_s=step_s), bound)
    PRINTERS[form](answer)


def ask(settings: Settings, sql: str, parameters: Mapping[str, Value]) -> pa.Table:
    """Return the answer to a reading statement.

    Raises:
        SinkRefused: it may not run, or failed. SinkRetry: ClickHouse does not answer.
    """
    where = address(settings)
    if where.folder is None:
        return _from_store(Store.open(settings, readonly=True), sql, parameters)
    if front := run.find(settings, run.FRONT):
        store = Store.at_front(front["url"], token=front["token"], database=front["database"])
        return _from_store(store, sql, parameters)
    if not where.folder.is_dir():
        raise SinkRefused(f"there are no tables in {where.folder}: start sinks, or choose --data")
    return _from_folder(settings, sql, parameters)


def _from_store(store: Store, sql: str, parameters: Mapping[str, Value]) -> pa.Table:
    try:
        return store.query(sql, parameters)
    finally:
        store.close()


def _from_folder(settings: Settings, sql: str, parameters: Mapping[str, Value]) -> pa.Table:
    where = address(settings)
    assert where.folder is not None
    keeper = Store.open(settings, database="default")  # says clearly if another process is there
    try:
        reader = Reader(where.folder, where.database)
        try:
            texts = {name: _text(value) for name, value in parameters.items()}
            with reader.answer(sql, form="ArrowStream", parameters=texts).body as body:
                return read_arrow(body.read())
        finally:
            reader.close()
    except QueryError as error:
        raise SinkRefused(str(error)) from error
    finally:
        keeper.close()


def _text(value: Value) -> str:
    """Return a parameter as ClickHouse reads it."""
    if isinstance(value, list):
        quoted = (one.replace("\\", "\\\\").replace("'", "\\'") for one in value)
        return "[" + ",".join(f"'{one}'" for one in quoted) + "]"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _named(name: str, params: Sequence[str]) -> tuple[str, dict[str, Value]]:
    queries = load_queries()
    if name not in queries:
        raise click.UsageError(f"no query {name!r}; there are {', '.join(queries)}")
    query = queries[name]
    try:
        return query.sql, query.bind(_given(query, params))
    except SinkRefused as error:
        raise click.UsageError(str(error)) from error


def _given(query: Query, params: Sequence[str]) -> dict[str, Value]:
    types = {one.name: one.type for one in query.parameters}
    given: dict[str, Value] = {}
    for param in params:
        name, equals, value = param.partition("=")
        if not equals:
            raise click.UsageError(f"--param {param}: expected NAME=VALUE")
        given[name] = value.split(",") if types.get(name, "").startswith("Array") else value
    return given


def _list() -> None:
    for query in load_queries().values():
        click.echo(f"{query.name}\n    {query.what}")
        for one in query.parameters:
            default = "" if one.default is None else f" = {json.dumps(one.default)}"
            click.echo(f"    --param {one.name}=...  {one.type}{default}: {one.what}")


def _print_table(answer: pa.Table) -> None:
    """Print columns: folded to the width of a terminal, as wide as they are elsewhere."""
    out = Console(markup=False, highlight=False)
    grid = Grid(box=box.SIMPLE_HEAD if out.is_terminal else None, show_edge=False, pad_edge=False)
    for name, column in zip(answer.schema.names, answer.columns, strict=True):
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        justify: Literal["left", "right"] = "right" if number else "left"
        grid.add_column(name, justify=justify, no_wrap=number, overflow="fold", min_width=6)
    for row in answer.to_pylist():
        grid.add_row(*(_rounded(value) for value in row.values()))
    if not out.is_terminal:
        out.width = WIDTH_MAX
    out.print(grid)


def _rounded(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else _shown(value)


def _print_csv(answer: pa.Table) -> None:
    out = csv.writer(sys.stdout)
    out.writerow(answer.schema.names)
    out.writerows([_shown(value) for value in row.values()] for row in answer.to_pylist())


def _print_json(answer: pa.Table) -> None:
    json.dump(answer.to_pylist(), sys.stdout, default=_shown, indent=1, ensure_ascii=False)
    print()


PRINTERS: Final[Mapping[str, Callable[[pa.Table], None]]] = {
    "table": _print_table,
    "csv": _print_csv,
    "json": _print_json,
}


def _shown(value: Any) -> str:
    """Return a value as people and spreadsheets read it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)
