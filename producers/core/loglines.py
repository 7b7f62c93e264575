"""Read log lines. In: one line of etcd, and when it was read. Out: one LogLine, always.

The rule this file owns: no line is lost. zap JSON is taken apart; the text that etcd 3.4 mixes in
and everything unknown become a message as they are. The template of a message is what stays the
same when it is logged again: identifiers, numbers, durations and quoted words are replaced.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from producers.core.times import holds
from schemas.records import JsonObject, LogLine

SECONDS_MIN: Final = 1e9  # since 1970: what can be the time of a line
FIELDS_DEPTH_MAX: Final = 50  # deeper ones are left in `raw`: who reads them may not go as far
TEMPLATED_CHARS_MAX: Final = 2_000  # of a message; what comes later is no part of its template
TEMPLATE_CHARS_MAX: Final = 200
LEVELS: Final[Mapping[str, str]] = {
    "debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error",
    "dpanic": "fatal", "panic": "fatal", "fatal": "fatal",
    "D": "debug", "I": "info", "N": "info", "W": "warning", "E": "error", "C": "fatal",
}  # fmt: skip
"""Our names of the levels of zap and of etcd's own text."""

_OWN: Final = {"level", "ts", "msg"}  # what is no field
_TEXT: Final = re.compile(
    r"(?P<ts>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) (?P<level>[DINWEC]) \| (?P<msg>.*)",
    re.DOTALL,
)  # 2026-11-22 08:13:57.659531 W | etcdserver: ...
_VARIABLE: Final = re.compile(
    r"""
      (?P<s>"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|'[^']*')             # quoted words, closed or not
    | (?P<d>(?<![\w.])(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|h|m|s))+(?!\w))  # durations, as Go prints them
    | (?P<id>(?<![\w.])(?=[a-f]*\d)[0-9a-f]{12,}(?!\w))        # members, hashes, in hexadecimal
    | (?P<n>(?<![\w.])-?\d+(?:\.\d+)*(?![\w]))                 # numbers, versions, addresses
    """,
    re.VERBOSE | re.DOTALL,
)  # linear: nothing is read twice, so a quote that is never closed lasts to the end
_REPEATS: Final = re.compile(r"(<n>|<id>)(?: \1)+")  # a list is as long as the cluster is big


def log_line(raw: str, read_ms: int) -> LogLine:
    """Return a line; `read_ms` is its time where the line itself tells none."""
    if raw.startswith("{"):
        try:
            fields = msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return _line(raw, read_ms, "info", raw, {})
        return _zap(raw, read_ms, fields)
    if found := _TEXT.fullmatch(raw):
        level = LEVELS[found["level"]]
        return _line(raw, _time_ms(found["ts"], read_ms), level, found["msg"], {})
    return _line(raw, read_ms, "info", raw, {})


def shortened(line: LogLine, chars_max: int) -> LogLine:
    """Return a line that is too big for a record, cut, without its fields."""
    return msgspec.structs.replace(
        line, message=line.message[:chars_max], fields={}, raw=line.raw[:chars_max]
    )


def template(message: str) -> str:
    """Return a message without its variable parts: <id> became leader at term <n>."""
    replaced = _VARIABLE.sub(lambda found: f"<{found.lastgroup}>", message[:TEMPLATED_CHARS_MAX])
    return _REPEATS.sub(r"\1", replaced)[:TEMPLATE_CHARS_MAX]


def _zap(raw: str, read_ms: int, fields: JsonObject) -> LogLine:
    message, named = fields.get("msg"), fields.get("level")
    level = LEVELS.get(named, "info") if isinstance(named, str) else "info"
    rest = {name: value for name, value in fields.items() if name not in _OWN}
    if _nests(rest, FIELDS_DEPTH_MAX):
        rest = {}
    text = message if isinstance(message, str) else raw
    return _line(raw, _time_ms(fields.get("ts"), read_ms), level, text, rest)


def _nests(value: object, deeper_than: int) -> bool:
    """Tell whether objects and lists lie in each other deeper than that."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return deeper_than == 0 or any(_nests(one, deeper_than - 1) for one in inner)


def _line(raw: str, ts_ms: int, level: str, message: str, fields: JsonObject) -> LogLine:
    return LogLine(
        ts_ms=ts_ms,
        level=level,
        template=template(message),
        message=message,
        fields=fields,
        raw=raw,
    )


def _time_ms(given: object, read_ms: int) -> int:
    """Return the time of a line, or that of reading it where the line tells none that can be."""
    told_ms = _told_ms(given)
    return round(told_ms) if told_ms is not None and holds(told_ms) else read_ms


def _told_ms(given: object) -> float | None:
    """Read a time in UTC: as ISO 8601, with or without zone, or as seconds since 1970."""
    if isinstance(given, int | float):
        return given * 1000 if given >= SECONDS_MIN else None
    if not isinstance(given, str):
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return math.floor(moment.timestamp() * 1000)
