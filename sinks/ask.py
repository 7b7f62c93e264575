"""Ask the tables, wherever they are. In: settings, a reading statement, parameters. Out: batches of
rows.

The rule this file owns: it only reads, within the limits of `front`: through the front of the sinks
process where one runs, else in the folder itself, else from the configured server.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import pyarrow as pa

from schemas import run
from schemas.errors import SinkRefused
from schemas.settings import Settings
from sinks.core.columns import typed
from sinks.core.failures import QueryError
from sinks.core.queries import Value
from sinks.engine import address
from sinks.reader import Reader, escaped
from sinks.readers import limits_of
from sinks.store import Store, read_arrow

Parameters = Mapping[str, Value]


def ask(settings: Settings, sql: str, parameters: Parameters) -> pa.Table:
    """Return the answer to a reading statement.

    Raises:
        SinkRefused: it may not run, or failed. SinkRetry: ClickHouse does not answer.
    """
    with _connected(settings) as source, source.stream(sql, parameters) as body:
        return read_arrow(body.read())


@contextmanager
def answering(
    settings: Settings, sql: str, parameters: Parameters
) -> Iterator[pa.RecordBatchReader]:
    """Yield the answer to a reading statement batch by batch, in the types of ClickHouse.

    Raises:
        SinkRefused: it may not run, or failed. SinkRetry: ClickHouse does not answer.
    """
    with _connected(settings) as source, source.stream(sql, parameters) as body:
        try:
            reader = pa.ipc.open_stream(body)
        except pa.ArrowInvalid:
            yield pa.table({}).to_reader()  # a statement without a result
            return
        yield typed(reader, _types(source, sql, parameters))


class _Folder:
    """The embedded engine in a folder that no sinks process has open."""

    def __init__(self, settings: Settings) -> None:
        where = address(settings)
        if where.folder is None or not where.folder.is_dir():
            raise SinkRefused(
                f"there are no tables in {where.folder}: start sinks, or choose --data"
            )
        self._keeper = Store.open(settings, database="default")  # says clearly who is there
        self._reader = Reader(where.folder, where.database, limits_of(settings.front))

    def stream(self, sql: str, parameters: Parameters) -> IO[bytes]:
        texts = {name: _text(value) for name, value in parameters.items()}
        try:
            return self._reader.answer(sql, form="ArrowStream", parameters=texts).body
        except QueryError as error:
            raise SinkRefused(str(error)) from error

    def close(self) -> None:
        self._reader.close()
        self._keeper.close()


@contextmanager
def _connected(settings: Settings) -> Iterator[Store | _Folder]:
    source = _open(settings)
    try:
        yield source
    finally:
        source.close()


def _open(settings: Settings) -> Store | _Folder:
    if address(settings).folder is None:
        return Store.open(settings, readonly=True, limits=limits_of(settings.front))
    if front := run.find(settings, run.FRONT):
        return Store.at_front(front["url"], token=front["token"], database=front["database"])
    return _Folder(settings)


def _types(source: Store | _Folder, sql: str, parameters: Parameters) -> dict[str, str]:
    """Return the types of the columns of an answer, where they can be had (not of SHOW)."""
    try:
        with source.stream(f"DESCRIBE TABLE (\n{sql.rstrip().rstrip(';')}\n)", parameters) as body:
            rows = read_arrow(body.read()).to_pylist()
    except SinkRefused:
        return {}
    return {row["name"]: row["type"] for row in rows}


def _text(value: Value) -> str:
    """Return a parameter as ClickHouse reads it."""
    if isinstance(value, list):
        quoted = (one.replace("\\", "\\\\").replace("'", "\\'") for one in value)
        return "[" + ",".join(f"'{one}'" for one in quoted) + "]"
    return escaped(str(value))
