"""Bring the tables to this release. In: `migrations/NNNN_name.sql`. Out: tables, and one row per
file in `schema_migrations`.

The rule this file owns: files are applied once, in order, and never edited after a release (their
checksums say so); statements are separated by a marker line and can be repeated, so that a run that
died is simply run again. Only retention follows the configuration afterwards.
"""

import hashlib
import logging
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import click
import pyarrow as pa

from schemas.command import configured
from schemas.errors import SinkRefused
from schemas.settings import RetentionSettings, Settings
from sinks.engine import address
from sinks.store import Store

log = logging.getLogger(__name__)

MARKER: Final = "-- next statement --"

_HISTORY: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number   UInt32,
    name     String,
    checksum String,                       -- of the file, before its parameters were filled in
    finished DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY number
"""
_FILE: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_DAYS: Final = re.compile(r"TTL _day \+ (?:INTERVAL (\d+) DAY|toIntervalDay\((\d+)\))")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Return what tells whether the file was edited."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self, parameters: dict[str, int]) -> list[str]:
        """Return its statements with `{{parameters}}` filled in."""
        text = re.sub(r"\{\{(\w+)\}\}", lambda found: str(parameters[found[1]]), self.text)
        return [part.strip() for part in text.split(MARKER)]


def shipped() -> list[Migration]:
    """Return the migrations of this release in order."""
    found = [
        Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))
        for file in files("sinks").joinpath("migrations").iterdir()
        if (match := _FILE.fullmatch(file.name))
    ]
    return sorted(found, key=lambda migration: migration.number)


def retention_days(retention: RetentionSettings) -> dict[str, int]:
    """Return the parameters of the migrations: for how many days each table keeps rows."""
    days: dict[str, int] = retention.model_dump()
    return {
        **days,
        "dead_letters_days": days["logs_days"],
        "records_days": max(days.values()),  # what tells that a row was stored outlives the row
    }


def migrate(settings: Settings, *, dry_run: bool = False) -> list[str]:
    """Apply what is missing; return what was done, or would be, one line each.

    Raises:
        SinkRefused: the tables are newer than this program, or a shipped file was edited.
    """
    try:
        store = Store.open(settings)
    except SinkRefused as error:
        if not _no_database(error):
            raise
        store = None
    if store is None:
        if dry_run:
            return [f"create database {address(settings).database}", *map(_line, shipped())]
        store = _with_database(settings)
    try:
        pending = _pending(store)
        done = [_line(migration) for migration in pending]
        if not dry_run:
            _apply(store, pending, retention_days(settings.retention))
        return done + _retention(store, retention_days(settings.retention), dry_run=dry_run)
    finally:
        store.close()


def _apply(store: Store, pending: list[Migration], parameters: dict[str, int]) -> None:
    store.command(_HISTORY)
    for migration in pending:
        for statement in migration.statements(parameters):
            store.command(statement)
        row = {
            "number": pa.array([migration.number], pa.uint32()),
            "name": pa.array([migration.name]),
            "checksum": pa.array([migration.checksum]),
        }
        store.insert("schema_migrations", pa.table(row), token=_line(migration))
        log.info("migrated number=%04d name=%s", migration.number, migration.name)


def _pending(store: Store) -> list[Migration]:
    """Return what is not applied yet; refuse what cannot be."""
    ours = {migration.number: migration for migration in shipped()}
    if not store.query(
        "SELECT 1 FROM system.tables WHERE database = currentDatabase() "
        "AND name = 'schema_migrations'"
    ).num_rows:
        return list(ours.values())
    applied = store.query("SELECT number, name, checksum FROM schema_migrations FINAL ORDER BY 1")
    for row in applied.to_pylist():
        shipped_one = ours.pop(row["number"], None)
        if shipped_one is None:
            raise SinkRefused(
                f"the tables have migration {row['number']:04d} ({row['name']}), which this "
                f"release does not know: run the newer release, or another database"
            )
        if shipped_one.checksum != row["checksum"]:
            raise SinkRefused(
                f"migration {row['number']:04d} ({row['name']}) differs from the one that made "
                f"the tables: restore the file and put the change into a new one"
            )
    return list(ours.values())


def _retention(store: Store, days: dict[str, int], *, dry_run: bool) -> list[str]:
    """Let the tables keep rows as long as the configuration says now."""
    made = store.query(
        "SELECT name, create_table_query AS made FROM system.tables "
        "WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name"
    )
    wanted = {**days, "histograms_days": days["samples_days"]}
    done = []
    for row in made.to_pylist():
        found = _DAYS.search(row["made"])
        now = wanted.get(f"{row['name']}_days")
        if found is None or now is None or int(found[1] or found[2]) == now:
            continue
        done.append(f"{row['name']} keeps rows for {now} days, not {found[1] or found[2]}")
        if not dry_run:
            # Whole parts expire by their newest day, so no part needs to be rewritten.
            store.command(
                f"ALTER TABLE {row['name']} MODIFY TTL _day + INTERVAL {now} DAY "
                f"SETTINGS materialize_ttl_after_modify = 0"
            )
    return done


def _with_database(settings: Settings) -> Store:
    default = Store.open(settings, database="default")
    try:
        default.command(f"CREATE DATABASE IF NOT EXISTS `{address(settings).database}`")
        return Store.open(settings)  # before the other is closed, or the engine would stop between
    finally:
        default.close()


def _no_database(error: SinkRefused) -> bool:
    return "UNKNOWN_DATABASE" in str(error)


def _line(migration: Migration) -> str:
    return f"{migration.number:04d} {migration.name}"


@click.command("migrate", short_help="bring the tables to this release")
@click.option("--dry-run", is_flag=True, help="print what would be done, and do nothing")
@configured
def migrate_command(settings: Settings, dry_run: bool) -> None:
    """Make and change tables as this release needs them; `sinks` does it at its start too.

    Example: planewatch migrate --dry-run
    """
    done = migrate(settings, dry_run=dry_run)
    for line in done:
        click.echo(f"{'would apply' if dry_run else 'applied'} {line}")
    if not done:
        click.echo("the tables are those of this release")
