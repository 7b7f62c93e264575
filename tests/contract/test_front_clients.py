"""Clients that analysts have read through the front as they come: clickhouse-connect, curl, and
clickhouse-go with the statements of Grafana's data source.

The plugin itself needs a Grafana server, which no package here has. What it sends is known from its
source: `Connect` in pkg/plugin/driver.go, `fetch*` in src/data/CHDatasource.ts.
"""

import asyncio
import io
import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trustme
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from schemas.front import FrontSettings
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from sinks.engine import address
from sinks.front import Login, create_front
from sinks.migrate import migrate
from sinks.readers import Readers
from sinks.run import served
from sinks.store import Store
from tests.console_rows import fill
from tests.services.asks_go import asked
from tests.services.needs import need

PASSWORD = "a password: it's long"
NOW_MS = 1_764_000_000_000
UNKNOWN_SETTING, READONLY, TOO_LONG, TOO_MUCH_MEMORY, TOO_MUCH = 115, 164, 159, 241, 396


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    """Handles of an engine that knows a quarter of an hour of two clusters."""
    limits = FrontSettings(query_s_max=2, rows_max=100_000, query_memory_bytes_max=50_000_000)
    settings = Settings(data=tmp_path_factory.mktemp("data"), front=limits)
    folder = address(settings).folder
    assert folder is not None
    keeper = Store.open(settings, database="default")
    migrate(settings)
    store = Store.open(settings)
    fill(store, NOW_MS)
    store.close()
    made = Readers(folder, "planewatch", Telemetry("sinks"), settings.front)
    yield made
    made.close()
    keeper.close()


@pytest.fixture(scope="module")
def url(readers: Readers) -> Iterator[str]:
    """Where analysts connect."""
    app = create_front(readers.execute, login=Login(PASSWORD, "analyst"))
    with served(app, "127.0.0.1", 0, "front") as where:
        yield where


@pytest.fixture(params=[False, "lz4", "zstd", "gzip"], ids=["plain", "lz4", "zstd", "gzip"])
def client(url: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    """The client as anybody would make it, with each compression."""
    where = urlsplit(url)
    made = clickhouse_connect.get_client(
        host=where.hostname,
        port=where.port,
        username="analyst",
        password=PASSWORD,
        compress=request.param,
    )
    yield made
    made.close()


def get(url: str, **options: object) -> urllib3.BaseHTTPResponse:
    headers = urllib3.make_headers(basic_auth=f"analyst:{PASSWORD}")
    headers.update(options.pop("headers", {}))  # type: ignore[call-overload] # a table of tests
    return urllib3.request("GET", url, headers=headers, retries=False, **options)  # type: ignore[arg-type]


def test_rows_arrow_numpy_and_frames_are_the_same(client: Client) -> None:
    sql = "SELECT cluster, count() AS rows FROM scrapes GROUP BY cluster ORDER BY cluster"
    rows = client.query(sql).result_rows
    assert [("calm", 180), ("prod", 900)] == rows
    assert rows == [tuple(row.values()) for row in client.query_arrow(sql).to_pylist()]
    assert rows == [tuple(row) for row in client.query_np(sql).tolist()]
    pytest.importorskip("pandas")
    assert rows == [tuple(row) for row in client.query_df(sql).itertuples(index=False)]


def test_an_answer_of_many_pieces_is_whole(client: Client) -> None:
    with client.query_row_block_stream("SELECT number, repeat('x', 90) FROM numbers(90000)") as got:
        assert sum(range(90_000)) == sum(row[0] for block in got for row in block)


@pytest.mark.parametrize(
    ("form", "count"),
    [
        ("CSV", lambda body: body.count(b"\n")),
        ("CSVWithNames", lambda body: body.count(b"\n") - 1),
        ("TabSeparatedWithNamesAndTypes", lambda body: body.count(b"\n") - 2),
        ("JSONEachRow", lambda body: len(body.splitlines())),
        ("JSON", lambda body: len(json.loads(body)["data"])),
        ("JSONCompact", lambda body: json.loads(body)["rows"]),
        ("RowBinary", lambda body: len(body) // 8),
        ("ArrowStream", lambda body: pa.ipc.open_stream(body).read_all().num_rows),
        ("Arrow", lambda body: pa.ipc.open_file(body).read_all().num_rows),
        ("Parquet", lambda body: pq.read_table(io.BytesIO(body)).num_rows),
    ],
)
@pytest.mark.parametrize("rows", [0, 1, 70_000, 100_000])
def test_an_answer_is_one_document_whatever_its_size(
    url: str, form: str, count: Callable[[bytes], int], rows: int
) -> None:
    """ChDB 4.4 streams a document of its own for each block of 65,409 rows."""
    found = get(url, fields={"query": f"SELECT number FROM numbers({rows}) FORMAT {form}"})
    assert (200, rows) == (found.status, count(found.data))


def test_values_of_all_kinds_arrive(client: Client) -> None:
    sql = (
        "SELECT NULL AS nothing, nan AS not_a_number, -inf AS less, [1, 2] AS many, unhex('FF') AS "
        "raw, toDateTime64('2026-01-02 03:04:05.678', 3, 'UTC') AS at, map('a', 1) AS by"
    )
    (row,) = client.query(sql, query_formats={"String": "bytes"}).result_rows
    nothing, not_a_number, less, many, raw, at, by = row
    assert (None, float("-inf"), [1, 2], b"\xff", {b"a": 1}) == (nothing, less, many, raw, by)
    assert math.isnan(not_a_number)
    assert "2026-01-02T03:04:05.678000" == at.isoformat()[:26]


def test_an_answer_without_rows_has_its_columns(client: Client) -> None:
    assert ["cluster", "n"] == client.query_arrow(
        "SELECT cluster, 1 AS n FROM logs LIMIT 0"
    ).column_names


def test_the_asynchronous_client_asks_several_questions_at_once(url: str) -> None:
    where = urlsplit(url)

    async def ask() -> list[int]:
        client = await clickhouse_connect.get_async_client(
            host=where.hostname,
            port=where.port,
            username="analyst",
            password=PASSWORD,
            autogenerate_session_id=False,
        )
        found = await asyncio.gather(*(client.query(f"SELECT {n} * 2") for n in range(6)))
        await client.close()
        return [one.result_rows[0][0] for one in found]

    assert [0, 2, 4, 6, 8, 10] == asyncio.run(ask())


@pytest.mark.parametrize(
    ("settings", "sql", "expected"),
    [
        ({"output_format_nothing": "x"}, "SELECT 1", UNKNOWN_SETTING),
        ({"session_timezone": "Asia/Tokyo"}, "SELECT toHour(toDateTime(0))", 9),
        ({"max_execution_time": "1000"}, "SELECT getSetting('max_execution_time')", 2),
        ({"max_execution_time": "0"}, "SELECT getSetting('max_execution_time')", 2),
        ({"max_execution_time": "1"}, "SELECT getSetting('max_execution_time')", 1),
        ({"max_threads": "64"}, "SELECT getSetting('max_threads')", 2),
        ({"join_use_nulls": "1"}, "SELECT getSetting('join_use_nulls')", True),
        ({"readonly": "2"}, "SELECT getSetting('readonly')", 1),
        ({"readonly": "0"}, "SELECT 1", READONLY),
        ({"allow_introspection_functions": "1"}, "SELECT 1", READONLY),
        ({"output_format_schema": "/tmp/x"}, "SELECT 1", READONLY),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_settings_shape_an_answer_and_lift_no_limit(
    url: str, settings: dict[str, str], sql: str, expected: object
) -> None:
    fields = {"query": sql, "default_format": "JSONCompact", **settings}
    found = get(url, fields=fields)
    if found.status == 200:
        assert expected == found.json()["data"][0][0]
    else:
        assert str(expected) == found.headers["X-ClickHouse-Exception-Code"], found.data


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT count() FROM numbers(1000000000000) WHERE sin(number) > 2", TOO_LONG),
        ("SELECT number FROM numbers(100001)", TOO_MUCH),
        ("SELECT groupArray(number) FROM numbers(1000000000)", TOO_MUCH_MEMORY),
    ],
)
def test_limits_have_the_codes_of_the_engine(url: str, sql: str, code: int) -> None:
    where = urlsplit(url)
    client = clickhouse_connect.get_client(
        host=where.hostname, port=where.port, username="analyst", password=PASSWORD
    )
    with pytest.raises(DatabaseError) as refused:
        client.query(sql)
    client.close()
    assert code == refused.value.code


@pytest.mark.parametrize("path", ["ping", "replicas_status", ""])
def test_who_only_asks_whether_it_is_there_needs_no_password(url: str, path: str) -> None:
    found = urllib3.request("GET", url + path, retries=False)
    assert (200, b"Ok.\n") == (found.status, found.data)


@pytest.mark.parametrize(
    "entered",
    [
        {"headers": {"X-ClickHouse-User": "analyst", "X-ClickHouse-Key": PASSWORD}},
        {"headers": urllib3.make_headers(basic_auth=f"analyst:{PASSWORD}")},
        {"fields": {"user": "analyst", "password": PASSWORD}},
    ],
    ids=["headers", "basic", "url"],
)
def test_each_way_to_say_the_password_is_known(
    url: str, entered: dict[str, dict[str, str]]
) -> None:
    fields = {"query": "SELECT 1", **entered.get("fields", {})}
    found = urllib3.request(
        "GET", url, fields=fields, headers=entered.get("headers"), retries=False
    )
    assert (200, b"1\n") == (found.status, found.data)


@pytest.mark.parametrize(("username", "password"), [("analyst", "x"), ("me", PASSWORD), ("", "")])
def test_another_user_or_password_is_refused(url: str, username: str, password: str) -> None:
    headers = {"X-ClickHouse-User": username, "X-ClickHouse-Key": password}
    found = urllib3.request("POST", url, body="SELECT 1", headers=headers, retries=False)
    assert (403, "516") == (found.status, found.headers["X-ClickHouse-Exception-Code"])


@pytest.mark.parametrize(
    "asking",
    [
        {"fields": {"query": "SELECT 1 AS n FORMAT JSONEachRow"}},
        {"fields": {"query": "SELECT 1 AS n", "default_format": "JSONEachRow"}},
        {"fields": {"query": "SELECT 1 AS n"}, "headers": {"X-ClickHouse-Format": "JSONEachRow"}},
        {"fields": {"query": "SELECT 1 AS n FORMAT JSONEachRow", "default_format": "CSV"}},
    ],
    ids=["text", "url", "header", "text before url"],
)
def test_the_format_is_that_of_the_text_or_of_the_request(
    url: str, asking: dict[str, dict[str, str]]
) -> None:
    found = get(url, **asking)
    assert ({"n": 1}, "JSONEachRow") == (found.json(), found.headers["X-ClickHouse-Format"])
    assert found.headers["Content-Type"].startswith("application/x-ndjson")


@pytest.mark.parametrize("named", ["fields", "headers"])
def test_a_database_is_chosen_as_on_a_server(url: str, named: str) -> None:
    database = {"fields": {"database": "system"}, "headers": {"X-ClickHouse-Database": "system"}}
    asking = {"fields": {"query": "SELECT currentDatabase()"}}
    asking[named] = {**asking.get(named, {}), **database[named]}
    assert b"system\n" == get(url, **asking).data
    assert b"planewatch\n" == get(url, fields={"query": "SELECT currentDatabase()"}).data
    unknown = get(url, fields={"query": "SELECT 1", "database": "`nothing"})
    assert (404, "81") == (unknown.status, unknown.headers["X-ClickHouse-Exception-Code"])


@pytest.mark.parametrize(
    ("asking", "says"),
    [
        ({"fields": {"query": "SELECT 1", "compress": "1"}}, b"compress=1"),
        ({"fields": {"query": "SELECT 1", "decompress": "1"}}, b"compressed statements"),
        ({"headers": {"Content-Encoding": "gzip"}, "fields": {"query": "SELECT 1"}}, b"compressed"),
    ],
    ids=["compress", "decompress", "gzip"],
)
def test_what_is_not_spoken_is_refused_with_what_to_do(
    url: str, asking: dict[str, dict[str, str]], says: bytes
) -> None:
    found = get(url, **asking)
    assert 501 == found.status
    assert says in found.data


def test_curl_asks_as_the_manual_says(url: str) -> None:
    curl = [need("curl", "answers to curl"), "-sS", "--compressed", "-u", f"analyst:{PASSWORD}"]
    sql = "SELECT cluster, count() FROM scrapes GROUP BY 1 ORDER BY 1 FORMAT CSV"
    done = subprocess.run(
        [*curl, url, "--data-binary", sql], capture_output=True, text=True, check=True
    )
    assert '"calm",180\n"prod",900\n' == done.stdout


def test_a_port_beyond_loopback_speaks_tls(readers: Readers, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    cert, key, ca = (tmp_path / name for name in ("cert", "key", "ca"))
    cert.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    app = create_front(readers.execute, login=Login(PASSWORD, "analyst"))
    with served(app, "127.0.0.1", 0, "front", tls=(cert, key)) as url:
        assert url.startswith("https://")
        client = clickhouse_connect.get_client(
            host="localhost",
            port=urlsplit(url).port,
            username="analyst",
            password=PASSWORD,
            secure=True,
            ca_cert=str(ca),
        )
        assert [(1,)] == client.query("SELECT 1").result_rows
        client.close()


OF_GRAFANA = (
    "SELECT version()",
    "SHOW DATABASES",
    'SHOW TABLES FROM "planewatch"',
    'DESC TABLE "planewatch"."scrapes"',
    "SELECT name, type, table FROM system.columns",
    "SELECT name, type, table FROM system.columns WHERE database IN ('planewatch')",
    "SELECT name, is_aggregate, case_insensitive, alias_to, origin, description, syntax, arguments,"
    " returned_value, examples, categories FROM system.functions LIMIT 10000",
    "select distinct cluster from planewatch.scrapes limit 1000",
    # A panel, after the plugin has replaced its macros:
    "SELECT toStartOfInterval(toDateTime(tick), INTERVAL 60 second) AS time, job, count() AS n "
    f"FROM scrapes WHERE tick >= toDateTime({NOW_MS // 1000 - 900}) AND tick <= "
    f"toDateTime({NOW_MS // 1000}) GROUP BY time, job ORDER BY time, job",
)


def test_the_client_of_grafana_reads_what_grafana_asks(url: str) -> None:
    found = asked(
        OF_GRAFANA,
        address=urlsplit(url).netloc,
        username="analyst",
        password=PASSWORD,
        settings={"max_execution_time": 60},
    )
    assert [] == [one["error"] for one in found if "error" in one]
    version, databases, tables, columns, *_, panel = (one["rows"] for one in found)
    assert version[1][0].count(".") >= 2
    assert ["planewatch"] in databases
    assert ["scrapes"] in tables
    assert ["tick", "DateTime64(3, 'UTC')"] in [row[:2] for row in columns]
    assert ["time", "job", "n"] == panel[0]
    assert 1080 == sum(int(row[2]) for row in panel[1:])


def test_the_client_of_grafana_sees_errors_with_their_codes(url: str) -> None:
    statements = ("DROP TABLE samples", "SELECT * FROM nothing", "SELECT 1 AS n")
    found = asked(statements, address=urlsplit(url).netloc, username="analyst", password=PASSWORD)
    assert "Code: 164." in found[0]["error"]
    assert "Code: 60." in found[1]["error"]
    assert [["n"], ["1"]] == found[2]["rows"]
    (wrong,) = asked(["SELECT 1"], address=urlsplit(url).netloc, password="wrong")
    assert "Code: 516." in wrong["error"]
