"""Answer free SQL from the embedded engine. In: a statement, a format, parameters. Out: an answer
that can be read like a file, or the engine's error.

The rule this file owns: nothing runs here that the three guards of `core/guard.py` have not let
through; time, memory and rows are limited; an answer waits on disk where it is large, and passes
through memory in pieces where its format allows that. chDB 4.4 makes each piece a document of its
own, with head and foot; so only forms without either are put together from them, and Arrow, whose
batches are. A handle that failed is thrown away, because chDB begins the next answer of a handle
with what a failed query had written.
"""

import importlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

import pyarrow as pa

from sinks.core.asked import session
from sinks.core.failures import READONLY, QueryError, refused
from sinks.core.guard import refusal
from sinks.engine import connection_string
from sinks.store import READ_LIMITS

MEMORY_BYTES_MAX: Final = 4_000_000
"""Of an answer; more waits in a file until its reader has taken it."""

_CODE: Final = re.compile(r"Code: (\d+)")
_OUR_SCOPE: Final = re.compile(r": In scope SELECT formatQuery\(.*\)(?=\. \()", re.DOTALL)
ARROW: Final = "ArrowStream"
WITHOUT_HEAD: Final = frozenset(
    {
        *("CSV", "JSONCompactEachRow", "JSONEachRow", "JSONLines", "JSONStringsEachRow", "NDJSON"),
        *("Native", "RowBinary", "TSKV", "TSV", "TSVRaw", "TabSeparated", "TabSeparatedRaw"),
    }
)

_STREAMED: Final = re.compile(r"[(\s]*(SELECT|WITH)\b", re.IGNORECASE)
_FORMAT: Final = re.compile(r"\bFORMAT (\w+)\s*$")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement answered; `body` stands at its beginning. Close it."""

    body: IO[bytes]
    form: str
    size_bytes: int
    rows_read: int = 0
    bytes_read: int = 0

    @classmethod
    def of(cls, body: bytes, form: str, *, rows_read: int = 0, bytes_read: int = 0) -> Self:
        """Return an answer that is in memory."""
        held = _spool()
        held.write(body)
        held.seek(0)
        return cls(held, form, len(body), rows_read, bytes_read)


class Reader:
    """A read-only handle of the embedded engine; one statement at a time."""

    def __init__(
        self, folder: Path, database: str, limits: Mapping[str, int | str] = READ_LIMITS
    ) -> None:
        self._folder, self._limits = folder, limits
        self._home = self._session = (database, session({}, limits))
        self._handle = self._open()
        names = self._plain("SELECT name FROM system.table_functions", {})
        self._table_functions = frozenset(names.split())

    def answer(
        self,
        sql: str,
        *,
        form: str,
        parameters: Mapping[str, str],
        settings: Mapping[str, str] | None = None,
        database: str = "",
    ) -> Answer:
        """Return what `sql` answers in the format `form`, unless it has a FORMAT of its own.

        `settings`: what a client asks for. `database`: where it looks for tables; ours by default.

        Raises:
            QueryError: a guard refuses it, or the engine does.
        """
        self._become((database or self._home[0], session(settings or {}, self._limits)))
        canonical = self._guard(sql)
        named = _FORMAT.search(canonical)
        form = named[1] if named else form
        if _STREAMED.match(canonical) and (form == ARROW or form in WITHOUT_HEAD):
            answer = self._streamed(sql, form, parameters)
            if answer.size_bytes or form != ARROW:
                return answer
            answer.body.close()  # without rows there was no piece, and so no schema
        found = self._run(sql, form, parameters)
        return Answer.of(
            found.bytes() or b"", form, rows_read=found.rows_read(), bytes_read=found.bytes_read()
        )

    def close(self) -> None:
        """Give the handle back."""
        self._handle.close()

    def _guard(self, sql: str) -> str:
        """Return the canonical form of a statement that may run."""
        parsed = self._handle._conn.classify_query(sql)  # chDB's wrapper does not offer it
        statements = int(parsed["statement_count"])
        # The formatter also says what is wrong with a text that does not parse.
        canonical = self._canonical(sql) if statements < 2 else ""
        why = refusal(
            canonical,
            query_class=parsed["query_class"].name,
            statements=statements,
            table_functions=self._table_functions,
        )
        if why is not None:
            raise refused(READONLY, why)
        return canonical

    def _canonical(self, sql: str) -> str:
        try:
            return self._plain("SELECT formatQuery({q:String})", {"q": escaped(sql)})
        except QueryError as error:
            raise QueryError(_OUR_SCOPE.sub("", str(error)), code=error.code) from error

    def _plain(self, sql: str, parameters: Mapping[str, str]) -> str:
        return str(self._run(sql, "TabSeparatedRaw", parameters).bytes().decode())

    def _run(self, sql: str, form: str, parameters: Mapping[str, str]) -> Any:
        try:
            return self._handle.query(sql, form, params=dict(parameters))
        except RuntimeError as error:
            self._renew()
            raise _query_error(error) from error

    def _streamed(self, sql: str, form: str, parameters: Mapping[str, str]) -> Answer:
        held, rows, read = _spool(), 0, 0
        joined = _Batches(held) if form == ARROW else held
        try:
            for piece in self._pieces(sql, form, parameters):
                joined.write(piece.bytes())
                rows, read = rows + piece.rows_read(), read + piece.bytes_read()
            if isinstance(joined, _Batches):
                joined.finish()
        except BaseException as error:
            held.close()
            self._renew()
            if isinstance(error, RuntimeError):
                raise _query_error(error) from error
            raise
        size = held.tell()
        held.seek(0)
        return Answer(held, form, size, rows, read)

    def _pieces(self, sql: str, form: str, parameters: Mapping[str, str]) -> Iterator[Any]:
        with self._handle.send_query(sql, form, params=dict(parameters)) as stream:
            yield from stream

    def _become(self, wanted: tuple[str, dict[str, str]]) -> None:
        """Have a handle with this database and these settings: a sealed one cannot change."""
        if wanted == self._session:
            return
        before, self._session = self._session, wanted
        try:
            self._renew()
        except QueryError:
            self._session = before
            raise

    def _renew(self) -> None:
        old, self._handle = self._handle, self._open()  # the engine needs one open handle
        old.close()

    def _open(self) -> Any:
        chdb: Any = importlib.import_module("chdb")  # an optional extra, without types
        database, settings = self._session
        handle = chdb.connect(connection_string(self._folder))
        try:
            handle.query(f"USE {_quoted(database, '`')}")
            for name, value in {**settings, "readonly": "1"}.items():  # readonly seals the rest
                handle.query(f"SET {name} = {_quoted(value)}")
        except RuntimeError as error:
            handle.close()
            raise _query_error(error) from error
        return handle


class _Batches:
    """One Arrow stream out of several with the same schema."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._stream: pa.RecordBatchStreamWriter | None = None

    def write(self, piece: bytes) -> None:
        with pa.ipc.open_stream(piece) as reader:
            self._stream = self._stream or pa.ipc.new_stream(self._out, reader.schema)
            for batch in reader:
                self._stream.write_batch(batch)

    def finish(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _spool() -> "tempfile.SpooledTemporaryFile[bytes]":
    return tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES_MAX)


def _quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def escaped(text: str) -> str:
    """Return `text` as the value of a String parameter: ClickHouse reads those as TSV fields."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _query_error(error: Exception) -> QueryError:
    text = str(error)
    found = _CODE.search(text)
    return QueryError(text[found.start() :] if found else text, code=int(found[1]) if found else 0)
