"""Fold the series of a histogram into one row, as producers do. In: series that are there at the
same steps. Out: rows.

The rule this file owns: only a histogram that a server could have exposed is folded: all of its
buckets up to +Inf, its count and its sum, whole numbers that agree with each other, at the same
steps, bounds as Go writes them. So what rules read of a row is what the story says, to the letter;
anything else stays a series by itself.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streams.core.promql.labels import NAME
from streams.core.promql.selectors import INFINITY
from streams.core.rules.unittests.model import InputSeries, Labels, Mark, Point

EXACT_MAX: Final = 2.0**53
SUFFIXES: Final = ("_bucket", "_count", "_sum")

Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the scrapes of a target; a step at which it is not there has a mark."""

    name: str
    labels: Labels  # without the name
    values: tuple[Point, ...]  # of a histogram: its sum
    bounds: str = ""  # of a histogram: comma-joined, without +Inf
    counts: tuple[Point, ...] | None = None
    buckets: tuple[tuple[int, ...], ...] = ()  # of each step, one a bucket, not cumulated


def rows_of(series: Sequence[InputSeries]) -> list[Row]:
    """Return the rows that the series are scraped as."""
    parts: dict[Key, dict[str, InputSeries]] = {}
    for one in series:
        key, part = _part(one)
        parts.setdefault(key, {})[part] = one
    found: list[Row] = []
    for (family, labels), members in parts.items():
        folded = _folded(family, dict(labels), members)
        found += [folded] if folded is not None else map(_plain, members.values())
    return found


def _part(one: InputSeries) -> tuple[Key, str]:
    """Return the histogram that a series may belong to, and what of it the series is."""
    name = one.labels[NAME]
    for suffix in SUFFIXES:
        if name.endswith(suffix) and (suffix == "_bucket") == ("le" in one.labels):
            rest = {k: v for k, v in one.labels.items() if k not in (NAME, "le")}
            part = f"le={one.labels['le']}" if suffix == "_bucket" else suffix
            return (name.removesuffix(suffix), tuple(sorted(rest.items()))), part
    return (name, tuple(sorted(one.labels.items()))), ""


def _plain(one: InputSeries) -> Row:
    labels = {name: text for name, text in one.labels.items() if name != NAME}
    return Row(one.labels[NAME], labels, one.points)


def _folded(family: str, labels: Labels, members: Mapping[str, InputSeries]) -> Row | None:
    """Return a histogram as one row, or None where it is not one."""
    bounds = _bounds(part.removeprefix("le=") for part in members if part.startswith("le="))
    if bounds is None or len(members) != len(bounds) + len(SUFFIXES) or "" in members:
        return None
    total, counts = members["_sum"].points, members["_count"].points
    cumulative = [members[f"le={bound}"].points for bound in (*bounds, INFINITY)]
    buckets = []
    for step in zip(total, counts, *cumulative, strict=True):
        made = _buckets(step)
        if made is None:
            return None
        buckets.append(made)
    return Row(family, labels, total, ",".join(bounds), counts, tuple(buckets))


def _bounds(texts: Iterable[str]) -> tuple[str, ...] | None:
    """Return the bounds of a histogram in order, +Inf left out; None where they are none."""
    found = list(texts)
    if INFINITY not in found:
        return None
    found.remove(INFINITY)
    try:
        numbers = {text: float(text) for text in found}
    except ValueError:
        return None
    if any(text != _as_go(number) for text, number in numbers.items()):
        return None
    return tuple(sorted(found, key=numbers.__getitem__))


def _as_go(number: float) -> str:
    """Return a bound as Go prints it, as far as bounds go; "" for what would need an exponent."""
    plain = math.isfinite(number) and (number == 0 or 1e-4 <= abs(number) < 1e15)
    return repr(number).removesuffix(".0") if plain else ""


def _buckets(step: Sequence[Point]) -> tuple[int, ...] | None:
    """Return the buckets of one step, none where the histogram is not there; None: no histogram."""
    total, count, *cumulative = step
    if all(isinstance(point, Mark) for point in step):
        return () if len(set(step)) == 1 else None
    if any(isinstance(point, Mark) or not _whole(point) for point in (count, *cumulative)):
        return None
    if isinstance(total, Mark) or count != cumulative[-1]:
        return None
    whole = [int(point) for point in cumulative if not isinstance(point, Mark)]
    return tuple(after - before for before, after in zip([0, *whole], whole, strict=False))


def _whole(point: float) -> bool:
    return 0 <= point <= EXACT_MAX and point == int(point)
