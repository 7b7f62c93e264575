"""Free SQL that reaches beyond our tables is refused by what the engine's parser made of it."""

import pytest

from sinks.core.guard import refusal

KNOWN = ("numbers", "file", "url", "s3", "python", "python3000", "eval", "view", "generateSeries")


def refused(canonical: str, *, query_class: str = "READ_ONLY", statements: int = 1) -> str | None:
    return refusal(canonical, query_class=query_class, statements=statements, table_functions=KNOWN)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM samples",
        "SELECT * FROM numbers(3)",
        "SELECT * FROM generateSeries(1, 3)",
        "SELECT * FROM view(SELECT 1)",
        "SELECT 'file' AS kind, url FROM samples AS python",
        "SELECT message FROM logs WHERE message LIKE '%file%' AND message != 'it\\'s a file'",
        "SELECT 'a`b', 'file', 'c`d', 'stack_trace'",
        "SHOW SETTINGS LIKE 'max%'",
        "SELECT aggregate, main FROM samples",
        "SELECT profile(1), aggregate(2), main(3)",
    ],
)
def test_reading_our_tables_is_allowed(sql: str) -> None:
    assert refused(sql) is None


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT file('/etc/passwd')", "file()"),
        ("SELECT * FROM `file`('/etc/passwd')", "file()"),
        ("SELECT * FROM URL('http://x/')", "url()"),
        ("SELECT * FROM Python (x)", "python()"),
        ("SELECT * FROM python3000(x)", "python3000()"),
        ("SELECT * FROM eval('SELECT 1')", "eval()"),
        ("SELECT catboostEvaluate('/x', 1)", "catboostevaluate()"),
        ("SELECT aiGenerate('x')", "aigenerate()"),
        ("SELECT arrayMap(aiGenerate, ['x'])", "aigenerate()"),
        ("SELECT arrayMap(file, ['/etc/passwd'])", "file()"),
        ("SELECT arrayMap(`file`, ['/etc/passwd'])", "file()"),
        ("SELECT * APPLY file FROM (SELECT '/etc/passwd')", "file()"),
        ("SELECT 1 AS `'`, arrayMap(file, ['/etc/passwd']), 2 AS `'`", "file()"),
        ("SELECT '\\'', arrayMap(file, ['/etc/passwd']), '\\''", "file()"),
        ('SELECT 1 AS "\'", arrayMap(file, [1]), 2 AS "\'"', "file()"),
        ("SELECT logTrace('x')", "logtrace()"),
        ("SELECT * FROM system.stack_trace", "stack_trace may not be read"),
        ("SELECT 1 SETTINGS max_execution_time = 100", "SETTINGS may not be used"),
        ("SELECT * FROM (SELECT 1\nSETTINGS readonly = 0)", "SETTINGS may not be used"),
        ("WITH x AS (SELECT * FROM s3('u')) SELECT * FROM x", "s3()"),
    ],
)
def test_a_function_that_reaches_beyond_is_refused(sql: str, name: str) -> None:
    assert name in (refused(sql) or "")


@pytest.mark.parametrize("query_class", ["MUTATING", "CONTROL", "UNKNOWN", "anything new"])
def test_only_reading_is_allowed(query_class: str) -> None:
    assert "only reading" in (refused("SELECT 1", query_class=query_class) or "")


@pytest.mark.parametrize("statements", [0, 2, 3])
def test_one_statement_is_allowed(statements: int) -> None:
    assert f"found {statements}" in (refused("SELECT 1", statements=statements) or "")
