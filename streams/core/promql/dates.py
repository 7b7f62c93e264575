"""Take times apart. In: seconds since 1970. Out: minutes, hours, days, months and years in UTC.

The rule this file owns: the calendar of Go's time package, also where it wraps around: Prometheus
finds some date for NaN and for numbers beyond 64 bits, and so does this.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.promql.labels import Floats, Labels
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import Value, Vector, unnamed, vector

Count = NDArray[np.uint64]
Part = Callable[[Count], NDArray[np.generic]]
"""Seconds since the first year -> a part of the date."""

_FIRST_YEAR: Final = -292_277_022_399
"""Go counts from here. As the year 1, it begins a cycle of 400 years, and on a Monday."""
_BEFORE_1970: Final = np.uint64(9_223_372_028_715_321_600)
"""Seconds from the first year to 1970."""
_UNIX_MIN: Final = np.int64(-(1 << 63))
_MONTHS: Final = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30])
"""Days before each month of a common year."""
_DAYS: Final = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


class DatePart(Node):
    """`hour(v)` and its like."""

    def __init__(self, name: str, source: Node) -> None:
        self.part, self.children = PARTS[name], (source,)

    def evaluate(self, context: Context) -> Value:
        kept = unnamed(context.vector(self.children[0]))
        return Vector(kept.labels, part_of(self.part, kept.values), kept.present, kept.coverage)


class DatePartNow(Node):
    """`hour()` and its like: of the time of evaluation."""

    timed = True

    def __init__(self, name: str) -> None:
        self.part = PARTS[name]

    def evaluate(self, context: Context) -> Value:
        return vector(Labels({}, 1), part_of(self.part, np.array([context.t_ms / 1000])))


def part_of(part: Part, values: Floats) -> Floats:
    """Return a part of the date that each value is."""
    return part(_since_first(values)).astype(np.float64)


def _since_first(values: Floats) -> Count:
    """Return seconds since the first year; what is no number of 64 bits is the least of them."""
    fits = (values >= -(2.0**63)) & (values < 2.0**63)
    whole = np.where(fits, np.where(fits, values, 0).astype(np.int64), _UNIX_MIN)
    return whole.view(np.uint64) + _BEFORE_1970  # wraps around


def _within_year(seconds: Count) -> tuple[Count, NDArray[np.int64], NDArray[np.bool_]]:
    """Return (years since the first, day of the year from 0, whether it is a leap year)."""
    days = seconds // np.uint64(86_400)
    cycles, left = days // np.uint64(146_097), (days % np.uint64(146_097)).astype(np.int64)
    centuries = np.minimum(left // 36_524, 3)
    left -= centuries * 36_524
    fours, left = left // 1_461, left % 1_461
    ones = np.minimum(left // 365, 3)
    years = cycles * np.uint64(400) + (centuries * 100 + fours * 4 + ones).astype(np.uint64)
    leap = (ones == 3) & ((fours != 24) | (centuries == 3))
    return years, left - ones * 365, leap


def _month(seconds: Count) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (month from 0, day of the month from 0, days of the month)."""
    _, day, leap = _within_year(seconds)
    leap_day = leap & (day == 59)
    day = day - (leap & (day >= 59))  # as in a common year: the 29th of February is the 28th
    month = np.searchsorted(_MONTHS, day, side="right") - 1
    return month, day - _MONTHS[month] + leap_day, _DAYS[month] + (leap & (month == 1))


def _within(seconds: Count, unit_s: int, units: int) -> Count:
    return seconds // np.uint64(unit_s) % np.uint64(units)


PARTS: Final[dict[str, Part]] = {
    "minute": lambda seconds: _within(seconds, 60, 60),
    "hour": lambda seconds: _within(seconds, 3_600, 24),
    "day_of_week": lambda seconds: _within(seconds + np.uint64(86_400), 86_400, 7),
    "day_of_month": lambda seconds: _month(seconds)[1] + 1,
    "day_of_year": lambda seconds: _within_year(seconds)[1] + 1,
    "days_in_month": lambda seconds: _month(seconds)[2],
    "month": lambda seconds: _month(seconds)[0] + 1,
    "year": lambda seconds: _within_year(seconds)[0].astype(np.float64) + _FIRST_YEAR,
}
