"""Cut a scrape into records. In: an envelope and rows. Out: encoded chunks, each small enough for
Kafka.

The rule this file owns: a record holds whole families, so that the inputs of an indicator are in
one record; only a family that is too big by itself is cut, between rows. Sizes are those of encoded
records: rows differ too much in size to be counted.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import msgspec
import pyarrow as pa

from producers.core.rows import Row, to_batch
from schemas.arrow import CHUNK_BYTES_MAX, encode_scrape
from schemas.records import ScrapeEnvelope
from schemas.series import layout_id

_ROW_BYTES: Final = 100  # columns of a row without its buckets, in the dictionary-coded layout
_FILL: Final = 0.9  # of a record: families are not cut, so pieces differ in size
_PLACEHOLDER: Final = {"chunk": 99_999, "chunks": 99_999, "layout": 2**64 - 1}
"""The longest numbers an envelope may hold: the final record is never larger than the tried one."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One record of a scrape."""

    envelope: ScrapeEnvelope
    value: bytes


def encode_chunks(
    envelope: ScrapeEnvelope, rows: Sequence[Row], *, bytes_max: int = CHUNK_BYTES_MAX
) -> list[Chunk]:
    """Return the records of one scrape, at least one.

    `rows` and `chunk` of the envelope are filled in; a row that fits no record by itself is left
    out, and the difference to `envelope.series` is what a reader sees of it.
    """
    tried = msgspec.structs.replace(envelope, rows=len(rows), **_PLACEHOLDER)
    pieces = list(_pieces(tried, rows, bytes_max)) or [_Piece((), to_batch(()))]
    kept = sum(len(piece.rows) for piece in pieces)
    whole = msgspec.structs.replace(envelope, rows=kept, chunks=len(pieces))
    return [
        _chunk(msgspec.structs.replace(whole, chunk=number), piece)
        for number, piece in enumerate(pieces)
    ]


@dataclass(frozen=True, slots=True)
class _Piece:
    rows: Sequence[Row]
    batch: pa.RecordBatch


def _chunk(envelope: ScrapeEnvelope, piece: _Piece) -> Chunk:
    layout = layout_id(row.series.id for row in piece.rows) if piece.rows else 0
    final = msgspec.structs.replace(envelope, layout=layout)
    return Chunk(final, encode_scrape(final, piece.batch))


def _pieces(tried: ScrapeEnvelope, rows: Sequence[Row], bytes_max: int) -> Iterator[_Piece]:
    """Yield runs of `rows` whose records fit."""
    batch = to_batch(rows)
    size = len(encode_scrape(tried, batch))
    if size <= bytes_max:
        yield _Piece(rows, batch)
    elif len(rows) > 1:
        for part in _split(rows, math.ceil(size / (bytes_max * _FILL))):
            yield from _pieces(tried, part, bytes_max)


def _split(rows: Sequence[Row], parts: int) -> list[Sequence[Row]]:
    """Cut `rows` into about `parts` of the same weight, at family boundaries where there are any.

    Returns at least two, none of them empty.
    """
    families = [list(group) for _, group in groupby(rows, lambda row: row.series.metric)]
    groups = families if len(families) > 1 else [[row] for row in rows]
    weights = [sum(map(_weight, group)) for group in groups]
    share = sum(weights) / parts
    cut: list[Sequence[Row]] = []
    piece: list[Row] = []
    filled = 0.0
    for group, weight in zip(groups, weights, strict=True):
        if piece and filled + weight > share:
            cut.append(piece)
            piece, filled = [], 0.0
        piece.extend(group)
        filled += weight
    return [*cut, piece]


def _weight(row: Row) -> int:
    return _ROW_BYTES + 8 * len(row.buckets or ())
