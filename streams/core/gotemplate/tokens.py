"""Cut a template into pieces. In: the source. Out: texts and actions in turn, an action as tokens.

The rule this file owns: `{{-` and `-}}` take the white space beside them; a quoted `}}` ends no
action.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from streams.core.gotemplate.values import Mistake

SPACE: Final = " \t\r\n"

_COMMENT: Final = re.compile(r"\{\{(?:-[ \t\r\n]+)?/\*(?s:.*?)\*/(?:[ \t\r\n]+-)?\}\}")
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\[^\n]{1,9})')
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+
        |(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][-+]?\d+)?))(?![\w.])
    |(?P<variable>\$\w*)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<dot>\.)
    |(?P<name>[^\W\d]\w*)
    |(?P<mark>:=|[=|(),])
    |(?P<end>\}\})""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))"
)
_CHARS: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an action."""

    kind: str
    text: str
    apart: bool  # whether white space stands before it


@dataclass(frozen=True, slots=True)
class Action:
    """What stands between {{ and }}."""

    tokens: tuple[Token, ...]
    source: str


def pieces(source: str) -> Iterator[str | Action]:
    """Yield texts and actions in turn. Comments are gone."""
    at, trim = 0, False
    while True:
        begin = source.find("{{", at)
        text = source[at:] if begin < 0 else source[at:begin]
        text = text.lstrip(SPACE) if trim else text
        if begin < 0:
            yield text
            return
        left = source[begin + 2 : begin + 3] == "-" and source[begin + 3 : begin + 4] in (*SPACE,)
        yield text.rstrip(SPACE) if left else text
        comment = _COMMENT.match(source, begin)
        if comment is not None:
            at, trim = comment.end(), comment[0].endswith("-}}")
            continue
        tokens, at, trim = _tokens(source, begin + (3 if left else 2))
        yield Action(tokens, source[begin:at])


def _tokens(source: str, at: int) -> tuple[tuple[Token, ...], int, bool]:
    """Return the tokens of an action, where it ends, and whether it trims what follows."""
    found: list[Token] = []
    apart = False
    while at < len(source):
        if apart and source.startswith("-}}", at):
            return tuple(found), at + 3, True
        token = _TOKEN.match(source, at)
        if token is None:
            raise Mistake(f"cannot read {source[at : at + 20]!r}")
        at = token.end()
        kind = str(token.lastgroup)
        if kind == "end":
            return tuple(found), at, False
        if kind != "space":
            found.append(Token(kind, token[0], apart))
        apart = kind == "space"
    raise Mistake("{{ without its }}")


def unquoted(text: str) -> str:
    """Return what a quoted text or char stands for."""
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    return _ESCAPE.sub(_unescaped, text[1:-1])


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return _CHARS[found[1]]
    code = found[2] or found[3] or found[4]
    if code or found[5]:
        number = int(code, 16) if code else int(found[5], 8)
        if number < 0xD800 or 0xE000 <= number < 0x110000:
            return chr(number)
    raise Mistake(f"{found[0]} is no escape")


def number(text: str) -> int | float:
    """Return a number as Go reads it: whole unless it has a point or an exponent."""
    digits = text.replace("_", "")
    try:
        if digits.lstrip("+-")[:2].lower() in ("0x", "0b", "0o"):
            return int(digits, 0)
        if any(char in digits for char in ".eE"):
            return float(digits)
        octal = len(digits.lstrip("+-")) > 1 and digits.lstrip("+-").startswith("0")
        whole = int(digits, 8 if octal else 10)
    except ValueError as error:
        raise Mistake(f"{text} is no number") from error
    if not -(1 << 63) <= whole < 1 << 63:
        raise Mistake(f"{text} has more than 64 bits")
    return whole
