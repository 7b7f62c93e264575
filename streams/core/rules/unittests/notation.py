"""Read the notation of series. In: `name{label="value"}` and `1 2+3x4 _ stale`. Out: labels, and a
point for each step.

The rule this file owns: what promtool reads is read alike, and what it refuses is refused; native
histograms are refused by name.
"""

import re
from collections.abc import Iterator
from typing import Final

from streams.core.promql.labels import NAME
from streams.core.rules.unittests.model import Mark, Point

POINTS_MAX: Final = 1_000_000
"""Points of one series."""

_METRIC: Final = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*")
_QUOTED: Final = r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`'
_PAIR: Final = re.compile(
    rf"\s*([a-zA-Z_][a-zA-Z0-9_]*|{_QUOTED})\s*(?:=\s*({_QUOTED}))?\s*(,|(?=}}))"
)
_NUMBER: Final = r"(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|[iI][nN][fF]|[nN][aA][nN])"
_VALUES: Final = re.compile(rf"([-+]?{_NUMBER})(?:([-+]{_NUMBER}))?(?:x(\d+))?")
_BLANKS: Final = re.compile(r"_(?:x(\d+))?")
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class NotationError(ValueError):
    """A series is not written as promtool reads it."""


def metric(text: str) -> dict[str, str]:
    """Return the labels of `name{label="value", ...}`, the name among them."""
    if not text.strip():
        raise NotationError("a series without a name and labels")
    found = _METRIC.match(text)
    assert found is not None, "the pattern matches the empty text"
    labels = {NAME: found[1]} if found[1] else {}
    rest = text[found.end() :].strip()
    if not rest:
        return labels
    if not (rest.startswith("{") and rest.endswith("}")):
        raise NotationError(f'cannot read {text!r}: after a name comes {{label="value", ...}}')
    at = 1
    while rest[at:].strip() != "}":
        pair = _PAIR.match(rest, at)
        if pair is None:
            raise NotationError(f"cannot read {rest[at:]!r} of {text!r}")
        name = pair[1] if pair[1][0].isalpha() or pair[1][0] == "_" else unquoted(pair[1])
        if pair[2] is None:
            if name == pair[1] or NAME in labels:
                raise NotationError(f"the label {name} of {text!r} has no value")
            labels[NAME] = name  # {"a name in quotes", label="value"}
        else:
            labels[name] = unquoted(pair[2])
        at = pair.end()
    return {name: value for name, value in labels.items() if value}


def unquoted(text: str) -> str:
    """Return what a text in quotes says."""
    if text[0] == "`":
        return text[1:-1]
    return _ESCAPE.sub(_escaped, text[1:-1])


def _escaped(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        return chr(int(code, 8) if code[0].isdigit() else int(code[1:], 16))
    return _ESCAPES.get(code, code)


def points(text: str) -> tuple[Point, ...]:
    """Return a point for each step: `1 2+3x2 _ stale` is 1, 2, 5, 8, missing, stale."""
    found: list[Point] = []
    if "{{" in text:
        raise NotationError("native histograms are not supported: {{...}} has no classic buckets")
    for word in text.split():
        found.extend(_points(word))
        if len(found) > POINTS_MAX:
            raise NotationError(f"more than {POINTS_MAX} points in one series")
    return tuple(found)


def _points(word: str) -> Iterator[Point]:
    if word == "stale":
        yield Mark.STALE
        return
    if (blanks := _BLANKS.fullmatch(word)) is not None:
        yield from [Mark.MISSING] * _times(blanks[1] or "1")
        return
    found = _VALUES.fullmatch(word)
    if found is None or (found[2] and not found[3]):
        raise NotationError(
            f"cannot read {word!r}: points are 1, 1x3, 1+2x3, 1-2x3, _, _x3, stale, NaN, Inf"
        )
    value, step = float(found[1]), float(found[2] or 0)
    for _ in range(_times(found[3] or "0") + 1):
        yield value
        value += step  # as promtool adds, rounding included


def _times(text: str) -> int:
    times = int(text) if len(text) < 10 else POINTS_MAX + 1
    if times > POINTS_MAX:
        raise NotationError(f"more than {POINTS_MAX} points in one series")
    return times
