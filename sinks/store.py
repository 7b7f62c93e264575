"""Speak with ClickHouse. In: settings, rows, SQL. Out: stored rows, answers, or who must act.

The rule this file owns: `chdb://` and `http(s)://` take the same code path, every insert makes
exactly one part of one table, and every failure is either SinkRetry (send the same bytes with the
same token again) or SinkRefused (the operator must act). A Store belongs to one thread.
"""

import re
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any, Final, Self, cast

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, ProgrammingError

from schemas.config import secret
from schemas.errors import SinkRefused, SinkRetry
from schemas.settings import Settings
from sinks.engine import OPTIONS, Address, address

ONE_PART: Final = {
    "async_insert": 0,  # on by default since 26.2
    "max_insert_threads": 1,
    "max_insert_block_size": 50_000_000,
    "min_insert_block_size_rows": 50_000_000,
    "min_insert_block_size_bytes": 0,
    "input_format_parallel_parsing": 0,
    "max_partitions_per_insert_block": 1,  # the engine refuses to span partitions
}
"""An insert is all or nothing if and only if it makes one part (132 kills, reference sink 4.1)."""

READ_LIMITS: Final[dict[str, int | str]] = {
    "max_execution_time": 20,
    "max_memory_usage": 1_000_000_000,
    "max_result_rows": 200_000,
    "max_result_bytes": 256_000_000,
    "result_overflow_mode": "throw",
    "max_threads": 2,
}
"""Limits of a read-only store; a query that passes one fails and says which."""

ARROW_OUT: Final = {
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_low_cardinality_as_dictionary": 0,
    "output_format_arrow_compression_method": "none",
}

INSERT_ID: Final = "planewatch-insert-"
SETTLE_S_MAX: Final = 60.0
RETRY_AFTER_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 10
ANSWER_TIMEOUT_S: Final = 60

_AGAIN: Final = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE: a body cut on its way
        159,  # TIMEOUT_EXCEEDED
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        236,  # ABORTED
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        285,  # TOO_FEW_LIVE_REPLICAS
        319,  # UNKNOWN_STATUS_OF_INSERT
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        473,  # DEADLOCK_AVOIDED
        999,  # KEEPER_EXCEPTION
    }
)
"""Codes that pass without anybody acting. 252 (TOO_MANY_PARTS) is decided by its text."""

_TOO_MANY_PARTS: Final = 252
_SAID: Final = re.compile(
    r"DB::Exception: (.*?)(?: \(version [^)]*\))?(?: \(for url .*)?$", re.DOTALL
)


class Store:
    """A connection to ClickHouse for one thread."""

    def __init__(self, connect: Callable[[], Client], database: str, *, embedded: bool) -> None:
        self._connect, self._embedded = connect, embedded
        self._client = connect()
        self.database = database

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        readonly: bool = False,
        limits: Mapping[str, int | str] = READ_LIMITS,
        database: str | None = None,
    ) -> Self:
        """Connect to the ClickHouse of `settings`; the embedded engine starts with its first store.

        `readonly` stores have `limits` and cannot write. `database` is the configured one by
        default.

        Raises:
            SinkRetry: ClickHouse does not answer. SinkRefused: it does not let us in.
        """
        where = address(settings)
        chosen = database or where.database
        sealed = {**limits, "readonly": 1} if readonly else {}  # readonly last: it seals
        session = {**ARROW_OUT, **sealed}
        connect = partial(_client, settings, where, chosen, session)
        try:
            return cls(connect, chosen, embedded=where.folder is not None)
        except (ClickHouseError, ImportError) as error:
            raise _opening_error(error, where) from error

    @classmethod
    def at_front(cls, url: str, *, token: str, database: str) -> Self:
        """Connect to the front of the sinks process that runs on this data folder.

        Raises:
            SinkRetry, SinkRefused: it does not answer, or does not let us in.
        """
        connect = partial(
            clickhouse_connect.get_client,
            dsn=url,
            username="planewatch",
            password=token,
            database=database,
            autogenerate_session_id=False,
            send_receive_timeout=ANSWER_TIMEOUT_S,
        )
        try:
            return cls(connect, database, embedded=False)
        except ClickHouseError as error:
            raise _typed(error, f"connect to {url}") from error

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        """Store all rows or none, as one part. The same token twice stores them once."""
        body = pa.BufferOutputStream()
        with pa.ipc.new_stream(body, rows.schema) as stream:
            stream.write_table(rows.combine_chunks())
        settings = {
            **ONE_PART,
            "insert_deduplication_token": token,
            "query_id": f"{INSERT_ID}{uuid.uuid4()}",  # dropped by the embedded engine
        }
        try:
            self._client.raw_insert(
                table,
                rows.schema.names,
                bytes(body.getvalue()),
                settings=settings,
                fmt="ArrowStream",
            )
        except ClickHouseError as error:
            raise self._failed(error, f"insert into {table}") from error

    def command(self, sql: str) -> None:
        """Run one statement that answers nothing."""
        try:
            self._client.command(sql)
        except ClickHouseError as error:
            raise self._failed(error, _first_line(sql)) from error

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """Return the answer of one statement; `{name:Type}` in it is bound to `parameters`."""
        try:
            answer = self._client.raw_query(sql, dict(parameters or {}), fmt="ArrowStream")
        except ClickHouseError as error:
            raise self._failed(error, _first_line(sql)) from error
        return read_arrow(answer)

    def stream(self, sql: str, parameters: Mapping[str, object] | None = None) -> IO[bytes]:
        """Return the answer of one statement in ArrowStream, as it comes. Close it."""
        try:
            answer = self._client.raw_stream(sql, dict(parameters or {}), fmt="ArrowStream")
        except ClickHouseError as error:
            raise self._failed(error, _first_line(sql)) from error
        return cast(IO[bytes], answer)

    def settle(self) -> None:
        """Return when no insert of a writer that died or gave up can still succeed.

        Raises:
            SinkRetry: one is still running.
        """
        deadline_s = time.monotonic() + SETTLE_S_MAX
        earlier = self._running()
        while earlier & self._running():
            if time.monotonic() > deadline_s:
                raise SinkRetry("an earlier insert is still running", retry_after_s=RETRY_AFTER_S)
            time.sleep(0.1)

    def close(self) -> None:
        """Give the connection back; the embedded engine stops with its last store."""
        self._client.close()

    def _running(self) -> set[str]:
        found = self.query(
            "SELECT query_id FROM system.processes WHERE startsWith(query_id, {id:String})",
            {"id": INSERT_ID},
        )
        return {row["query_id"] for row in found.to_pylist()}

    def _failed(self, error: ClickHouseError, doing: str) -> SinkRetry | SinkRefused:
        if self._embedded:
            # chDB 4.4 begins the next answer of a handle with what a failed query had written.
            old, self._client = self._client, self._connect()  # the engine needs one open handle
            old.close()
        return _typed(error, doing)


def read_arrow(answer: bytes) -> pa.Table:
    """Return an answer in ArrowStream; a column of strings that are no text stays bytes."""
    if not answer:  # a statement without a result
        return pa.table({})
    try:
        with pa.ipc.open_stream(answer) as stream:
            table = stream.read_all()
    except (pa.ArrowException, OSError) as error:
        raise SinkRefused("the answer is not in ArrowStream: leave FORMAT out") from error
    for i, column in enumerate(table.columns):
        if pa.types.is_string(column.type):
            as_bytes = column.cast(pa.binary())
            try:
                as_bytes.cast(pa.utf8())
            except pa.ArrowInvalid:
                table = table.set_column(i, table.schema.names[i], as_bytes)
    return table


def _client(settings: Settings, where: Address, database: str, session: dict[str, Any]) -> Client:
    if where.folder is not None:
        where.folder.mkdir(parents=True, exist_ok=True)
        return clickhouse_connect.get_client(
            interface="chdb",
            path=str(where.folder),
            database=database,
            settings=session,
            chdb_options=OPTIONS,
        )
    clickhouse = settings.clickhouse
    password = (
        secret(clickhouse.password_file, "clickhouse.password_file")
        if clickhouse.password_file
        else ""
    )
    client = clickhouse_connect.get_client(
        dsn=where.dsn,
        interface=where.dsn.split(":", 1)[0],
        username=clickhouse.username,
        password=password,
        database=database,
        ca_cert=str(clickhouse.ca_file) if clickhouse.ca_file else None,
        autogenerate_session_id=False,  # one would refuse concurrent queries
        connect_timeout=CONNECT_TIMEOUT_S,
        send_receive_timeout=ANSWER_TIMEOUT_S,
    )
    for name, value in session.items():
        known = client.server_settings.get(name)
        if known is None or not known.readonly:  # a read-only user has limits of the server
            client.set_client_setting(name, value)
    return client


def _opening_error(error: Exception, where: Address) -> SinkRetry | SinkRefused:
    if isinstance(error, ImportError):
        return SinkRefused("the embedded engine is not installed: pip install planewatch[embedded]")
    if isinstance(error, ProgrammingError) and where.folder is not None and not error.code:
        # The engine says "Error initializing EmbeddedServer: ." and the cause on stderr only.
        return SinkRefused(
            f"cannot open the data in {where.folder}: another process has it open (stop it, or "
            f"choose another data folder), or this user may not write there"
        )
    assert isinstance(error, ClickHouseError)
    return _typed(error, f"connect to {_without_password(where.dsn)}")


def _typed(error: ClickHouseError, doing: str) -> SinkRetry | SinkRefused:
    """Return the error of ours that says who must act."""
    code = getattr(error, "code", None)
    said = _SAID.search(str(error))
    text = f"{doing}: {said[1] if said else error}"
    if code is None or code in _AGAIN:
        return SinkRetry(text, retry_after_s=RETRY_AFTER_S)
    if code == _TOO_MANY_PARTS and "max_partitions_per_insert_block" not in str(error):
        return SinkRetry(text, retry_after_s=RETRY_AFTER_S)  # merges will catch up
    return SinkRefused(text)


def _first_line(sql: str) -> str:
    lines = [line for line in sql.strip().splitlines() if not line.startswith("--")]
    return lines[0][:100] if lines else "an empty statement"


def _without_password(dsn: str) -> str:
    return re.sub(r"//[^@/]*@", "//", dsn)
