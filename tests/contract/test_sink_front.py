"""An unmodified ClickHouse client reads through the front, and can do nothing else."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from schemas.front import FrontSettings
from schemas.metrics import Metric
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from sinks.engine import address
from sinks.front import Login, create_front
from sinks.migrate import migrate
from sinks.readers import Readers
from sinks.run import served
from sinks.store import Store

QUERIES_MAX = FrontSettings().queries_max
TOKEN = secrets.token_urlsafe(16)
READONLY, SYNTAX_ERROR, UNKNOWN_TABLE, AUTHENTICATION_FAILED = 164, 62, 60, 516


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The front of an engine with migrated tables."""
    settings = Settings(data=tmp_path_factory.mktemp("data"))
    folder = address(settings).folder
    assert folder is not None
    with ExitStack() as held:
        keeper = Store.open(settings, database="default")
        held.callback(keeper.close)
        migrate(settings)
        readers = Readers(folder, "planewatch", Telemetry("sinks"))
        held.callback(readers.close)
        app = create_front(readers.execute, login=Login(TOKEN))
        yield held.enter_context(served(app, "127.0.0.1", 0, "front"))


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """The client as anybody would make it."""
    where = urlsplit(url)
    made = clickhouse_connect.get_client(
        host=where.hostname, port=where.port, username="anybody", password=TOKEN
    )
    yield made
    made.close()


def test_a_client_queries_with_parameters(client: Client) -> None:
    nasty = "it's\t\\\n{x:String}"
    found = client.query(
        "SELECT {text:String} AS text, {many:Array(String)} AS many",
        parameters={"text": nasty, "many": ["a'b", "c"]},
    )
    assert [(nasty, ["a'b", "c"])] == found.result_rows


def test_a_client_reads_arrow(client: Client) -> None:
    answer = client.query_arrow("SELECT number, toString(number) AS text FROM numbers(3)")
    assert {"number": [0, 1, 2], "text": ["0", "1", "2"]} == answer.to_pydict()


def test_a_client_streams_rows(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(100000)") as blocks:
        assert 100_000 == sum(len(block) for block in blocks)


def test_a_client_finds_our_tables(client: Client) -> None:
    tables = {row[0] for row in client.query("SHOW TABLES").result_rows}
    assert {"samples", "histograms", "scrapes", "records", "v_alerts_newest"} <= tables


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("INSERT INTO samples (cluster) VALUES ('x')", READONLY),
        ("DROP TABLE samples", READONLY),
        ("SYSTEM STOP MERGES", READONLY),
        ("SET readonly = 0", READONLY),
        ("KILL QUERY WHERE 1", READONLY),
        ("SELECT 1 SETTINGS readonly = 0", READONLY),
        ("SELECT 1 SETTINGS max_execution_time = 1000", READONLY),
        ("SELECT 1; SELECT 2", READONLY),
        ("SELECT 1; DROP TABLE samples", READONLY),
        ("SELECT * FROM nothing", UNKNOWN_TABLE),
        ("SELECT )", SYNTAX_ERROR),
        ("SELECT file('/etc/hostname')", READONLY),
        ("SELECT * FROM file('/etc/hostname', 'LineAsString')", READONLY),
        ("DESCRIBE TABLE file('/etc/hostname', 'LineAsString')", READONLY),
        ("SELECT * FROM url('http://127.0.0.1:1/', 'CSV')", READONLY),
        ("SELECT * FROM `URL`('http://127.0.0.1:1/', 'CSV')", READONLY),
        ("SELECT * FROM remote('127.0.0.1:1', system.one)", READONLY),
        ("SELECT * FROM s3('http://127.0.0.1:1/x')", READONLY),
        ("SELECT * FROM python(Token)", READONLY),
        ("SELECT * FROM `pyth\\x6fn`(Token)", READONLY),
        ("SELECT * FROM /* ' */ python /**/ (Token) -- '", READONLY),
        ("SELECT * FROM eval('SELECT 1')", READONLY),
        ("SELECT aiGenerate('x')", READONLY),
    ],
)
def test_what_is_not_reading_our_tables_is_refused(client: Client, sql: str, code: int) -> None:
    with pytest.raises(DatabaseError) as refused:
        client.query(sql)
    assert code == refused.value.code


def test_no_file_is_written(client: Client, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(DatabaseError) as refused:
        client.command(f"SELECT 1 INTO OUTFILE '{target}'")
    assert READONLY == refused.value.code
    assert not target.exists()


def test_a_failed_query_leaves_nothing_in_the_next_answer(client: Client) -> None:
    for _ in range(QUERIES_MAX):
        with pytest.raises(DatabaseError, match="max rows"):
            client.query("SELECT number FROM numbers(10000000)")
    for _ in range(QUERIES_MAX):
        assert [(1,)] == client.query("SELECT 1").result_rows


@pytest.mark.parametrize("password", ["", "wrong", TOKEN + "x"])
def test_nobody_enters_without_the_token(url: str, password: str) -> None:
    where = urlsplit(url)
    with pytest.raises(DatabaseError) as refused:
        clickhouse_connect.get_client(host=where.hostname, port=where.port, password=password)
    assert AUTHENTICATION_FAILED == refused.value.code


def test_a_statement_that_is_too_large_is_refused(client: Client) -> None:
    with pytest.raises(DatabaseError) as refused:
        client.query(f"SELECT '{'x' * 1_100_000}'")
    assert SYNTAX_ERROR == refused.value.code


def test_small_answers_do_not_wait_for_acknowledgements(client: Client) -> None:
    """Nagle's algorithm and delayed acknowledgements would make each take 40 ms."""
    took_s = []
    for _ in range(20):
        began_s = time.monotonic()
        client.query("SELECT 1")
        took_s.append(time.monotonic() - began_s)
    assert sorted(took_s)[10] < 0.03


def test_one_statement_too_many_waits_its_turn(url: str) -> None:
    answers: list[int] = []

    def ask() -> None:
        mine = Store.at_front(url, token=TOKEN, database="planewatch")
        answers.append(mine.query("SELECT sleep(0.2) AS slept").num_rows)
        mine.close()

    threads = [threading.Thread(target=ask) for _ in range(QUERIES_MAX + 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [1] * (QUERIES_MAX + 2) == answers


def test_readers_that_are_all_busy_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.readers.WAIT_S_MAX", 0.01)
    telemetry = Telemetry("sinks")
    readers = Readers(tmp_path, "planewatch", telemetry)
    readers.close()  # nobody is idle
    with pytest.raises(Exception, match="TOO_MANY_SIMULTANEOUS_QUERIES"), readers.reader():
        pass
    assert 1 == telemetry.value(Metric.LIMIT_HITS, limit="front_readers")
