"""Frame records for the spool. In: a record on its way to Kafka, or bytes from a disk. Out: the
other one, or how far to go to the next one that is whole.

The rule this file owns: a frame is a mark, a length, a checksum over length and body, and the body.
What is cut, or has one wrong byte, is never read as a record, and costs no other record: reading
goes on at the next mark that begins a whole frame.
"""

import struct
import zlib
from typing import Final

import msgspec

from schemas.errors import DecodeError
from schemas.topics import TopicName

MARK: Final = b"PWS1"  # also the version: another layout of a frame gets another mark
BODY_BYTES_MAX: Final = 2_000_000  # a record and its headers; Kafka takes 1 MB

_HEAD: Final = struct.Struct(">4sII")  # mark, length, checksum
HEAD_BYTES: Final = _HEAD.size
FRAME_BYTES_MAX: Final = HEAD_BYTES + BODY_BYTES_MAX


class Outgoing(msgspec.Struct, frozen=True, array_like=True):
    """A record on its way to Kafka; the partition follows from its cluster."""

    topic: TopicName
    cluster: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Outgoing)


def framed(outgoing: Outgoing) -> bytes:
    """Return a record as a frame."""
    body = _encoder.encode(outgoing)
    return _HEAD.pack(MARK, len(body), _checksum(body)) + body


def body_bytes(head: bytes) -> int | None:
    """Return the length of the body that follows `head`; None where this begins no frame."""
    if len(head) < HEAD_BYTES:
        return None
    mark, length, _ = _HEAD.unpack(head[:HEAD_BYTES])
    return int(length) if mark == MARK and length <= BODY_BYTES_MAX else None


def frame_end(data: bytes, at: int = 0) -> int | None:
    """Return where the frame ends that begins at `at`; None where none does, or it is damaged."""
    head = data[at : at + HEAD_BYTES]
    length = body_bytes(head)
    if length is None:
        return None
    end = at + HEAD_BYTES + length
    body = memoryview(data)[at + HEAD_BYTES : end]
    intact = len(body) == length and _checksum(body) == _HEAD.unpack(head)[2]
    return end if intact else None


def next_frame(data: bytes, at: int) -> int:
    """Return where the first whole frame at or after `at` begins; the end of `data` if none does.

    A mark within a record is tried, too; that its checksum fits is a chance of 1 in 4 billion.
    """
    while (at := data.find(MARK, at)) >= 0:
        if frame_end(data, at) is not None:
            return at
        at += 1
    return len(data)


def outgoing_of(frame: bytes) -> Outgoing:
    """Return the record of a whole frame.

    Raises:
        DecodeError: it is none of ours, as that of a release with other topics.
    """
    try:
        return _decoder.decode(memoryview(frame)[HEAD_BYTES:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"no record of ours is in the frame: {error}") from error


def _checksum(body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(len(body).to_bytes(4, "big")))
