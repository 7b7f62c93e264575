"""Write numbers as texts. In: numbers. Out: their shortest texts, as Go writes them."""

import math
from decimal import Decimal


def plain(value: float) -> str:
    """Return a number without an exponent: Go's FormatFloat(value, 'f', -1, 64)."""
    special = unfinite(value)
    if special is not None:
        return special
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def unfinite(value: float) -> str | None:
    """Return the text of what is no finite number; None for others."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return None
