"""Show values as Go's fmt package does. In: values, and patterns with verbs. Out: texts.

The rule this file owns: the same value reads the same here and in Go, also where a verb does not
fit its value. Left out are `%[1]d` and `%*d`.
"""

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from streams.core.gotemplate.quoting import quoted, quoted_char
from streams.core.gotemplate.values import (
    Mistake,
    Mixed,
    Struct,
    Texts,
    Value,
    text_of,
    type_name,
)

WIDTH_MAX: Final = 1_000
_VERB: Final = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:(?P<dot>\.)(?P<precision>\d*))?")


class Spec:
    """One verb of a pattern, with its flags."""

    __slots__ = ("flags", "precision", "verb", "width")

    def __init__(self, verb: str, flags: str = "", width: int = 0, precision: int = -1) -> None:
        self.verb, self.flags, self.width, self.precision = verb, flags, width, precision

    def padded(self, text: str, *, zeros: bool = True) -> str:
        """Return a text in its width."""
        if "-" in self.flags:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if zeros and "0" in self.flags else " ")

    def python(self, verb: str) -> str:
        """Return the same directive for Python's `%`."""
        precision = "" if self.precision < 0 else f".{self.precision}"
        return f"%{self.flags}{self.width or ''}{precision}{verb}"


def show(value: Value) -> str:
    """Return a value as `{{ }}` shows it."""
    if value is None:
        return "<no value>"
    return plain(value).removeprefix("&") if isinstance(value, Struct) else plain(value)


def plain(value: Value) -> str:
    """Return a value as `%v` shows it."""
    return formatted(Spec("v"), value)


def sprint(*values: Value) -> str:
    """Return values one after the other, with spaces where neither neighbour is a text."""
    parts = []
    for i, value in enumerate(values):
        if i and not isinstance(value, str) and not isinstance(values[i - 1], str):
            parts.append(" ")
        parts.append(plain(value))
    return "".join(parts)


def sprintln(*values: Value) -> str:
    """Return values with spaces between them, and a new line."""
    return " ".join(map(plain, values)) + "\n"


def sprintf(pattern: Value, *values: Value) -> str:
    """Return a pattern with its verbs filled in."""
    source, left, parts, at = text_of(pattern, "printf"), list(values), [], 0
    while (begin := source.find("%", at)) >= 0:
        parts.append(source[at:begin])
        found = _VERB.match(source, begin)
        assert found is not None, "a % is a match"
        at = found.end()
        if at == len(source):
            parts.append("%!(NOVERB)")
            break
        verb, at = source[at], at + 1
        if verb in "*[":
            raise Mistake(f"printf: %{verb} is not supported")
        parts.append(_filled(found, verb, left))
    else:
        parts.append(source[at:])
    if left:
        extra = ", ".join("<nil>" if v is None else f"{type_name(v)}={plain(v)}" for v in left)
        parts.append(f"%!(EXTRA {extra})")
    return "".join(parts)


def _filled(found: re.Match[str], verb: str, left: list[Value]) -> str:
    if verb == "%":
        return "%"
    if not left:
        return f"%!{verb}(MISSING)"
    value = left.pop(0)
    width, precision = int(found["width"] or 0), -1
    if found["dot"]:
        precision = int(found["precision"] or 0)
    if max(width, precision) > WIDTH_MAX:
        return "%!(BADWIDTH)"
    flags = found["flags"].replace("0", "") if "-" in found["flags"] else found["flags"]
    return formatted(Spec(verb, flags, width, precision), value)


def formatted(spec: Spec, value: Value) -> str:
    """Return a value as a verb shows it."""
    if spec.verb == "T":
        return spec.padded("<nil>" if value is None else type_name(value))
    if value is None:
        return spec.padded("<nil>") if spec.verb == "v" else f"%!{spec.verb}(<nil>)"
    for kind, form in _FORMS:
        if isinstance(value, kind):
            return form(spec, value)
    return _composed(spec, value)


def _composed(spec: Spec, value: Value) -> str:
    if isinstance(value, Texts | Mixed):
        return f"map[{' '.join(f'{k}:{formatted(spec, value[k])}' for k in sorted(value))}]"
    if isinstance(value, Struct):
        return f"&{{{' '.join(formatted(spec, one) for one in value.fields.values())}}}"
    if isinstance(value, Sequence) and not value:
        return "[]"
    raise Mistake("the results of a query are no text: use first, value, label or range")


def _wrong(spec: Spec, value: Value) -> str:
    return f"%!{spec.verb}({type_name(value)}={plain(value)})"


def _truth(spec: Spec, value: bool) -> str:
    return spec.padded(str(value).lower()) if spec.verb in "tv" else _wrong(spec, value)


def _whole(spec: Spec, value: int) -> str:
    if spec.verb in "dv":
        flags = spec.flags.replace("+", "") if spec.verb == "v" else spec.flags
        return Spec("d", flags.replace("#", ""), spec.width, spec.precision).python("d") % value
    if spec.verb in "oxX":
        return spec.python(spec.verb) % value
    if spec.verb == "b":
        return spec.padded(format(value, "b"))
    if spec.verb in "cqU" and (0 <= value < 0xD800 or 0xE000 <= value < 0x110000):
        if spec.verb == "U":
            return spec.padded(f"U+{value:04X}", zeros=False)
        char = chr(value)
        return spec.padded(char if spec.verb == "c" else quoted_char(char))
    return _wrong(spec, value)


def _number(spec: Spec, value: float) -> str:
    if spec.verb not in "vgGeEfFxX":
        return _wrong(spec, value)
    if not math.isfinite(value):
        return _no_number(spec, value)
    if spec.verb in "xX":
        text = _hexadecimal(value)
        return spec.padded(text.upper() if spec.verb == "X" else text)
    if spec.verb in "vgG" and spec.precision < 0 and "#" not in spec.flags:
        text = shortest(abs(value))
        return _signed(spec, text.upper() if spec.verb == "G" else text, value)
    if spec.verb == "v":
        flags = spec.flags.replace("+", "").replace("#", "")
        return Spec("g", flags, spec.width, spec.precision).python("g") % value
    return spec.python(spec.verb) % value


def _signed(spec: Spec, digits: str, value: float) -> str:
    plus = "+" in spec.flags and spec.verb != "v"
    sign = "-" if math.copysign(1, value) < 0 else "+" if plus else " " * (" " in spec.flags)
    if "0" in spec.flags:
        digits = digits.rjust(spec.width - len(sign), "0")
    return spec.padded(sign + digits, zeros=False)


def _no_number(spec: Spec, value: float) -> str:
    plus = "+" in spec.flags and spec.verb != "v"
    if math.isnan(value):
        text = "+NaN" if plus else " NaN" if " " in spec.flags else "NaN"
    elif value < 0:
        text = "-Inf"
    else:
        text = " Inf" if " " in spec.flags and not plus else "+Inf"
    return spec.padded(text, zeros=False)


def shortest(value: float) -> str:
    """Return the shortest text that is this number: with an exponent from a million on."""
    if not math.isfinite(value):
        return _no_number(Spec("v"), value)
    digits = Decimal(repr(value)).normalize()
    power = digits.adjusted()
    if value == 0 or -4 <= power < 6:
        return format(digits, "f")
    mantissa = format(digits.scaleb(-power), "f")
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _hexadecimal(value: float) -> str:
    mantissa, _, exponent = value.hex().partition("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent[0]}{exponent[1:].rjust(2, '0')}"


def _text(spec: Spec, value: str) -> str:
    if spec.verb not in "svqxX":
        return _wrong(spec, value)
    if spec.precision >= 0 and spec.verb not in "xX":
        value = value[: spec.precision]
    if spec.verb == "q" or (spec.verb == "v" and "#" in spec.flags):
        return spec.padded(_quoted_by(spec, value))
    if spec.verb in "xX":
        data = value.encode()[: spec.precision if spec.precision >= 0 else None]
        text = data.hex(" ") if " " in spec.flags else data.hex()
        return spec.padded(text.upper() if spec.verb == "X" else text)
    return spec.padded(value)


def _quoted_by(spec: Spec, value: str) -> str:
    if spec.verb == "q" and "#" in spec.flags and "`" not in value and value.isprintable():
        return f"`{value}`"
    return quoted(value, ascii_only=spec.verb == "q" and "+" in spec.flags)


_FORMS: Final[Sequence[tuple[type, Callable[[Spec, Any], str]]]] = (
    (bool, _truth),
    (int, _whole),
    (float, _number),
    (str, _text),
)
