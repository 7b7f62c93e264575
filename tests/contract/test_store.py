"""A store keeps its promises over chdb:// and over http://, by one code path."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from schemas.errors import SinkRefused, SinkRetry
from schemas.settings import ClickHouseSettings, RetentionSettings, Settings
from sinks.core.tables import COORDINATES, RECORDS, RECORDS_SCHEMA, SCHEMAS, Table
from sinks.engine import address
from sinks.migrate import migrate, retention_days, shipped
from sinks.store import Store
from tests.services.clickhouse import ClickHouse

USERS_SERVER = "PLANEWATCH_TEST_CLICKHOUSE"
NUMBERS = pa.table(
    {
        "name": pa.array(["a", "b", "a"]).dictionary_encode(),
        "at": pa.array([0, 1, 1_764_000_000_123], pa.timestamp("ms", "UTC")),
        "value": [1.5, -2.0, 3.0],
        "parts": pa.array([[1, -2], [], None], pa.list_(pa.int64())),
        "_day": pa.array([20_000] * 3, pa.int32()).cast(pa.date32()),
    }
)
TABLE = """
CREATE TABLE numbers_stored
(name LowCardinality(String), at DateTime64(3, 'UTC'), value Float64, parts Array(Int64), _day Date)
ENGINE = MergeTree PARTITION BY _day ORDER BY name
SETTINGS non_replicated_deduplication_window = 100
"""


@pytest.fixture(scope="module", params=["chdb", "http"])
def dsn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where ClickHouse is, without a database."""
    if request.param == "chdb":
        yield f"chdb://{tmp_path_factory.mktemp('engine')}/"
    elif users := os.environ.get(USERS_SERVER):
        yield users.rstrip("/") + "/"
    else:
        with ClickHouse() as server:
            yield server.url


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a database that does not exist yet and that no other test uses."""
    made = _settings(dsn, tmp_path)
    yield made
    _drop(made)


@pytest.fixture(scope="module")
def migrated(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with a database whose tables are there and stay as they are."""
    made = _settings(dsn, tmp_path_factory.mktemp("data"))
    keeper = Store.open(made, database="default")  # or the embedded engine would stop between
    migrate(made)
    yield made
    keeper.close()
    _drop(made)


@pytest.fixture
def store(migrated: Settings) -> Iterator[Store]:
    """A store on the tables."""
    opened = Store.open(migrated)
    yield opened
    opened.close()


@pytest.fixture
def reader(migrated: Settings) -> Iterator[Store]:
    """A read-only store on the tables."""
    opened = Store.open(migrated, readonly=True)
    yield opened
    opened.close()


@pytest.fixture
def numbers(store: Store) -> Iterator[Store]:
    """A store with an empty table `numbers_stored`."""
    store.command(TABLE)
    yield store
    store.command("DROP TABLE numbers_stored SYNC")


def _settings(dsn: str, data: Path) -> Settings:
    name = f"t{uuid.uuid4().hex[:12]}"
    return Settings(data=data, clickhouse=ClickHouseSettings(dsn=f"{dsn}{name}"))


def _drop(settings: Settings) -> None:
    store = Store.open(settings, database="default")
    store.command(f"DROP DATABASE IF EXISTS {address(settings).database}")
    store.close()


def test_what_is_inserted_is_read(numbers: Store) -> None:
    numbers.insert("numbers_stored", NUMBERS, token="t")
    found = numbers.query("SELECT * FROM numbers_stored ORDER BY name, at").to_pylist()
    assert [("a", 1.5), ("a", 3.0), ("b", -2.0)] == [(row["name"], row["value"]) for row in found]
    assert [[1, -2], [], []] == [row["parts"] for row in found]
    assert 1_764_000_000_123 == round(found[1]["at"].timestamp() * 1000)


def test_a_token_stores_its_rows_once(numbers: Store) -> None:
    for token in ("t", "t", "another"):
        numbers.insert("numbers_stored", NUMBERS, token=token)
    assert [{"rows": 6}] == _rows(numbers, "SELECT count() AS rows FROM numbers_stored")


def test_an_insert_is_one_part(numbers: Store) -> None:
    many = pa.concat_tables([NUMBERS] * 100_000)
    numbers.insert("numbers_stored", many, token="t")
    parts = (
        "SELECT count() AS parts, sum(rows) AS rows FROM system.parts "
        "WHERE active AND database = currentDatabase() AND table = 'numbers_stored'"
    )
    assert [{"parts": 1, "rows": 300_000}] == _rows(numbers, parts)


def test_an_insert_over_two_days_is_refused_whole(numbers: Store) -> None:
    days = pa.array([20_000, 20_001, 20_001], pa.int32()).cast(pa.date32())
    with pytest.raises(SinkRefused, match="Too many partitions"):
        numbers.insert("numbers_stored", NUMBERS.set_column(4, "_day", days), token="t")
    assert [{"rows": 0}] == _rows(numbers, "SELECT count() AS rows FROM numbers_stored")


def test_parameters_are_values_and_never_sql(store: Store) -> None:
    nasty = "'; DROP TABLE samples; --\\\n\t{x:String}"
    answer = store.query(
        "SELECT {text:String} AS text, {many:Array(String)} AS many, {n:UInt8} AS n",
        {"text": nasty, "many": ["a'b", "c"], "n": 7},
    )
    assert [{"text": nasty, "many": ["a'b", "c"], "n": 7}] == answer.to_pylist()


def test_an_answer_without_rows_has_its_columns(store: Store) -> None:
    answer = store.query("SELECT cluster, value FROM samples")
    assert (["cluster", "value"], 0) == (answer.schema.names, answer.num_rows)


def test_bytes_that_are_no_text_can_be_read(store: Store) -> None:
    assert [{"raw": b"\xff\x00", "text": "ü"}] == _rows(
        store, "SELECT unhex('FF00') AS raw, 'ü' AS text"
    )


def test_a_failed_query_leaves_nothing_in_the_next_answer(reader: Store) -> None:
    """ChDB 4.4 would put what it had written before the failure in front of the next answer."""
    with pytest.raises(SinkRefused, match="max rows"):
        reader.query("SELECT number FROM numbers(1000000)")
    assert [{"one": 1}] == reader.query("SELECT 1 AS one").to_pylist()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO samples (cluster) VALUES ('x')",
        "DROP TABLE samples",
        "SELECT 1 SETTINGS max_execution_time = 1000",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV')",
    ],
)
def test_a_readonly_store_only_reads(reader: Store, sql: str) -> None:
    with pytest.raises(SinkRefused):
        reader.query(sql)


def test_a_refusal_says_what_clickhouse_said(store: Store) -> None:
    with pytest.raises(SinkRefused, match="Unknown table expression identifier 'nothing'"):
        store.query("SELECT * FROM nothing")


def test_a_server_that_is_away_is_asked_again(tmp_path: Path) -> None:
    away = ClickHouseSettings(dsn="http://127.0.0.1:9/planewatch")
    with pytest.raises(SinkRetry):
        Store.open(Settings(data=tmp_path, clickhouse=away))


def test_migrations_apply_once_and_retention_follows_the_configuration(settings: Settings) -> None:
    planned = migrate(settings, dry_run=True)
    applied = migrate(settings)
    assert [f"{one.number:04d} {one.name}" for one in shipped()] == applied
    assert planned[-len(applied) :] == applied
    assert [] == migrate(settings) == migrate(settings, dry_run=True)
    shorter = settings.model_copy(update={"retention": RetentionSettings(samples_days=3)})
    assert 2 == len(migrate(shorter))  # samples and histograms
    assert [] == migrate(shorter)
    store = Store.open(settings)
    made = _rows(
        store,
        "SELECT create_table_query AS made FROM system.tables "
        "WHERE database = currentDatabase() AND name = 'samples'",
    )
    store.close()
    assert "toIntervalDay(3)" in str(made[0]["made"])


def test_a_migration_that_died_is_run_again(settings: Settings) -> None:
    migrate(settings)
    store = Store.open(settings)
    store.command("DROP TABLE schema_migrations SYNC")  # as if it had died before the first row
    store.close()
    assert len(shipped()) == len(migrate(settings))


@pytest.mark.parametrize(
    ("number", "says"), [(9999, "9999.*newer release"), (1, "0001.*differs")], ids=str
)
def test_tables_of_another_release_are_refused(settings: Settings, number: int, says: str) -> None:
    migrate(settings)
    store = Store.open(settings)
    row = {"number": pa.array([number], pa.uint32()), "name": ["other"], "checksum": ["x"]}
    store.insert("schema_migrations", pa.table(row), token="other")
    store.close()
    with pytest.raises(SinkRefused, match=says):
        migrate(settings)


def test_what_says_that_a_row_is_stored_outlives_the_row() -> None:
    days = retention_days(RetentionSettings(samples_days=1_000))
    assert 1_000 == days["records_days"] == max(days.values())


@pytest.mark.parametrize("table", [*Table, RECORDS])
def test_rows_have_the_columns_of_their_table(store: Store, table: str) -> None:
    described = {
        str(row["name"]): str(row["type"]) for row in _rows(store, f"DESCRIBE TABLE {table}")
    }
    wanted = list(RECORDS_SCHEMA) if table == RECORDS else [*SCHEMAS[Table(table)], *COORDINATES]
    assert [field.name for field in wanted] == [*described]
    wrong = {
        f"{field.name}: {field.type} for {described[field.name]}"
        for field in wanted
        if described[field.name] not in TYPES[str(field.type)]
    }
    assert set() == wrong


TEXT = {"String", "LowCardinality(String)"}
TYPES = {
    "dictionary<values=string, indices=int32, ordered=0>": TEXT,
    "string": TEXT,
    "binary": {"String"},
    "timestamp[ms, tz=UTC]": {"DateTime64(3, 'UTC')", "Nullable(DateTime64(3, 'UTC'))"},
    "double": {"Float64", "Nullable(Float64)"},
    "float": {"Float32"},
    "date32[day]": {"Date"},
    "list<item: int64>": {"Array(Int64)"},
    **{f"uint{bits}": {f"UInt{bits}"} for bits in (8, 16, 32, 64)},
    **{f"int{bits}": {f"Int{bits}"} for bits in (32, 64)},
}


def _rows(store: Store, sql: str) -> list[dict[str, object]]:
    return store.query(sql).to_pylist()  # type: ignore[no-any-return] # pyarrow has no types
