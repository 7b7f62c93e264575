"""Quote texts as Go does. In: texts. Out: texts in quotes, with escapes."""

from typing import Final

_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def quoted(value: str, *, ascii_only: bool = False) -> str:
    """Return a text in quotes, with Go's escapes."""
    inner = "".join(_ESCAPES.get(char) or _escaped(char, ascii_only=ascii_only) for char in value)
    return f'"{inner}"'


def quoted_char(char: str) -> str:
    """Return a char in quotes, with Go's escapes."""
    inner = (
        {"'": "\\'", '"': '"'}.get(char) or _ESCAPES.get(char) or _escaped(char, ascii_only=False)
    )
    return f"'{inner}'"


def _escaped(char: str, *, ascii_only: bool) -> str:
    code = ord(char)
    if char.isprintable() and (code < 0x80 or not ascii_only):
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
