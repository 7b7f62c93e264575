"""Say in ClickHouse's words why a statement has no answer. In: a code and a reason. Out: the error
that its clients know.

The rule this file owns: clients decide by the code, so ours are ClickHouse's own.
"""

from collections.abc import Mapping
from typing import Final

SYNTAX_ERROR: Final = 62
UNKNOWN_TABLE: Final = 60
UNKNOWN_DATABASE: Final = 81
NOT_IMPLEMENTED: Final = 48
READONLY: Final = 164
TOO_BUSY: Final = 202
AUTHENTICATION_FAILED: Final = 516

_NAMES: Final[Mapping[int, str]] = {
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    READONLY: "READONLY",
    TOO_BUSY: "TOO_MANY_SIMULTANEOUS_QUERIES",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
}

_STATUS_OF: Final[Mapping[int, int]] = {
    SYNTAX_ERROR: 400,
    UNKNOWN_TABLE: 404,
    UNKNOWN_DATABASE: 404,
    NOT_IMPLEMENTED: 501,
    TOO_BUSY: 503,
    AUTHENTICATION_FAILED: 403,
}


class QueryError(Exception):
    """A statement that failed, or that may not run; `code` is ClickHouse's."""

    def __init__(self, message: str, *, code: int) -> None:
        self.code = code
        super().__init__(message)

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse gives it; 500 for most."""
        return _STATUS_OF.get(self.code, 500)


def refused(code: int, why: str) -> QueryError:
    """Return an error of ours in the form of the engine's."""
    return QueryError(f"Code: {code}. DB::Exception: {why}. ({_NAMES[code]})", code=code)
