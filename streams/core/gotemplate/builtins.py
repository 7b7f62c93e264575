"""The functions that every template of Go has. In: values. Out: values.

The rule this file owns: a text is as long as its bytes; values of different types are not compared.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote_plus

from streams.core.gotemplate.nodes import Expression, Scope
from streams.core.gotemplate.printing import sprint, sprintf, sprintln
from streams.core.gotemplate.values import (
    Failure,
    Mistake,
    Mixed,
    Struct,
    Texts,
    Value,
    field,
    text_of,
    truth,
    type_name,
    whole_of,
)
from streams.core.gotemplate.vocabulary import Function

MANY: Final = 50
"""The most arguments of a function that takes any number."""


def _first(wanted: bool) -> Callable[[Scope, Sequence[Expression]], Value]:
    """`or` returns the first argument that is true, `and` the first that is not; else the last."""

    def pick(scope: Scope, arguments: Sequence[Expression]) -> Value:
        value: Value = None
        for argument in arguments:
            value = argument(scope)
            if truth(value) == wanted and not scope.trial:
                break
        return value

    return pick


def _equal(left: Value, *others: Value) -> bool:
    """Tell whether the first value equals one of the others."""
    return any(_same(left, other) for other in others)


def _same(left: Value, right: Value) -> bool:
    if left is None or right is None:
        return left is right
    if type(left) is not type(right):
        raise _incomparable(left, right)
    if isinstance(left, Texts | Mixed | Struct) or not isinstance(left, str | int | float):
        raise Mistake(f"{type_name(left)} cannot be compared")
    return bool(left == right)


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Value, Value], bool]:
    def compare(left: Value, right: Value) -> bool:
        if type(left) is not type(right):
            raise _incomparable(left, right)
        if isinstance(left, bool) or not isinstance(left, str | int | float):
            raise Mistake(f"{type_name(left)} has no order")
        return test(left, right)

    return compare


def _incomparable(left: Value, right: Value) -> Mistake:
    both = {type_name(left), type_name(right)}
    hint = "; write a number with a point (10.0)" if both == {"int", "float64"} else ""
    return Mistake(f"{type_name(left)} is not compared with {type_name(right)}{hint}")


def _length(value: Value) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Texts | Mixed | Sequence):
        return len(value)
    raise Mistake(f"{type_name(value)} has no length")


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, Texts | Mixed):
            value = field(value, text_of(key, "index"))
            continue
        items: Sequence[Value] | bytes
        if isinstance(value, str):
            items = value.encode()
        elif isinstance(value, Sequence):
            items = value
        else:
            raise Mistake(f"{type_name(value)} has no index")
        at = whole_of(key, "index")
        if not 0 <= at < len(items):
            raise Failure(f"index out of range: {at}")
        value = items[at]
    return value


def _slice(value: Value, begin: Value = 0, end: Value = None) -> Value:
    data = value.encode() if isinstance(value, str) else value
    if not isinstance(data, Sequence):
        raise Mistake(f"{type_name(value)} has no parts")
    low = whole_of(begin, "slice")
    high = len(data) if end is None else whole_of(end, "slice")
    if not 0 <= low <= high <= len(data):
        raise Failure(f"slice out of range: {low}:{high}")
    part = data[low:high]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


BUILTINS: Final[dict[str, Function]] = {
    "and": Function(_first(False), 1, MANY, lazy=True),
    "or": Function(_first(True), 1, MANY, lazy=True),
    "not": Function(lambda value: not truth(value)),
    "eq": Function(_equal, 2, MANY),
    "ne": Function(lambda left, right: not _same(left, right), 2, 2),
    "lt": Function(_ordered(operator.lt), 2, 2),
    "le": Function(_ordered(operator.le), 2, 2),
    "gt": Function(_ordered(operator.gt), 2, 2),
    "ge": Function(_ordered(operator.ge), 2, 2),
    "len": Function(_length),
    "index": Function(_index, 1, MANY),
    "slice": Function(_slice, 1, 3),
    "print": Function(sprint, 0, MANY),
    "println": Function(sprintln, 0, MANY),
    "printf": Function(sprintf, 1, MANY),
    "urlquery": Function(lambda *parts: quote_plus(sprint(*parts)), 0, MANY),
}
REFUSED: Final[dict[str, str]] = {
    "call": "a template has no functions as values",
    "html": "an alert's text is no page",
    "js": "an alert's text is no script",
}
