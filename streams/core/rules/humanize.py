"""Show numbers to people as Prometheus does. In: values. Out: texts, and the table of functions
that templates may call.

The rule this file owns: the same number reads the same here and in Prometheus (its
template/template.go and Go's fmt are the reference).
"""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

Argument = str | float | bool

_VERB: Final = re.compile(r"%%|%([-+# 0]*)(\d*)(?:\.(\d+))?([a-zA-Z])")
_BIG: Final = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_BIG_BINARY: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL: Final = ("m", "u", "n", "p", "f", "a", "z", "y")


def text_of(value: Argument) -> str:
    """Return a value as Go's %v shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else _shortest(value)


def truth(value: Argument) -> bool:
    """Tell whether Go's templates take a value for true."""
    return bool(value) if not isinstance(value, float) else value != 0


def _shortest(value: float) -> str:
    special = _special(value)
    if special is not None:
        return special
    if value and not 1e-4 <= abs(value) < 1e21:
        return repr(value) if "e" in repr(value) else f"{value:e}"
    return format(Decimal(repr(value)).normalize(), "f")


def _special(value: float) -> str | None:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return None


def _short(value: float) -> str:
    """Return four digits, as %.4g."""
    return _special(value) or f"{value:.4g}"


def _number(value: Argument) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def humanize(value: Argument) -> str:
    """Return a number with a metric prefix: 1.234k."""
    number = _number(value)
    if number == 0 or _special(number):
        return _short(number)
    if abs(number) >= 1:
        return _prefixed(number, _BIG, 1000)
    prefix = ""
    for prefix in _SMALL:  # noqa: B007 the prefix that the loop ends at
        number *= 1000
        if abs(number) >= 1:
            break
    return _short(number) + prefix


def humanize1024(value: Argument) -> str:
    """Return a number with a binary prefix: 1.234ki."""
    number = _number(value)
    if abs(number) <= 1 or _special(number):
        return _short(number)
    return _prefixed(number, _BIG_BINARY, 1024)


def _prefixed(number: float, prefixes: tuple[str, ...], step: int) -> str:
    prefix = ""
    for larger in prefixes:
        if abs(number) < step:
            break
        prefix, number = larger, number / step
    return _short(number) + prefix


def humanize_percentage(value: Argument) -> str:
    """Return a share as percents: 12.34%."""
    return f"{_short(_number(value) * 100)}%"


def humanize_duration(value: Argument) -> str:
    """Return seconds as a duration: 1h 2m 3s, or 12.5ms."""
    number = _number(value)
    if _special(number):
        return _short(number)
    if number == 0:
        return "0s"
    if abs(number) < 1:
        return f"{humanize(number)}s"
    if abs(number) < 60:
        return f"{_short(number)}s"
    whole = int(abs(number))
    parts = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"))
    first = next(i for i, (count, _) in enumerate(parts) if count)
    shown = " ".join(f"{count}{unit}" for count, unit in (*parts[first:], (whole % 60, "s")))
    return f"-{shown}" if number < 0 else shown


def printf(pattern: Argument, *arguments: Argument) -> str:
    """Return a text with Go's verbs filled in."""
    left = list(arguments)

    def fill(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if not left:
            return f"%!{found[4]}(MISSING)"
        return _formatted(found, left.pop(0))

    text = _VERB.sub(fill, text_of(pattern))
    extra = ", ".join(map(text_of, left))
    return f"{text}%!(EXTRA {extra})" if left else text


def _formatted(found: re.Match[str], value: Argument) -> str:
    flags, width, precision, verb = found[1], found[2], found[3], found[4]
    if verb in "feEgG" and not isinstance(value, str):
        point = f".{precision}" if precision else ""
        return _special(value) or f"%{flags}{width}{point}{verb}" % value
    shown = text_of(value)
    if verb == "q":
        shown = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
    elif verb not in "vs":
        return f"%!{verb}({shown})"
    return f"%{flags}{width}s" % shown


def _compare(test: Callable[[float, float], bool]) -> Callable[[Argument, Argument], bool]:
    return lambda left, right: test(_number(left), _number(right))


def _and(*values: Argument) -> Argument:
    return next((value for value in values if not truth(value)), values[-1])


def _or(*values: Argument) -> Argument:
    return next((value for value in values if truth(value)), values[-1])


FUNCTIONS: Final[dict[str, tuple[Callable[..., Argument], int, int]]] = {
    "humanize": (humanize, 1, 1),
    "humanize1024": (humanize1024, 1, 1),
    "humanizePercentage": (humanize_percentage, 1, 1),
    "humanizeDuration": (humanize_duration, 1, 1),
    "printf": (printf, 1, 20),
    "toUpper": (lambda value: text_of(value).upper(), 1, 1),
    "toLower": (lambda value: text_of(value).lower(), 1, 1),
    "eq": (lambda left, right: left == right, 2, 2),
    "ne": (lambda left, right: left != right, 2, 2),
    "lt": (_compare(lambda left, right: left < right), 2, 2),
    "le": (_compare(lambda left, right: left <= right), 2, 2),
    "gt": (_compare(lambda left, right: left > right), 2, 2),
    "ge": (_compare(lambda left, right: left >= right), 2, 2),
    "and": (_and, 1, 20),
    "or": (_or, 1, 20),
    "not": (lambda value: not truth(value), 1, 1),
}
"""Name: (function, fewest and most arguments)."""
