"""Cut the bytes of a growing file into lines. In: bytes from an offset. Out: lines, a new offset.

The rule this file owns: a line counts when its end is there; until then it is read again. A line
that is too long is cut, and the rest of it is passed over, so that no file can fill the memory.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cut:
    """Whole lines, how many bytes are done with, and whether the rest of a line is passed over."""

    lines: list[bytes]
    consumed: int
    skipping: bool
    too_long: int = 0


def cut(data: bytes, *, skipping: bool, line_bytes_max: int, ended: bool) -> Cut:
    """Return the lines in `data`, without their ends; empty lines are none.

    `skipping`: `data` begins within a line that was cut before. `ended`: the file will not grow,
    its last line needs no end.
    """
    start = 0
    if skipping:
        start = data.find(b"\n") + 1
        if start == 0:
            return Cut([], len(data), skipping=not ended)
    end = data.rfind(b"\n") + 1
    rest = data[max(end, start) :]
    whole = data[start:end].split(b"\n") if end > start else []
    if rest and (ended or len(rest) > line_bytes_max):
        whole.append(rest)
        rest, skipping = b"", not ended
    else:
        skipping = False
    lines = [line.rstrip(b"\r") for line in whole]
    return Cut(
        [line[:line_bytes_max] for line in lines if line],
        len(data) - len(rest),
        skipping,
        sum(len(line) > line_bytes_max for line in lines),
    )
