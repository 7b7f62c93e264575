"""Read the Prometheus text format 0.0.4. In: the bytes of a body, the keys seen before. Out: rows,
and everything that was odd about the body.

The rule this file owns: what Prometheus reads we read, with the names that the server gave; a line
that it would refuse is left out and counted, the other lines stay. promhttp ends every body with a
line end: without one the last line was cut and is not believed.

Wider than Go's parser where that keeps data: lines may end in CRLF; bytes that are not UTF-8 are
replaced; one bad line does not refuse the body.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from producers.core.columns import Columns, columns_of
from producers.core.folding import Slot, fold
from producers.core.keys import PARTS_OF, Family, Keys, family_of
from producers.core.labels import KEY, BadLine, parse_key
from producers.core.numbers import DECIMAL, parse_float
from producers.core.rows import Row
from schemas.records import Kind

LINE_BYTES_MAX: Final = 100_000  # a longer line is refused; a record has to hold its labels
EXAMPLE_CHARS_MAX: Final = 120

_INFINITY: Final = float("inf")
_TYPE: Final = re.compile(rb"#[ \t]+TYPE[ \t]+(\S+|\"(?:[^\"\\]|\\.)*\")[ \t]+(\S+)[ \t]*")
_SAMPLE: Final = re.compile(
    rb"(?P<key>" + KEY + rb")(?P<blanks>[ \t]*)(?P<value>[^ \t]+)(?:[ \t]+[+-]?[0-9]+)?[ \t]*"
)  # the optional integer is a time: the time of a sample is that of its scrape
_FIRST: Final = re.compile(
    rb"\s*(?:\Z|#"  # nothing yet, a comment
    rb"|[a-zA-Z_:][a-zA-Z0-9_:]*+(?:\Z|[ \t]*+(?:\Z|\{[ \t]*(?:\Z|[a-zA-Z_\"},])|[-+.0-9nNiI]))"
    rb'|\{[ \t]*(?:\Z|"[^"\n]*(?:\Z|"[ \t]*[,}])))'  # a quoted name; not the colon of JSON
)  # how an exposition may begin, cut anywhere


@dataclass(frozen=True, slots=True)
class Exposition:
    """What a body says."""

    columns: Columns
    samples: int  # lines that were read; the buckets of a histogram count each
    duplicates: int = 0  # samples given again: the first counts
    unreadable: int = 0  # lines
    example: str = ""  # the first unreadable line, and what is wrong with it
    negative: int = 0  # histograms with a bucket below zero
    cut: bool = False  # the last line had no end
    plausible: bool = True  # it begins as an exposition does
    more: bool = False  # samples_max was reached, the rest is left out
    natives: int = 0  # histograms with native buckets only: count and sum are kept
    inexact: int = 0  # histograms and summaries with a count that is not what was told
    left_out: tuple[tuple[str, int], ...] = ()  # families for which there was no room, with samples

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows one by one."""
        return self.columns.rows()

    @property
    def clean(self) -> bool:
        """Tell whether nothing was left out."""
        odd = self.duplicates or self.unreadable or self.cut or self.more or self.inexact
        return self.plausible and not odd

    @property
    def malformed(self) -> bool:
        """Tell whether the body is no exposition: another page, or mostly unreadable."""
        return not self.plausible or self.unreadable > self.samples


def negative_rows(columns: Columns) -> int:
    """Return how many rows have a bucket below zero."""
    if not len(columns.buckets) or columns.buckets.min() >= 0:
        return 0
    starts = columns.layout.starts[:-1][columns.layout.widths > 0]
    return int((np.minimum.reduceat(columns.buckets, starts) < 0).sum())


@dataclass(frozen=True, slots=True)
class Strictly:
    """What a body says, and how it says it."""

    exposition: Exposition
    slots: Sequence[Slot]  # of its samples, in turn
    values: Sequence[float]
    plain: bool  # nothing was odd, and each sample stands as `key value`


def parse(body: bytes, keys: Keys, *, samples_max: int, whole: bool = True) -> Exposition:
    """Return what `body` says; at most `samples_max` samples of it.

    `whole`: False where the caller cut the body.
    """
    return parse_strictly(body, keys, samples_max=samples_max, whole=whole).exposition


def parse_strictly(body: bytes, keys: Keys, *, samples_max: int, whole: bool = True) -> Strictly:
    """Return what `body` says; at most `samples_max` samples of it.

    `whole`: False where the caller cut the body. Then, and past `samples_max`, the last histogram
    or summary is left out: it may lack buckets.
    """
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    cut = bool(lines.pop())
    reader = _Reader(keys)
    more = reader.read(lines, samples_max)
    folded = fold(zip(reader.slots, reader.values, strict=True), keys.bounds)
    rows = folded.rows
    if rows and rows[-1].series.kind in PARTS_OF and (more or not whole):
        rows = rows[:-1]
    exposition = Exposition(
        columns_of(rows),
        samples=len(reader.slots) - folded.duplicates - folded.impossible,
        duplicates=folded.duplicates,
        unreadable=reader.unreadable + folded.impossible,
        example=reader.example,
        negative=folded.negative,
        cut=cut,
        plausible=_FIRST.match(body) is not None,
        more=more,
        inexact=folded.inexact,
    )
    plain = reader.plain and whole and exposition.clean and b"\r" not in body
    return Strictly(exposition, reader.slots, reader.values, plain)


class _Reader:
    """The state of one body: which types were declared, which family the last line was of."""

    def __init__(self, keys: Keys) -> None:
        self.slots: list[Slot] = []
        self.values: list[float] = []
        self.unreadable = 0
        self.example = ""
        self.plain = True  # each sample stands as `key value`
        self._keys = keys
        self._kinds: dict[str, Kind] = {}
        self._sampled: set[str] = set()  # families whose type cannot be declared any more
        self._by_name: dict[bytes, Family] = {}  # until the next TYPE
        self._family = keys.family("", Kind.UNTYPED)

    def read(self, lines: list[bytes], samples_max: int) -> bool:
        """Read `lines`; True if there were more samples than `samples_max`."""
        slots, values = self.slots, self.values
        known = self._family.slots
        for line in lines:
            # The common line, `key value` with a key seen before: one split, one lookup. Only what
            # the strict way read ended up in `known`, so a match is never another sample.
            key, _, text = line.rpartition(b" ")
            slot = known.get(key)
            if slot is not None and text and not text.translate(None, DECIMAL):
                try:
                    value = float(text)
                except ValueError:
                    value = _INFINITY
                if -_INFINITY < value < _INFINITY:
                    slots.append(slot)
                    values.append(value)
                else:
                    self._refuse(line, "no number")
            else:
                self._odd(line)
                known = self._family.slots
            if len(slots) > samples_max:
                del slots[samples_max:], values[samples_max:]
                return True
        return False

    def _odd(self, said: bytes) -> None:
        line = said.lstrip(b" \t")
        self.plain &= line == said
        try:
            if line.startswith(b"#"):
                self._comment(line)
            elif line:
                self._sample(line)
        except BadLine as bad:
            self._refuse(line, str(bad))

    def _comment(self, line: bytes) -> None:
        """Note a TYPE; every other comment, HELP too, says nothing that we keep."""
        found = _TYPE.fullmatch(line)
        if found is None:
            return
        name = found[1].strip(b'"').decode(errors="replace")
        if name in self._kinds or name in self._sampled:
            raise BadLine(f"TYPE of {name} after its samples, or twice")
        try:
            kind = Kind(found[2].decode(errors="replace").lower())
        except ValueError as unknown:
            raise BadLine(f"unknown TYPE of {name}") from unknown
        self._kinds[name] = kind
        self._by_name.clear()
        self._family = self._keys.family(name, kind)

    def _sample(self, line: bytes) -> None:
        if len(line) > LINE_BYTES_MAX:
            raise BadLine(f"a line of {len(line)} bytes")
        found = _SAMPLE.fullmatch(line)
        if found is None:
            raise BadLine("not a series, a value and perhaps a time")
        key, name, blanks, text = found.group("key", "name", "blanks", "value")
        if not blanks and not key.endswith(b"}"):
            raise BadLine("no value")
        value = parse_float(text)
        if value is None:
            raise BadLine("no number")
        self.plain &= line == key + b" " + text
        self.slots.append(self._slot(key, name))
        self.values.append(value)

    def _slot(self, key: bytes, name: bytes | None) -> Slot:
        slot = self._family.slots.get(key)
        if slot is not None:
            return slot
        family = self._by_name.get(name) if name else None
        if family is None:
            family = self._family_of(name.decode() if name else parse_key(key)[0])
            self._sampled.add(family.name)
            if name:
                self._by_name[name] = family
        self._family = family
        return family.slots.get(key) or family.add(key)

    def _family_of(self, name: str) -> Family:
        """Return the family that a sample called `name` belongs to."""
        family = family_of(name, self._kinds)
        return self._keys.family(family, self._kinds.get(family, Kind.UNTYPED))

    def _refuse(self, line: bytes, why: str) -> None:
        self.unreadable += 1
        if not self.example:
            self.example = f"{line[:EXAMPLE_CHARS_MAX].decode(errors='replace')}: {why}"
