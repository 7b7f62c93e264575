"""What a client of ClickHouse asks for is understood, and what it may not set is refused."""

import pytest

from sinks.core.asked import FORM_DEFAULT, Statement, session, statement_of
from sinks.core.failures import QueryError
from sinks.core.hello import ANSWERED, ASKED, greeted, greeting

LIMITS: dict[str, int | str] = {
    "max_execution_time": 20,
    "max_threads": 2,
    "result_overflow_mode": "throw",
}


def test_a_request_is_a_statement() -> None:
    query = "query=SELECT+1&param_a=it%27s&database=d&default_format=CSV&max_threads=1&x="
    assert Statement(
        text=b"SELECT 1\n -- and more",
        form="CSV",
        parameters={"a": "it's"},
        settings={"database": "d", "default_format": "CSV", "max_threads": "1", "x": ""},
        database="d",
    ) == statement_of(query, {"x-clickhouse-database": "other"}, b" -- and more")


def test_what_is_not_said_has_the_defaults_of_a_server() -> None:
    assert Statement(b"SELECT 1", FORM_DEFAULT, {}, {}) == statement_of("", {}, b"SELECT 1")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"max_execution_time": "5"}, {"max_execution_time": "5"}),
        ({"max_execution_time": "0.5"}, {"max_execution_time": "0.5"}),
        ({"max_execution_time": "21"}, {}),
        ({"max_execution_time": "0"}, {}),
        ({"max_execution_time": "-1"}, {}),
        ({"max_execution_time": "nan"}, {}),
        ({"max_execution_time": "inf"}, {}),
        ({"wait_end_of_query": "1", "session_id": "x", "query_id": "y", "log_comment": "z"}, {}),
        ({"readonly": "1"}, {}),
        ({"output_format_json_quote_denormals": "1"}, {"output_format_json_quote_denormals": "1"}),
        ({"join_use_nulls": "'; SET x"}, {"join_use_nulls": "'; SET x"}),  # quoted where it is set
    ],
)
def test_a_client_may_lower_limits_and_shape_answers(
    given: dict[str, str], expected: dict[str, str]
) -> None:
    limits = {name: str(value) for name, value in LIMITS.items()}
    assert limits | expected == session(given, LIMITS)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"readonly": "0"}, 164),
        ({"max_execution_time": "long"}, 62),
        ({"allow_ddl": "1"}, 164),
        ({"output_format_schema": "/etc/x"}, 164),
        ({"output_format_x = 1, readonly": "0"}, 62),
        ({"additional_table_filters": "{}"}, 164),
        ({"MAX_EXECUTION_TIME": "1000"}, 164),
    ],
    ids=str,
)
def test_a_client_may_set_nothing_else(given: dict[str, str], code: int) -> None:
    with pytest.raises(QueryError) as refused:
        session(given, LIMITS)
    assert code == refused.value.code


def test_the_greeting_of_clickhouse_go_is_answered_in_its_form() -> None:
    said = Statement(ASKED, "Native", {}, {"client_protocol_version": "54460"})
    asked = greeting(said)
    assert asked is not None
    assert (ANSWERED, "RowBinaryWithNamesAndTypes") == (asked.text, asked.form)
    row = b"\x02\x01a\x01b\x06String\x06UInt32" + b"\x02hi" + (7).to_bytes(4, "little")
    assert (
        b"\x01\x00\x02\xff\xff\xff\xff\x00"  # head of a block
        b"\x02\x01"  # columns, rows
        b"\x01a\x06String\x00\x02hi"
        b"\x01b\x06UInt32\x00\x07\x00\x00\x00"
    ) == greeted(row)


@pytest.mark.parametrize(
    "statement",
    [
        Statement(ASKED, "Native", {}, {}),
        Statement(ASKED, "CSV", {}, {"client_protocol_version": "54460"}),
        Statement(b"SELECT 1", "Native", {}, {"client_protocol_version": "54460"}),
    ],
    ids=["no revision", "form", "text"],
)
def test_nothing_else_is_a_greeting(statement: Statement) -> None:
    assert greeting(statement) is None
