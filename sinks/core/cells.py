"""Write values as text. In: rows of an answer as Python values. Out: what a terminal, a spreadsheet
or a JSON reader shows.

The rule this file owns: nothing is lost or made up. Times are UTC with the digits that they have;
what JSON has no number for is a string, in Prometheus' words (NaN, +Inf, -Inf); bytes that are no
text show as escapes; an array or a map within a cell is JSON. NULL is empty in CSV, null in JSON.
"""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final


def in_json(value: Any) -> Any:
    """Return a value that every JSON reader takes."""
    if isinstance(value, float) and not math.isfinite(value):
        return _unusual(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [in_json(one) for one in value]
    if isinstance(value, dict):
        return {str(in_text(name)): in_json(one) for name, one in value.items()}
    return in_text(value)


def in_text(value: Any) -> str:
    """Return a value as a cell of CSV."""
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    return "" if value is None else str(value)


def in_table(value: Any) -> str:
    """Return a value as people read it: six digits of a float are enough for them."""
    if value is None:
        return "NULL"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    return in_text(value)


def _unusual(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _moment(value: datetime) -> str:
    """Return ISO 8601 in UTC; pandas' Timestamp has a `nanosecond` beyond the microseconds."""
    utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    below_ms = utc.microsecond % 1000 or getattr(utc, "nanosecond", 0)
    digits = "microseconds" if below_ms else "milliseconds" if utc.microsecond else "auto"
    return utc.isoformat(timespec=digits).replace("+00:00", "Z")


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else _unusual(value)


def _nested(value: Any) -> str:
    return json.dumps(in_json(value), ensure_ascii=False, separators=(",", ":"))


_WRITERS: Final[tuple[tuple[type, Callable[[Any], str]], ...]] = (
    (bool, lambda value: "true" if value else "false"),
    (float, _number),
    (datetime, _moment),
    (bytes, lambda value: value.decode("utf-8", "backslashreplace")),
    (list, _nested),
    (tuple, _nested),
    (dict, _nested),
)
"""The first that fits counts: a bool is an int, too."""
