"""Cut a scrape into records. In: an envelope and columns. Out: encoded chunks, each small enough
for Kafka.

The rule this file owns: a record holds whole families, so that the inputs of an indicator are in
one record; only a family that is too big by itself is cut, between rows. Sizes are those of encoded
records: rows differ too much in size to be counted. Where a layout was cut once, it is cut there
again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import msgspec

from producers.core.columns import Columns, Layout, Part
from schemas.arrow import CHUNK_BYTES_MAX, encode_scrape
from schemas.records import ScrapeEnvelope

_ROW_BYTES: Final = 100  # columns of a row without its buckets, in the dictionary-coded layout
_FILL: Final = 0.9  # of a record: families are not cut, so parts differ in size
_PLACEHOLDER: Final = {"chunk": 99_999, "chunks": 99_999, "layout": 2**64 - 1}
"""The longest numbers an envelope may hold: the final record is never larger than the tried one."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One record of a scrape."""

    envelope: ScrapeEnvelope
    value: bytes


def encode_chunks(
    envelope: ScrapeEnvelope, columns: Columns, *, bytes_max: int = CHUNK_BYTES_MAX
) -> list[Chunk]:
    """Return the records of one scrape, at least one.

    `rows` and `chunk` of the envelope are filled in; a row that fits no record by itself is left
    out, and the difference to `envelope.series` is what a reader sees of it.
    """
    layout = columns.layout
    known = layout.cuts.get(bytes_max)
    if known is not None:
        chunks = _encoded(envelope, columns, known)
        if all(len(chunk.value) <= bytes_max for chunk in chunks):
            return chunks
    tried = msgspec.structs.replace(envelope, rows=len(columns), **_PLACEHOLDER)
    found = tuple(_parts(tried, columns, Part(0, len(columns), layout), bytes_max))
    layout.cuts[bytes_max] = found or (Part(0, 0, layout.part(0, 0)),)
    return _encoded(envelope, columns, layout.cuts[bytes_max])


def _encoded(envelope: ScrapeEnvelope, columns: Columns, parts: tuple[Part, ...]) -> list[Chunk]:
    kept = sum(part.stop - part.start for part in parts)
    whole = msgspec.structs.replace(envelope, rows=kept, chunks=len(parts))
    chunks = []
    for number, part in enumerate(parts):
        final = msgspec.structs.replace(whole, chunk=number, layout=part.layout.id)
        chunks.append(Chunk(final, encode_scrape(final, columns.part(part).batch())))
    return chunks


def _parts(tried: ScrapeEnvelope, columns: Columns, whole: Part, bytes_max: int) -> Iterator[Part]:
    """Yield the parts of `whole` whose records fit."""
    size = len(encode_scrape(tried, columns.part(whole).batch()))
    if size <= bytes_max:
        yield whole
    elif whole.stop - whole.start > 1:
        for start, stop in _split(whole, math.ceil(size / (bytes_max * _FILL))):
            part = Part(start, stop, columns.layout.part(start, stop))
            yield from _parts(tried, columns, part, bytes_max)


def _split(whole: Part, parts: int) -> list[tuple[int, int]]:
    """Cut rows into about `parts` of the same weight, at family boundaries where there are any.

    Returns at least two, none of them empty.
    """
    weights = (_ROW_BYTES + 8 * whole.layout.widths).tolist()
    groups = _families(whole.layout)
    if len(groups) == 1:
        groups = [1] * len(whole.layout)
    share = sum(weights) / parts
    cut: list[tuple[int, int]] = []
    start = stop = 0
    filled = 0.0
    for rows in groups:
        weight = sum(weights[stop : stop + rows])
        if stop > start and filled + weight > share:
            cut.append((start, stop))
            start, filled = stop, 0.0
        stop += rows
        filled += weight
    return [(whole.start + a, whole.start + b) for a, b in [*cut, (start, stop)]]


def _families(layout: Layout) -> list[int]:
    """Return how many rows each family has."""
    return [len([*group]) for _, group in groupby(layout.series, lambda one: one.metric)]
