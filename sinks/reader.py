"""Answer free SQL from the embedded engine. In: a statement, a format, parameters. Out: bytes, or
the engine's error.

The rule this file owns: nothing runs here that the three guards of `core/guard.py` have not let
through; time, memory and rows are limited; a handle that failed is thrown away, because chDB 4.4
begins the next answer of a handle with what a failed query had written.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sinks.core.guard import refusal
from sinks.engine import connection_string
from sinks.store import READ_LIMITS

READONLY: Final = 164
TOO_BUSY: Final = 202
_CODE: Final = re.compile(r"Code: (\d+)")
_OUR_SCOPE: Final = re.compile(r": In scope SELECT formatQuery\(.*\)(?=\. \()", re.DOTALL)


class QueryError(Exception):
    """A statement that failed, or that may not run; `code` is ClickHouse's."""

    def __init__(self, message: str, *, code: int) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement answered."""

    body: bytes
    rows_read: int
    bytes_read: int


class Reader:
    """A read-only handle of the embedded engine; one statement at a time."""

    def __init__(self, folder: Path, database: str) -> None:
        self._folder, self._database = folder, database
        self._handle = self._open()
        names = self._plain("SELECT name FROM system.table_functions", {})
        self._table_functions = frozenset(names.split())

    def answer(self, sql: str, *, form: str, parameters: Mapping[str, str]) -> Answer:
        """Return what `sql` answers in the format `form`, unless it has a FORMAT of its own.

        Raises:
            QueryError: a guard refuses it, or the engine does.
        """
        self._guard(sql)
        found = self._run(sql, form, parameters)
        return Answer(found.bytes() or b"", found.rows_read(), found.bytes_read())

    def close(self) -> None:
        """Give the handle back."""
        self._handle.close()

    def _guard(self, sql: str) -> None:
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
            raise QueryError(f"Code: {READONLY}. DB::Exception: {why}. (READONLY)", code=READONLY)

    def _canonical(self, sql: str) -> str:
        try:
            return self._plain("SELECT formatQuery({q:String})", {"q": _escaped(sql)})
        except QueryError as error:
            raise QueryError(_OUR_SCOPE.sub("", str(error)), code=error.code) from error

    def _plain(self, sql: str, parameters: Mapping[str, str]) -> str:
        return str(self._run(sql, "TabSeparatedRaw", parameters).bytes().decode())

    def _run(self, sql: str, form: str, parameters: Mapping[str, str]) -> Any:
        try:
            return self._handle.query(sql, form, params=dict(parameters))
        except RuntimeError as error:
            failed, self._handle = self._handle, self._open()
            failed.close()
            raise _query_error(error) from error

    def _open(self) -> Any:
        chdb: Any = importlib.import_module("chdb")  # an optional extra, without types
        try:
            handle = chdb.connect(connection_string(self._folder))
            handle.query(f"USE `{self._database}`")
            for name, value in {**READ_LIMITS, "readonly": 1}.items():  # readonly seals the rest
                handle.query(f"SET {name} = '{value}'")
        except RuntimeError as error:
            raise _query_error(error) from error
        return handle


def _escaped(text: str) -> str:
    """Return `text` as the value of a String parameter: ClickHouse reads those as TSV fields."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _query_error(error: Exception) -> QueryError:
    text = str(error)
    found = _CODE.search(text)
    return QueryError(text[found.start() :] if found else text, code=int(found[1]) if found else 0)
