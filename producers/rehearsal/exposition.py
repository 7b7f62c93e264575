"""Write the text format 0.0.4. In: families. Out: the body of `/metrics` as Go prints it.

The rule this file owns: numbers look as Go's `strconv` prints them (1e+06, 0.005), for a bound is a
label and two spellings of it are two series.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a counter or gauge."""

    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """One histogram. `counts`: per bucket, one more than `bounds`."""

    labels: Labels
    bounds: Sequence[float]
    counts: Sequence[int]
    sum: float


@dataclass(frozen=True, slots=True)
class Family:
    """One family of metrics; families without members are left out."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    members: Sequence[Sample | Histogram]


def body(families: Sequence[Family]) -> bytes:
    """Return the exposition of all families, sorted by name as a registry sorts them."""
    lines = [
        line
        for one in sorted(families, key=lambda one: one.name)
        if one.members
        for line in _family(one)
    ]
    return "".join(lines).encode()


def go_float(value: float) -> str:
    """Return `value` as strconv.FormatFloat(value, 'g', -1, 64) prints it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    if abs(value) < 1e6 and value == int(value):
        return str(int(value))
    mantissa, _, exponent = f"{value!r}".partition("e")
    sign, digits = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    whole, _, part = digits.partition(".")
    part = "" if part == "0" else part
    significant = (whole + part).lstrip("0")
    leading = len(whole + part) - len(significant)
    power = int(exponent or 0) + len(whole) - leading - 1
    significant = significant.rstrip("0")
    if -4 <= power < 6:
        return f"{value:.{max(0, len(significant) - power - 1)}f}"
    tail = f".{significant[1:]}" if len(significant) > 1 else ""
    return f"{sign}{significant[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _family(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.type}\n"
    for member in family.members:
        if isinstance(member, Histogram):
            yield from _histogram(family.name, member)
        else:
            yield f"{family.name}{_braces(member.labels)} {go_float(member.value)}\n"


def _histogram(name: str, histogram: Histogram) -> Iterator[str]:
    total = 0
    bounds = [*map(go_float, histogram.bounds), "+Inf"]
    for bound, count in zip(bounds, histogram.counts, strict=True):
        total += count
        labels = {**histogram.labels, "le": bound}
        yield f"{name}_bucket{_braces(labels)} {go_float(total)}\n"
    labels_text = _braces(histogram.labels)
    yield f"{name}_sum{labels_text} {go_float(histogram.sum)}\n"
    yield f"{name}_count{labels_text} {go_float(total)}\n"


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
