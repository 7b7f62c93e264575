"""Read the name and labels of a series. In: the bytes before a value, `name{label="value"}`. Out:
the name and its labels, or BadLine.

The rule this file owns: a series is read strictly, once. Label values may hold everything but a
line end: `} 5,`, escaped quotes, blanks; a label given twice or a broken quote refuses the line.
"""

import re
from collections.abc import Iterable
from typing import Final

Labels = dict[str, str]

_BLANKS: Final = rb"[ \t]*"
_QUOTED: Final = rb'"(?:[^"\\]++|\\.)*+"'
_NAME: Final = rb"[a-zA-Z_:][a-zA-Z0-9_:]*+"
_BLOCK: Final = rb'\{(?:[^"}]++|' + _QUOTED + rb")*+\}"

KEY: Final = rb"(?:(?P<name>" + _NAME + rb")(?:" + _BLANKS + _BLOCK + rb")?+|" + _BLOCK + rb")"
"""A series up to its end: `name`, `name{...}` or, with a quoted name, `{"na.me",...}`."""

_PAIR: Final = re.compile(
    _BLANKS + rb"(?:([a-zA-Z_][a-zA-Z0-9_]*)|(" + _QUOTED + rb"))" + _BLANKS
    + rb"(?:=" + _BLANKS + rb"(" + _QUOTED + rb"))?" + _BLANKS
)  # fmt: skip
_ESCAPE: Final = re.compile(r'\\(["\\n])')
_MEANING: Final = {'"': '"', "\\": "\\", "n": "\n"}


class BadLine(ValueError):
    """A line that no Prometheus would read."""


def parse_key(key: bytes) -> tuple[str, Labels]:
    """Return the name and the labels of `key`, which matches KEY; empty values are dropped.

    Bytes that are not UTF-8 are replaced: a distorted label is better than a missing sample.

    Raises:
        BadLine: broken quotes, a label twice, no name.
    """
    head, _, block = key.partition(b"{")
    name = head.strip(b" \t").decode()
    labels: Labels = {}
    block = block[:-1]
    at = 0
    while at < len(block.rstrip(b" \t")):
        found = _PAIR.match(block, at)
        if found is None:
            raise BadLine(f"no label at {block[at : at + 40]!r}")
        label, quoted, value = found.groups()
        if value is None:
            if quoted is None or name:
                raise BadLine(f"a label without a value at {block[at : at + 40]!r}")
            name = _unquote(quoted)
        else:
            _add(labels, label.decode() if label else _unquote(quoted), _unquote(value))
        at = found.end()
        if at < len(block):
            if block[at : at + 1] != b",":
                raise BadLine(f"no comma at {block[at : at + 40]!r}")
            at += 1
    if not name:
        raise BadLine("no metric name")
    return name, {label: value for label, value in labels.items() if value}


def read_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> Labels:
    """Return labels that were given as pairs; empty values are dropped.

    Raises:
        BadLine: a label twice, or a reserved one.
    """
    labels: Labels = {}
    for label, value in pairs:
        _add(labels, label.decode(errors="replace"), value.decode(errors="replace"))
    return {label: value for label, value in labels.items() if value}


def _add(labels: Labels, label: str, value: str) -> None:
    if label in labels:
        raise BadLine(f"label {label} twice")
    if label == "__name__":
        raise BadLine("label __name__ is reserved")
    labels[label] = value


def _unquote(quoted: bytes) -> str:
    text = quoted[1:-1].decode(errors="replace")
    return _ESCAPE.sub(lambda found: _MEANING[found[1]], text) if "\\" in text else text
