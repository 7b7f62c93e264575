"""Whoever may ask may only read our tables: each attempt to do more is refused at each door.

The doors are the HTTP port, `planewatch query` and the console. Port and command take SQL and must
refuse it; the console takes names and values, for which an attempt is a text like any other.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import urllib3
from click.testing import CliRunner
from starlette.testclient import TestClient

from schemas import run
from schemas.clock import Clock
from schemas.errors import PlanewatchError
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from sinks.console.app import create_app
from sinks.core.queries import load_queries
from sinks.engine import address
from sinks.front import Login, create_front
from sinks.migrate import migrate
from sinks.query import query_command
from sinks.readers import Readers
from sinks.run import served
from sinks.store import Store
from tests.console_rows import fill

TOKEN = "a token"
NOW_MS = 1_764_000_000_000
SECRET = "what no analyst may read"

ATTEMPTS = {
    # writing files
    "outfile": "SELECT 1 INTO OUTFILE '{canary}'",
    "outfile with format": "SELECT 1 INTO OUTFILE '{canary}' TRUNCATE FORMAT CSV",
    "outfile in brackets": "(SELECT 1) INTO OUTFILE '{canary}'",
    "outfile after union": "SELECT 1 UNION ALL SELECT 2 INTO OUTFILE '{canary}'",
    "outfile of show": "SHOW TABLES INTO OUTFILE '{canary}'",
    "outfile of describe": "DESCRIBE TABLE samples INTO OUTFILE '{canary}'",
    "insert into file": "INSERT INTO FUNCTION file('{canary}', 'CSV', 'a Int8') SELECT 1",
    "backup": "BACKUP TABLE samples TO File('{canary}')",
    "table in a file": "CREATE TABLE x (a Int8) ENGINE = File(CSV, '{canary}')",
    "database of files": "CREATE DATABASE x ENGINE = Filesystem('/')",
    # reading files
    "file": "SELECT * FROM file('{secret}', 'LineAsString')",
    "file as a value": "SELECT file('{secret}')",
    "file in capitals": "SELECT FILE ('{secret}')",
    "file in quotes": "SELECT `file`('{secret}'), \"file\"('{secret}')",
    "file by escapes": "SELECT `fi\\x6ce`('{secret}')",
    "file by a comment": "SELECT file /* ' */ ('{secret}') -- '",
    "file by name in arrayMap": "SELECT arrayMap(file, ['{secret}'])",
    "file behind quotes": "SELECT 1 AS `'`, arrayMap(file, ['{secret}']), 2 AS `'`",
    "file in a lambda": "SELECT arrayMap(x -> file(x), ['{secret}'])",
    "file by apply": "SELECT * APPLY(file) FROM (SELECT '{secret}')",
    "file by apply without brackets": "SELECT * APPLY file FROM (SELECT '{secret}')",
    "file in a subquery": "SELECT * FROM (SELECT * FROM (SELECT * FROM file('{secret}', 'CSV')))",
    "file in with": "WITH x AS (SELECT * FROM file('{secret}', 'CSV')) SELECT * FROM x",
    "file in a view": "SELECT * FROM view(SELECT * FROM file('{secret}', 'CSV'))",
    "file in a condition": "SELECT 1 WHERE 1 IN (SELECT * FROM file('{secret}', 'CSV'))",
    "file in describe": "DESCRIBE TABLE file('{secret}', 'CSV')",
    "file in explain": "EXPLAIN SELECT * FROM file('{secret}', 'CSV')",
    "file by union": "SELECT message FROM logs UNION ALL SELECT file('{secret}')",
    "fileCluster": "SELECT * FROM fileCluster('x', '{secret}', 'CSV')",
    "a path as a table": "SELECT * FROM '{secret}'",
    "a path in the default database": "SELECT * FROM default.`{secret}`",
    # other hosts and processes
    "url": "SELECT * FROM url('http://127.0.0.1:1/', 'CSV')",
    "url in quotes": "SELECT * FROM `URL`('http://127.0.0.1:1/', 'CSV')",
    "url as a table": "SELECT * FROM `http://127.0.0.1:1/x.csv`",
    "insert into url": "INSERT INTO FUNCTION url('http://127.0.0.1:1/', 'CSV', 'a Int8') SELECT 1",
    "s3": "SELECT * FROM s3('http://127.0.0.1:1/x/y.csv')",
    "s3Cluster": "SELECT * FROM s3Cluster('x', 'http://127.0.0.1:1/x/y.csv')",
    "remote": "SELECT * FROM remote('127.0.0.1:1', system.one)",
    "remoteSecure": "SELECT * FROM remoteSecure('127.0.0.1:1', system.one)",
    "cluster": "SELECT * FROM cluster('default', system.one)",
    "mysql": "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "postgresql": "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "sqlite": "SELECT * FROM sqlite('{canary}', 'x')",
    "executable": "SELECT * FROM executable('x.sh', 'TSV', 'a String')",
    "python": "SELECT * FROM python(TOKEN)",
    "python in capitals": "SELECT * FROM Python(TOKEN)",
    "python by escapes": "SELECT * FROM `pyth\\x6fn`(TOKEN)",
    "python by a comment": "SELECT * FROM /* ' */ python /**/ (TOKEN) -- '",
    "eval": "SELECT * FROM eval('SELECT 1')",
    "ai": "SELECT arrayMap(aiGenerate, ['x'])",
    "create a dictionary": (
        "CREATE DICTIONARY d (a UInt8) PRIMARY KEY a "
        "SOURCE(HTTP(URL 'http://127.0.0.1:1/' FORMAT 'CSV')) LAYOUT(FLAT()) LIFETIME(0)"
    ),
    "read a dictionary": "SELECT * FROM dictionary('d')",
    # changing the engine
    "system": "SYSTEM STOP MERGES",
    "system shutdown": "SYSTEM SHUTDOWN",
    "system reload": "SYSTEM RELOAD DICTIONARIES",
    "set": "SET readonly = 0",
    "set role": "SET ROLE ALL",
    "use": "USE system",
    "kill": "KILL QUERY WHERE 1",
    "grant": "GRANT ALL ON *.* TO default",
    "create user": "CREATE USER x",
    "create function": "CREATE FUNCTION f AS (x) -> file(x)",
    "transaction": "BEGIN TRANSACTION",
    "threads": "SELECT * FROM system.stack_trace",
    "threads by merge": "SELECT * FROM merge('system', 'stack.*')",
    "log": "SELECT logTrace('x')",
    # changing tables
    "drop": "DROP TABLE samples",
    "drop by comments": "/**/DROP/**/TABLE/**/samples -- SELECT",
    "drop in brackets": "(DROP TABLE samples)",
    "truncate": "TRUNCATE TABLE samples",
    "insert": "INSERT INTO samples (cluster) VALUES ('x')",
    "alter": "ALTER TABLE samples DELETE WHERE 1",
    "delete": "DELETE FROM samples WHERE 1",
    "rename": "RENAME TABLE samples TO x",
    "detach": "DETACH TABLE samples PERMANENTLY",
    "optimize": "OPTIMIZE TABLE samples FINAL",
    "temporary table": "CREATE TEMPORARY TABLE x (a Int8)",
    "view": "CREATE VIEW x AS SELECT 1",
    # lifting limits
    "settings": "SELECT 1 SETTINGS max_execution_time = 1000",
    "settings readonly": "SELECT 1 SETTINGS readonly = 0",
    "settings in a subquery": "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)",
    "settings in with": "WITH x AS (SELECT 1 SETTINGS max_memory_usage = 0) SELECT * FROM x",
    "settings by a comment": "SELECT 1 SETTINGS /* */ max_result_rows /**/ = 0",
    # several statements
    "two": "SELECT 1; SELECT 2",
    "drop after": "SELECT 1; DROP TABLE samples",
    "drop after a comment": "SELECT 1; -- ;\nDROP TABLE samples",
    "drop after a text": "SELECT ';'; DROP TABLE samples; --",
    "drop after a heredoc": "SELECT $x$;$x$; DROP TABLE samples",
    "drop after a zero": "SELECT 1\0; DROP TABLE samples",
    "parallel": "SELECT 1 PARALLEL WITH DROP TABLE samples",
    "nothing": ";",
    # leaving a text, as an attempt against named queries would
    "quote": "' OR 1 = 1 --",
    "quote and union": "' UNION ALL SELECT file('{secret}') --",
    "quote and drop": "'; DROP TABLE samples; --",
    "escaped quote": "\\'; DROP TABLE samples; --",
    "parameter": "{{cluster:String}}'; DROP TABLE samples; --",
    "brackets": "') OR (1 = 1",
}


@dataclass(frozen=True, slots=True)
class Doors:
    """The three, before one engine."""

    settings: Settings
    url: str
    console: TestClient
    store: Store
    secret: Path


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """An engine with rows, a file that nobody may read, and all doors to it."""
    folder = tmp_path_factory.mktemp("doors")
    settings = Settings(data=folder / "data")
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n")
    engine = address(settings).folder
    assert engine is not None
    with ExitStack() as held:
        held.callback(Store.open(settings, database="default").close)
        migrate(settings)
        store = Store.open(settings)
        held.callback(store.close)
        fill(store, NOW_MS)
        readers = Readers(engine, "planewatch", Telemetry("sinks"), settings.front)
        held.callback(readers.close)
        app = create_front(readers.execute, login=Login(TOKEN))
        url = held.enter_context(served(app, "127.0.0.1", 0, "front"))
        run.announce(settings, run.FRONT, url=url, token=TOKEN, database="planewatch")
        page = create_app(settings, Clock(None), Telemetry("sinks"))
        console = held.enter_context(TestClient(page, base_url="http://127.0.0.1:8700"))
        yield Doors(settings, url, console, store, secret)


@pytest.fixture
def canary(doors: Doors, tmp_path: Path) -> Iterator[Path]:
    """A file that must not come to be; the tables must stay as they are."""
    before = _fingerprint(doors.store)
    target = tmp_path / "canary"
    yield target
    assert [] == list(tmp_path.iterdir())
    assert before == _fingerprint(doors.store)


def _fingerprint(store: Store) -> str:
    """Everything that an attempt might change."""
    asked = (
        "SELECT name, create_table_query FROM system.tables WHERE database IN ('planewatch', "
        "'default') ORDER BY name",
        "SELECT name FROM system.databases ORDER BY name",
        "SELECT name FROM system.functions WHERE origin != 'System' ORDER BY name",
        "SELECT count(), sum(cityHash64(*)) FROM samples",
        "SELECT count() FROM logs",
    )
    found = [str(store.query(sql).to_pydict()) for sql in asked]
    return hashlib.sha256("".join(found).encode()).hexdigest()


def by_port(doors: Doors, sql: str) -> str:
    found = urllib3.request(
        "POST",
        doors.url,
        body=sql.encode(),
        headers={"X-ClickHouse-Key": TOKEN},
        retries=False,
        timeout=10,
    )
    assert found.status >= 400, found.data
    assert found.headers["X-ClickHouse-Exception-Code"] != "0"
    return found.data.decode()


def by_address(doors: Doors, sql: str) -> str:
    found = urllib3.request(
        "GET",
        doors.url,
        fields={"query": sql, "password": TOKEN},
        retries=False,
        timeout=10,
    )
    assert found.status >= 400, found.data
    return found.data.decode()


def by_command(doors: Doors, sql: str) -> str:
    arguments = ["--data", str(doors.settings.data), "--format", "csv", "--sql", sql]
    done = CliRunner().invoke(query_command, arguments)
    assert done.exit_code != 0, done.output
    assert isinstance(done.exception, PlanewatchError | SystemExit), done.exception
    return f"{done.output}{done.exception}"


@pytest.mark.parametrize("door", [by_port, by_address, by_command], ids=lambda one: one.__name__)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_sql_that_does_more_than_read_is_refused(
    doors: Doors, canary: Path, attempt: str, door: Callable[[Doors, str], str]
) -> None:
    said = door(doors, ATTEMPTS[attempt].format(canary=canary, secret=doors.secret))
    assert SECRET not in said


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_values_for_the_console_are_never_sql(doors: Doors, canary: Path, attempt: str) -> None:
    text = ATTEMPTS[attempt].format(canary=canary, secret=doors.secret)
    for name, value in (("job_log_lines", "cluster"), ("job_log_lines", "job")):
        given = {"cluster": "prod", "job": "etcd", value: text}
        address = f"/api/query/{name}"
        params = {**given, "from_ms": str(NOW_MS - 900_000), "to_ms": str(NOW_MS)}
        found = doors.console.get(address, params=params)
        assert 200 == found.status_code, found.text
        assert 0 == found.json()["rows"]
    assert 404 == doors.console.get(f"/api/query/{quote(text, safe='')}").status_code
    unknown = doors.console.get("/api/query/open_alerts", params={"sql": text})
    assert 400 == unknown.status_code
    number = doors.console.get("/api/query/log_lines", params={"limit": text})
    assert 400 == number.status_code


def test_the_same_values_find_rows_where_they_are_right(doors: Doors) -> None:
    """Or the test above would be content with a console that never answers."""
    params = {"cluster": "prod", "job": "etcd", "from_ms": str(NOW_MS - 900_000)}
    found = doors.console.get("/api/query/job_log_lines", params={**params, "to_ms": str(NOW_MS)})
    assert 3 == found.json()["rows"]


def test_a_name_of_a_table_cannot_leave_its_place(doors: Doors) -> None:
    params = {"query": "SELECT * FROM {t:Identifier}", "param_t": f"file('{doors.secret}')"}
    found = urllib3.request("GET", doors.url, fields={**params, "password": TOKEN}, retries=False)
    assert (404, "60") == (found.status, found.headers["X-ClickHouse-Exception-Code"])


def test_no_shipped_query_takes_names_of_tables() -> None:
    kinds = {one.type for query in load_queries().values() for one in query.parameters}
    assert "Identifier" not in kinds


def test_the_embedded_folder_has_the_same_guards(doors: Doors, canary: Path) -> None:
    """Where no sinks process runs, the command opens the engine itself."""
    run.withdraw(doors.settings, run.FRONT)
    try:
        for attempt in ("outfile", "file by apply", "url", "drop after", "settings", "python"):
            sql = ATTEMPTS[attempt].format(canary=canary, secret=doors.secret)
            assert SECRET not in by_command(doors, sql)
    finally:
        run.announce(doors.settings, run.FRONT, url=doors.url, token=TOKEN, database="planewatch")
