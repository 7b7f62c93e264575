"""Greet clickhouse-go, which Grafana's data source speaks with. In: its first statement, and what
the engine answers. Out: that answer in the form that this client takes at first.

The rule this file owns: answers in the format Native have no protocol revision (0), which is all
that the embedded engine writes. clickhouse-go reads its first answer as one of the revision that it
speaks itself, learns from it which one the server speaks, and uses that from then on; so the first
answer says 0, and it alone has the marks of a later revision: a block's head, a byte per column.
"""

from dataclasses import replace
from typing import Final

from sinks.core.asked import Statement

ASKED: Final = b"SELECT displayName(), version(), revision(), timezone()"
ANSWERED: Final = b"SELECT displayName(), version(), toUInt32(0), timezone()"
ROW_FORM: Final = "RowBinaryWithNamesAndTypes"

_BLOCK_HEAD: Final = bytes([1, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0])  # no overflow, no bucket
_WIDTH_OF: Final = {"UInt32": 4}


def greeting(statement: Statement) -> Statement | None:
    """Return what to ask the engine where `statement` is the greeting, else None."""
    said = statement.settings.get("client_protocol_version", "0")
    if said == "0" or statement.form != "Native" or statement.text.strip() != ASKED:
        return None
    return replace(statement, text=ANSWERED, form=ROW_FORM)


def greeted(row: bytes) -> bytes:
    """Return a row of strings and UInt32 in RowBinaryWithNamesAndTypes as a block of Native."""
    columns, at = row[0], 1
    heads = []
    for _ in range(2 * columns):  # names, then types
        text, at = _text(row, at)
        heads.append(text)
    block = bytearray(_BLOCK_HEAD) + bytes([columns, 1])
    for name, kind in zip(heads[:columns], heads[columns:], strict=True):
        width = _WIDTH_OF.get(kind[1:].decode())
        value, at = (row[at : at + width], at + width) if width else _text(row, at)
        block += name + kind + b"\0" + value
    return bytes(block)


def _text(row: bytes, at: int) -> tuple[bytes, int]:
    """Return a string with its length before it, and where the next value begins."""
    end = at + 1 + row[at]
    if row[at] > 127:
        raise AssertionError("no name, version or time zone has 128 bytes")
    return row[at:end], end
