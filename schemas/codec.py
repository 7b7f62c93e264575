"""Turn JSON records into bytes and back. In: a frozen record or bytes. Out: the other one, or
DecodeError.

The rule this file owns: what cannot be read says where it is wrong (`$.lines[3].ts_ms`) and is
never guessed.
"""

from typing import TypeVar

import msgspec

from schemas.errors import DecodeError
from schemas.records import Record

R = TypeVar("R", bound=Record)

_encoder = msgspec.json.Encoder()


def encode(record: Record) -> bytes:
    """Return `record` as JSON; the same record always gives the same bytes."""
    return _encoder.encode(record)


def decode(value: bytes | None, kind: type[R]) -> R:
    """Return `value` as a record of `kind`.

    Raises:
        DecodeError: no JSON, a field missing or of a wrong type; the message names the field.
    """
    if value is None:
        raise DecodeError(f"expected {kind.__name__}, found a tombstone")
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a {kind.__name__}: {error}") from error
