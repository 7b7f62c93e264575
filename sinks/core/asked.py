"""Understand a request of a ClickHouse client. In: its query parameters, headers and body. Out: a
statement with its format, database, parameters and settings.

The rule this file owns: what a client may set. Settings of its transport are read and forgotten,
limits can be lowered and never lifted, those that shape an answer are passed on, and all others are
refused by name, as a read-only user of a server is: none is dropped without a word.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from sinks.core.failures import NOT_IMPLEMENTED, READONLY, SYNTAX_ERROR, refused

FORM_DEFAULT: Final = "TabSeparated"

LIMITED: Final = frozenset(
    {
        "max_execution_time",
        "max_memory_usage",
        "max_result_bytes",
        "max_result_rows",
        "max_threads",
    }
)
"""0 is no limit in ClickHouse; here it is ours."""

PASSED: Final = frozenset(
    {
        "date_time_output_format",
        "extremes",
        "final",
        "format_csv_delimiter",
        "join_use_nulls",
        "limit",
        "max_block_size",
        "max_bytes_to_read",
        "max_rows_to_read",
        "offset",
        "prefer_column_name_to_alias",
        "result_overflow_mode",
        "session_timezone",
        "transform_null_in",
    }
)
PASSED_PREFIX: Final = "output_format_"
NEVER_PASSED: Final = "output_format_schema"  # the engine would write a file of that name

OF_THE_TRANSPORT: Final = frozenset(
    {
        *("add_http_cors_header", "buffer_size", "cancel_http_readonly_queries_on_client_close"),
        *("client_protocol_version", "close_session", "compress", "connect_timeout", "database"),
        *("decompress", "default_format", "enable_http_compression", "format", "framing"),
        *("http_headers_progress_interval_ms", "http_max_tries", "http_receive_timeout"),
        *("http_response_buffer_size", "http_send_timeout", "http_zlib_compression_level"),
        *("http_write_exception_in_output_format", "log_comment", "log_queries", "password"),
        *("network_compression_method", "query", "query_id", "quota_key", "receive_timeout"),
        *("send_progress_in_http_headers", "send_timeout", "session_check", "session_id"),
        *("session_timeout", "stacktrace", "timeout_overflow_mode", "user", "wait_end_of_query"),
    }
)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
_READONLY_ANYWAY: Final = frozenset({"1", "2"})


@dataclass(frozen=True, slots=True)
class Statement:
    """One request. `database` is "" where the client names none."""

    text: bytes
    form: str
    parameters: Mapping[str, str]
    settings: Mapping[str, str]  # all other query parameters, as they came
    database: str = ""


def statement_of(query: str, headers: Mapping[str, str], body: bytes) -> Statement:
    """Return what a request asks for.

    `query`: the query string of its URL. `headers`: with lower-case names.

    Raises:
        QueryError: it is in a form that is not spoken here.
    """
    given = dict(parse_qsl(query, keep_blank_values=True))
    if headers.get("content-type", "").startswith("multipart/form-data"):
        raise refused(NOT_IMPLEMENTED, "forms and external tables are not read here")
    if headers.get("content-encoding", "identity") != "identity" or given.get("decompress") == "1":
        raise refused(NOT_IMPLEMENTED, "compressed statements are not read here: send plain text")
    if given.get("compress") == "1":
        raise refused(
            NOT_IMPLEMENTED,
            "compress=1 (ClickHouse's own framing) is not written here: switch compression off in "
            "the client, or use that of HTTP (enable_http_compression=1)",
        )
    text = given.pop("query", "").encode()
    parameters = {
        name.removeprefix("param_"): value
        for name, value in given.items()
        if name.startswith("param_")
    }
    settings = {name: value for name, value in given.items() if not name.startswith("param_")}
    return Statement(
        text=b"\n".join(part for part in (text, body) if part),
        form=given.get("default_format") or headers.get("x-clickhouse-format") or FORM_DEFAULT,
        parameters=parameters,
        settings=settings,
        database=given.get("database") or headers.get("x-clickhouse-database", ""),
    )


def session(given: Mapping[str, str], limits: Mapping[str, int | str]) -> dict[str, str]:
    """Return the settings that a statement runs with: `limits`, and what `given` may change.

    Raises:
        QueryError: it may not change one of them.
    """
    effective = {name: str(value) for name, value in limits.items()}
    for name, value in given.items():
        if name in LIMITED and name in limits:
            effective[name] = _lower(name, value, effective[name])
        elif name in PASSED or (name.startswith(PASSED_PREFIX) and name != NEVER_PASSED):
            if not _NAME.fullmatch(name):
                raise refused(SYNTAX_ERROR, f"{name[:40]!r} is no name of a setting")
            effective[name] = value
        elif name == "readonly" and value in _READONLY_ANYWAY:
            continue
        elif name not in OF_THE_TRANSPORT:
            raise refused(READONLY, f"Cannot modify '{name[:100]}' setting in readonly mode")
    return effective


def _lower(name: str, value: str, limit: str) -> str:
    """Return the smaller of what is asked for and what is allowed."""
    try:
        asked = float(value)
    except ValueError as error:
        raise refused(SYNTAX_ERROR, f"{name} = {value[:40]!r} is no number") from error
    return value if 0 < asked < float(limit) else limit
