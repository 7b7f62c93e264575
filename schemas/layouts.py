"""Remember what the rows of scrapes are. In: rows that were read in full. Out: the rows of later
records with the same series, of which only the values were read.

The rule this file owns: what a row is never changes while its series, kind and bounds do not. The
layout is where to look; the bytes of those three columns are compared, so no hash is trusted. What
is remembered is bounded: the layout that was used longest ago goes first, and is counted.
"""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

LAYOUTS_BYTES_MAX: Final = 256_000_000
"""An API server with 23,000 samples has 0.2 MB of labels, one with 100,000 has 0.8 MB."""

_IDENTITY: Final = ("series", "kind", "bounds")
_VALUES: Final = ("value", "count", "buckets")


@dataclass(frozen=True, slots=True)
class _Known:
    schema: pa.Schema  # of whole rows
    rows: int
    columns: dict[str, pa.Array]  # all but the values
    nbytes: int


class Layouts:
    """The columns that do not change from scrape to scrape, by layout."""

    def __init__(self, bytes_max: int = LAYOUTS_BYTES_MAX) -> None:
        self.dropped = 0  # layouts that had to go for others, since the beginning
        self.nbytes = 0
        self._bytes_max = bytes_max
        self._known: dict[int, _Known] = {}  # the last one was used last

    def filled(self, layout: int, rows: pa.RecordBatch) -> pa.RecordBatch | None:
        """Return the rows with the labels that are remembered; None where they must be read.

        rows: as they came, of the schema of a scrape; only what is returned was checked.
        """
        known = self._known.get(layout)
        if known is None or not _same(known, rows) or rows.column("value").null_count:
            return None
        self._known[layout] = self._known.pop(layout)
        columns = dict(known.columns)
        for name in _VALUES:
            columns[name] = rows.column(name)
            columns[name].validate(full=True)
        every = [columns[name] for name in known.schema.names]
        return pa.RecordBatch.from_arrays(every, schema=known.schema)

    def add(self, layout: int, rows: pa.RecordBatch) -> None:
        """Remember rows that were read in full."""
        self._drop(layout)
        found = self._known[layout] = _known(rows)
        self.nbytes += found.nbytes
        while self.nbytes > self._bytes_max:
            self._drop(next(iter(self._known)))
            self.dropped += 1

    def _drop(self, layout: int) -> None:
        if (found := self._known.pop(layout, None)) is not None:
            self.nbytes -= found.nbytes


def _known(rows: pa.RecordBatch) -> _Known:
    """Copy the labels: they came as part of a message, which would stay for as long as they do."""
    labels = rows.select([name for name in rows.schema.names if name not in _VALUES])
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, labels.schema) as stream:
        stream.write_batch(labels)
    copied = pa.ipc.open_stream(out.getvalue()).read_next_batch()
    columns = dict(zip(labels.schema.names, copied.columns, strict=True))
    return _Known(rows.schema, len(rows), columns, copied.nbytes)


def _same(known: _Known, rows: pa.RecordBatch) -> bool:
    """Compare bytes: columns that nobody checked yet must not be followed anywhere."""
    return known.rows == len(rows) and all(
        _equal(known.columns[name], rows.column(name)) for name in _IDENTITY
    )


def _equal(one: pa.Array, other: pa.Array) -> bool:
    if isinstance(one, pa.DictionaryArray):
        return _equal(one.indices, other.indices) and _equal(one.dictionary, other.dictionary)
    pairs = zip(one.buffers(), other.buffers(), strict=True)
    return len(one) == len(other) and all(
        a is b or (a is not None and b is not None and a.equals(b)) for a, b in pairs
    )
