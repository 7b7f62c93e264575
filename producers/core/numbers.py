"""Read and print numbers as Go does. In: the bytes of a value. Out: a float, or None where Go's
strconv refuses; and the shortest text of a float.

The rule this file owns: what Prometheus accepts we accept, and nothing else. Python's own float()
also takes underscores, blanks and overflow; bounds printed differently would be other histograms.
"""

import math
from decimal import Decimal
from typing import Final

DECIMAL: Final = b"0123456789+-.eE"
"""The bytes of every number that is not infinite and not NaN."""

_WORDS: Final = {
    b"nan": math.nan,
    **{sign + word: math.inf for sign in (b"", b"+") for word in (b"inf", b"infinity")},
    **{b"-" + word: -math.inf for word in (b"inf", b"infinity")},
}


def parse_float(text: bytes) -> float | None:
    """Return the value of `text` as strconv.ParseFloat reads it; None where it is an error."""
    if text.translate(None, DECIMAL):
        return _WORDS.get(text.lower())
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None  # 1e999 is out of range, not infinite


def format_float(value: float) -> str:
    """Return `value` as strconv.FormatFloat(value, 'g', -1, 64) prints it: 1e+06, 0.005, +Inf."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    minus = "-" if math.copysign(1, value) < 0 else ""
    _, digits, exponent = Decimal(repr(abs(value))).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)  # the value is 0.text x 10^point
    if value and not -4 <= point - 1 < 6:  # strconv's limits for the shortest 'g'
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{minus}{text[0]}{fraction}e{'-' if point < 1 else '+'}{abs(point - 1):02d}"
    text = text.rjust(len(text) + max(0, 1 - point), "0").ljust(point, "0")
    whole, fraction = text[: max(1, point)], text[max(1, point) :]
    return f"{minus}{whole}.{fraction}" if fraction else f"{minus}{whole}"
