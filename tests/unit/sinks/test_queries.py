"""Named queries say what they answer, and their parameters are what their SQL uses."""

import pytest

from schemas.errors import SinkRefused
from sinks.core.macros import expand
from sinks.core.queries import (
    Parameter,
    Query,
    Value,
    free_query,
    load_queries,
    misfit,
    parse_query,
)

TEXT = """\
-- name: some
-- what: Which rows are there?
-- parameters:
--   cluster String = "": the cluster, or all: any text
--   verbs Array(String): of the requests
--   limit UInt32 = 100: rows at most
SELECT 1
FROM samples
-- a comment in the SQL
WHERE cluster = {cluster:String} AND verb IN {verbs:Array(String)}
LIMIT {limit:UInt32}
"""


def test_a_file_is_a_query() -> None:
    query = parse_query("some.sql", TEXT)
    assert ("some", "Which rows are there?") == (query.name, query.what)
    assert (
        Parameter("cluster", "String", "the cluster, or all: any text", ""),
        Parameter("verbs", "Array(String)", "of the requests"),
        Parameter("limit", "UInt32", "rows at most", 100),
    ) == query.parameters
    assert query.sql.startswith("SELECT 1\nFROM samples\nWHERE")


def test_given_values_replace_defaults() -> None:
    query = parse_query("some.sql", TEXT)
    assert {"cluster": "", "verbs": ["GET"], "limit": "5"} == query.bind(
        {"verbs": ["GET"], "limit": "5"}
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [({}, "needs a value for verbs"), ({"verbs": ["x"], "verb": "x"}, "no parameter verb")],
    ids=["missing", "unknown"],
)
def test_a_value_too_few_or_too_many_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(SinkRefused, match=says):
        parse_query("some.sql", TEXT).bind(given)  # type: ignore[arg-type] # a table of tests


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("UInt8", "0"),
        ("UInt8", "255"),
        ("Int8", "-128"),
        ("Int8", -1),
        ("UInt64", str(2**64 - 1)),
        ("Float64", "1e-3"),
        ("Float64", "-inf"),
        ("Bool", "true"),
        ("Array(String)", []),
        ("Array(UInt8)", ["1", "2"]),
        ("String", "anything: '; DROP TABLE samples"),
        ("DateTime64(3)", "the engine decides"),
    ],
)
def test_a_value_of_its_type_is_taken(kind: str, value: Value) -> None:
    assert misfit(value, kind) is None


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("UInt8", "256", "from 0 to 255"),
        ("UInt8", "-1", "from 0 to 255"),
        ("Int8", "128", "from -128 to 127"),
        ("UInt32", "1.0", "no UInt32"),
        ("UInt32", "1_0", "no UInt32"),
        ("UInt32", "", "no UInt32"),
        ("UInt32", "1 OR 1=1", "no UInt32"),
        ("UInt32", "9" * 5_000, "no UInt32"),
        ("Float64", "fast", "no Float64"),
        ("Bool", "yes", "no Bool"),
        ("Array(String)", "GET", "no Array"),
        ("Array(UInt8)", ["1", "x"], "no UInt8"),
        ("String", ["GET"], "is a list"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, value: Value, says: str) -> None:
    assert says in (misfit(value, kind) or "")
    with pytest.raises(SinkRefused, match="q: x="):
        Query("q", "?", (Parameter("x", kind, "a value"),), "").bind({"x": value})


def test_free_sql_has_the_parameters_that_it_uses() -> None:
    query = free_query("SELECT {n:UInt8}, {n:UInt8}, {many:Array(String)}")
    assert [("n", "UInt8"), ("many", "Array(String)")] == [
        (one.name, one.type) for one in query.parameters
    ]
    with pytest.raises(SinkRefused, match="one type: n:UInt8, n:String"):
        free_query("SELECT {n:UInt8}, {n:String}")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("other.sql", TEXT),
        ("some.sql", TEXT.replace("-- name: some\n", "")),
        ("some.sql", TEXT.replace("-- what", "-- why")),
        ("some.sql", TEXT.replace("{limit:UInt32}", "{limit:UInt64}")),
        ("some.sql", TEXT.replace("LIMIT {limit:UInt32}", "")),
        ("some.sql", TEXT + "OFFSET {offset:UInt32}"),
    ],
    ids=["name", "no name", "no question", "type", "unused", "undeclared"],
)
def test_a_header_that_does_not_fit_its_sql_is_refused(file: str, text: str) -> None:
    with pytest.raises(ValueError, match=file):
        parse_query(file, text)


@pytest.mark.parametrize("query", load_queries().values(), ids=load_queries())
def test_a_shipped_query_asks_a_question_and_expands(query: Query) -> None:
    assert "?" in query.what
    assert "$__" not in expand(query.sql, from_ms=0, to_ms=1_000, interval_s=15)
