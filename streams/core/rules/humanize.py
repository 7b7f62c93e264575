"""Show numbers to people as Prometheus does. In: values of templates. Out: texts.

The rule this file owns: the same number reads the same here and in Prometheus.
"""

import math
import re
from datetime import datetime, timedelta
from typing import Final

from streams.core.gotemplate.printing import shortest
from streams.core.gotemplate.values import Failure, Mistake, Value, text_of, type_name

_BIG: Final = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_BIG_BINARY: Final = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL: Final = ("m", "u", "n", "p", "f", "a", "z", "y")
_NUMBER: Final = re.compile(
    r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?|inf(?:inity)?|nan)", re.IGNORECASE
)
_DURATION: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?"
)
_UNITS_MS: Final = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_INT64: Final = 1 << 63
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 shown as UTC


def number_of(value: Value) -> float:
    """Return a number, or the number that a text is."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise Failure(f"{value!r} is no number")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Mistake(f"{type_name(value)} is no number")
    return float(value)


def _short(value: float) -> str:
    """Return four digits, as %.4g."""
    return f"{value:.4g}" if math.isfinite(value) else shortest(value)


def humanize(value: Value) -> str:
    """Return a number with a metric prefix: 1.234k."""
    number = number_of(value)
    if number == 0 or not math.isfinite(number):
        return _short(number)
    if abs(number) >= 1:
        return _prefixed(number, _BIG, 1000)
    return _divided(number)


def _divided(number: float) -> str:
    prefix = ""
    for smaller in _SMALL:
        if abs(number) >= 1:
            break
        prefix, number = smaller, number * 1000
    return _short(number) + prefix


def humanize1024(value: Value) -> str:
    """Return a number with a binary prefix: 1.234ki."""
    number = number_of(value)
    if abs(number) <= 1 or not math.isfinite(number):
        return _short(number)
    return _prefixed(number, _BIG_BINARY, 1024)


def _prefixed(number: float, prefixes: tuple[str, ...], step: int) -> str:
    prefix = ""
    for larger in prefixes:
        if abs(number) < step:
            break
        prefix, number = larger, number / step
    return _short(number) + prefix


def humanize_percentage(value: Value) -> str:
    """Return a share as percents: 12.34%."""
    return f"{_short(number_of(value) * 100)}%"


def humanize_duration(value: Value) -> str:
    """Return seconds as a duration: 1h 2m 3s, or 12.5ms."""
    number = number_of(value)
    if not math.isfinite(number):
        return _short(number)
    if number == 0:
        return "0s"
    if abs(number) < 1:
        return f"{_divided(number)}s"
    sign, size = "-" if number < 0 else "", abs(number)
    if size < 60:
        return f"{sign}{_short(size)}s"
    whole = int(size) if size < _INT64 else -_INT64  # as Go's conversion, on most processors
    parts = [
        (_whole(whole, 86_400), "d"),
        (_rest(_whole(whole, 3_600), 24), "h"),
        (_rest(_whole(whole, 60), 60), "m"),
    ]
    first = next(i for i, (count, _) in enumerate(parts) if count)
    shown = " ".join(f"{count}{unit}" for count, unit in (*parts[first:], (_rest(whole, 60), "s")))
    return sign + shown


def _whole(number: int, unit: int) -> int:
    """Divide as Go does, towards zero."""
    return number // unit if number >= 0 else -(-number // unit)


def _rest(number: int, unit: int) -> int:
    return number - _whole(number, unit) * unit


def humanize_timestamp(value: Value) -> str:
    """Return seconds since 1970 as a date and a time of day."""
    number = number_of(value)
    if not math.isfinite(number):
        return _short(number)
    nanoseconds = number * 1e9
    if not -_INT64 <= nanoseconds < _INT64:
        raise Failure(f"{shortest(number)} is beyond the dates of 64 bits")
    then = _EPOCH + timedelta(milliseconds=_whole(int(nanoseconds), 1_000_000))
    fraction = f".{then.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{then:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def parse_duration(value: Value) -> float:
    """Return the seconds of a duration: 1h30m."""
    text = text_of(value, "parseDuration")
    found = _DURATION.fullmatch(text)
    if text == "0":
        return 0.0
    if not text or found is None:
        raise Failure(f"{text!r} is no duration")
    counts = zip(found.groups(), _UNITS_MS, strict=True)
    return sum(int(count) * unit_ms for count, unit_ms in counts if count) / 1000
