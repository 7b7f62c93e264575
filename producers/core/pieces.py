"""Cut a body into pieces by family, without reading its numbers. In: the bytes of a body. Out: its
pieces in turn: of which family they are, where they are, and how many samples they have.

The rule this file owns: the pieces of a body are all of it, and each sample is in a piece of the
family that `exposition.py` and `protobuf.py` take it for. Text is orderly as a rule: the comments
of a family, then its samples, of which only the names are looked at; a block that is not orderly is
looked at line by line. Nothing but the piece at hand is in memory.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge
from typing import Final

from producers.core.keys import PARTS_OF, SUFFIXES, family_of
from producers.core.labels import KEY, BadLine, parse_key
from producers.core.metricfamily import KINDS, Cut, framed, sample_count
from schemas.records import Kind

NO_FAMILY: Final = ""
"""Of pieces without a sample: what nobody can read, and what was cut."""
KINDS_MAX: Final = 20_000  # types that are remembered; a server declares a few hundred

_COMMENT: Final = re.compile(
    rb"[ \t]*#[ \t]+(HELP|TYPE)[ \t]+([a-zA-Z_:][a-zA-Z0-9_:]*)(?:[ \t]+(\S+)[ \t]*)?"
)
_NAME: Final = re.compile(rb"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)")
_QUOTED: Final = re.compile(rb"[ \t]*(" + KEY + rb")")  # a series whose name is in its braces
_MARKS: Final = (b"# HELP ", b"# TYPE ")
_BEHIND: Final = ("{", " ")  # what follows the name of a sample


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a body from `start` to before `stop`."""

    family: str
    start: int
    stop: int
    samples: int


def text_pieces(body: bytes) -> Iterator[Piece]:
    """Yield the pieces of a body in the text format; one without a sample may have a family."""
    kinds: dict[str, Kind] = {}
    start, name = 0, ""
    for at in merge(*(_line_starts(body, mark) for mark in _MARKS)):
        comment = _COMMENT.match(body, at)
        if comment and (found := comment[2].decode()) != name:
            yield from _block(body, start, at, name, kinds)
            start, name = at, found
        if comment:
            _declare(kinds, comment)
    yield from _block(body, start, len(body), name, kinds)


def protobuf_pieces(body: bytes) -> Iterator[Piece]:
    """Yield the pieces of a delimited body, one a family; at its end what cannot be read."""
    stop = 0
    try:
        for start, stop, family in framed(body):
            name = family.name.decode(errors="replace")
            yield Piece(name, start, stop, _samples(family.type, family.metric))
    except (Cut, BadLine):
        yield Piece(NO_FAMILY, stop, len(body), 0)


def _line_starts(body: bytes, mark: bytes) -> Iterator[int]:
    """Yield where lines begin that begin with a mark."""
    if body.startswith(mark):
        yield 0
    at = body.find(b"\n" + mark)
    while at >= 0:
        yield at + 1
        at = body.find(b"\n" + mark, at + 1)


def _declare(kinds: dict[str, Kind], comment: re.Match[bytes]) -> None:
    """Take note of a type; of one that we do not know, samples are families by themselves."""
    if comment[1] == b"TYPE" and len(kinds) < KINDS_MAX:
        with suppress(ValueError):
            kind = Kind((comment[3] or b"").decode(errors="replace").lower())
            kinds.setdefault(comment[2].decode(), kind)


def _block(
    body: bytes, start: int, stop: int, family: str, kinds: dict[str, Kind]
) -> Iterator[Piece]:
    """Yield the pieces of what follows the comments of a family up to those of the next one."""
    at = start
    while at < stop and body.startswith(b"#", at):
        at = (body.find(b"\n", at, stop) + 1) or stop
    samples, kind = body.count(b"\n", at, stop), kinds.get(family, Kind.UNTYPED)
    named = at == stop or (family and _named(body, family, kind, slice(at - 1, stop), samples))
    if start < at and named:
        yield Piece(family, start, stop, samples)
    elif start < stop:
        yield from _lines(body, start, stop, kinds)


def _named(body: bytes, family: str, kind: Kind, place: slice, lines: int) -> bool:
    """Tell whether all lines of a place begin with the name of a sample of a family."""
    suffixes = [one for one, part in SUFFIXES.items() if part in PARTS_OF.get(kind, ())]
    if kind is not Kind.HISTOGRAM:
        suffixes.append("")
    for behind in _BEHIND:
        for suffix in suffixes:
            mark = f"\n{family}{suffix}{behind}".encode()
            lines -= body.count(mark, place.start, place.stop)
            if not lines:
                return True
    return False


def _lines(body: bytes, start: int, stop: int, kinds: dict[str, Kind]) -> Iterator[Piece]:
    """Yield lines, those of the same family that follow each other as one piece."""
    begin, family, samples = start, NO_FAMILY, 0
    at = start
    while at < stop:
        end = (body.find(b"\n", at, stop) + 1) or stop
        found, more = _line(body[at:end], kinds)
        if found != family:
            if at > begin:
                yield Piece(family, begin, at, samples)
            begin, family, samples = at, found, 0
        samples += more
        at = end
    yield Piece(family, begin, stop, samples)


def _line(line: bytes, kinds: dict[str, Kind]) -> tuple[str, int]:
    """Return the family of a line, and how many samples it is, 0 or 1."""
    if found := _NAME.match(line):
        return family_of(found[1].decode(), kinds), 1
    if comment := _COMMENT.match(line):
        _declare(kinds, comment)
        return comment[2].decode(), 0
    with suppress(BadLine):
        if quoted := _QUOTED.match(line):
            return family_of(parse_key(quoted[1])[0], kinds), 1
    return NO_FAMILY, 0


def _samples(kind: int, metrics: Iterable[bytes]) -> int:
    """Return how many samples the text of a family has; 0 of one that has no text."""
    if kind not in KINDS:
        return 0
    return sum(sample_count(KINDS[kind], metric) for metric in metrics)
