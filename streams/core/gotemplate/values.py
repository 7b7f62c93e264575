"""What a template can hold. In: nothing. Out: types, their names in Go, and the two ways to fail.

The rule this file owns: a template that is wrong whatever the data are makes a Mistake, which is
found when it is loaded; one that fails on some data makes a Failure, whose text takes its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = object
"""A str, bool, int, float or None, a mapping, a sequence, or a Struct."""


class Mistake(ValueError):
    """The template is wrong, whatever the data are."""


class Failure(ValueError):
    """The template fails on these data."""


@dataclass(frozen=True, slots=True)
class Struct:
    """A value with named fields."""

    fields: Mapping[str, Value]


class Texts(dict[str, str]):
    """A map of texts: what is not there is ""."""


class Mixed(dict[str, Value]):
    """A map of any values: what is not there is nil."""


def truth(value: Value) -> bool:
    """Tell whether `if` takes a value for true: NaN and structs are."""
    return True if isinstance(value, Struct) else bool(value)


def field(value: Value, name: str) -> Value:
    """Return `value.name`."""
    if isinstance(value, Texts):
        return value.get(name, "")
    if isinstance(value, Mixed):
        return value.get(name)
    if isinstance(value, Struct) and name in value.fields:
        return value.fields[name]
    if value is None:
        raise Failure(f".{name} of nil")
    raise Mistake(f"there is no .{name} in {type_name(value)}")


def type_name(value: Value) -> str:
    """Return the name of a value's type in Go."""
    if value is None:
        return "nil"
    if isinstance(value, Texts):
        return "map[string]string"
    if isinstance(value, Mixed):
        return "map[string]interface {}"
    for kind, name in _NAMES:
        if isinstance(value, kind):
            return name
    return "slice"


_NAMES: Sequence[tuple[type, str]] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float64"),
    (str, "string"),
    (Struct, "struct"),
)


def text_of(value: Value, function: str) -> str:
    """Return a value that must be a text."""
    if not isinstance(value, str):
        raise Mistake(f"{function} takes a text, not {type_name(value)}")
    return value


def whole_of(value: Value, function: str) -> int:
    """Return a value that must be a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Mistake(f"{function} takes a whole number, not {type_name(value)}")
    return value
