"""Expand Grafana's ClickHouse macros. In: SQL with `$__timeFilter(ts)` and its like, a time range
and a step. Out: plain SQL.

The rule this file owns: one SQL text serves our console, the command line and Grafana, whose data
source expands the same names (grafana/clickhouse-datasource, pkg/macros/macros.go). Only integers
enter the text here; every other value is a typed parameter.
"""

import re
from collections.abc import Callable
from typing import Final

from schemas.errors import SinkRefused

_MACRO: Final = re.compile(r"\$__(\w+)")


def expand(sql: str, *, from_ms: int, to_ms: int, interval_s: int) -> str:
    """Return `sql` without macros.

    Raises:
        SinkRefused: a macro is unknown or its arguments are wrong.
    """
    macros = _macros(int(from_ms), int(to_ms), max(1, int(interval_s)))
    out, at = [], 0
    for found in _MACRO.finditer(sql):
        if found.start() < at:  # within the arguments of another one
            continue
        name = found[1]
        if name not in macros:
            known = ", ".join(f"$__{one}" for one in macros)
            raise SinkRefused(f"unknown macro $__{name}; there are {known}")
        arity, replace = macros[name]
        arguments, end = _arguments(sql, found.end(), name) if arity else ([], found.end())
        if len(arguments) != arity:
            raise SinkRefused(f"$__{name} takes {arity} arguments, not {len(arguments)}")
        out += [sql[at : found.start()], replace(*arguments)]
        at = end
    return "".join([*out, sql[at:]])


def _macros(from_ms: int, to_ms: int, step_s: int) -> dict[str, tuple[int, Callable[..., str]]]:
    """Return arity and expansion of each macro, in the data source's own words."""
    from_s, to_s = f"toDateTime({from_ms // 1000})", f"toDateTime({to_ms // 1000})"
    from_64, to_64 = (f"fromUnixTimestamp64Milli({ms})" for ms in (from_ms, to_ms))
    from_day, to_day = f"toDate({from_s}, 'UTC')", f"toDate({to_s}, 'UTC')"

    def days(column: str) -> str:
        return f"{column} >= {from_day} AND {column} <= {to_day}"

    def seconds(column: str) -> str:
        return f"{column} >= {from_s} AND {column} <= {to_s}"

    def days_and_seconds(day: str, column: str) -> str:
        return f"({days(day)}) AND ({seconds(column)})"

    return {
        "timeFilter": (1, seconds),
        "timeFilter_ms": (1, lambda c: f"{c} >= {from_64} AND {c} <= {to_64}"),
        "dateFilter": (1, days),
        "dateTimeFilter": (2, days_and_seconds),
        "dt": (2, days_and_seconds),
        "timeInterval": (
            1,
            lambda c: f"toStartOfInterval(toDateTime({c}), INTERVAL {step_s} second)",
        ),
        "timeInterval_ms": (
            1,
            lambda c: (
                f"toStartOfInterval(toDateTime64({c}, 3), INTERVAL {step_s * 1000} millisecond)"
            ),
        ),
        "interval_s": (0, lambda: str(step_s)),
        "fromTime": (0, lambda: from_s),
        "toTime": (0, lambda: to_s),
        "fromTime_ms": (0, lambda: from_64),
        "toTime_ms": (0, lambda: to_64),
    }


def _arguments(sql: str, at: int, name: str) -> tuple[list[str], int]:
    """Return the comma-separated arguments of the parentheses at `at`, and where they end."""
    if sql[at : at + 1] != "(":
        raise SinkRefused(f"$__{name} takes arguments in parentheses")
    depth, begin, arguments = 0, at + 1, []
    for i in range(at, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[i], 0)
        if (sql[i] == "," and depth == 1) or depth == 0:
            arguments.append(sql[begin:i].strip())
            begin = i + 1
        if depth == 0:
            return arguments, i + 1
    raise SinkRefused(f"$__{name} has no closing parenthesis")
