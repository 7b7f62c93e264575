"""Compare the text of a body with the one before, line by line. In: bytes. Out: its samples, as
long as only values differ.

The rule this file owns: every byte that is no value must be what it was when the body was read
strictly; only then is a value what it stands for. All lines are compared at once: the columns of
Arrow lie over the body, nothing is copied.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from producers.core.columns import Floats, Index
from producers.core.numbers import parse_float

_LINE_END: Final = 10
_BLOCK_BYTES: Final = 1 << 18  # what is looked at in one go stays in the cache of the processor
_BODY_BYTES_MAX: Final = 2**31 - 1  # offsets of Arrow are 32 bits


class Lines:
    """The newest body of a target, and what its lines are. Changed by each `samples`."""

    def __init__(self, keys: Index, samples: Index, values: Floats, before: pa.Array) -> None:
        self._keys = keys  # (lines,) bytes before the value; a comment is key to its end
        self._samples = samples  # (lines,) the number of its sample; -1 of a comment
        self._values = values  # (samples,)
        self._before = before  # (2 * lines + 1,) key, value, key, value, ..., the last line end

    def samples(self, body: bytes) -> Floats | None:
        """Return the values of a body whose keys and comments are those of the one before.

        None where anything else differs, or a value is no number: read it strictly.
        """
        now = _elements(body, _ends(body), self._keys)
        if now is None:
            return None
        same = pc.equal(now, self._before).to_numpy(zero_copy_only=False)
        if not same[0::2].all():
            return None
        changed = np.flatnonzero(~same[1::2])
        if len(changed):
            found = _numbers(now.take(pa.array(2 * changed + 1)))
            if found is None:
                return None
            self._values = self._values.copy()
            self._values[self._samples[changed]] = found
        self._before = now
        return self._values


def lines(body: bytes, values: Sequence[float]) -> Lines | None:
    """Return what the next body is compared with.

    body: one that was read strictly and found to be comments and `key value`, nothing else.
    values: of its samples.
    """
    if len(body) > _BODY_BYTES_MAX:
        return None
    every = body.split(b"\n")[:-1]
    keys = np.fromiter(map(_key_bytes, every), np.int64, len(every))
    sampled = np.fromiter((bool(one) and one[:1] != b"#" for one in every), np.bool_, len(every))
    samples = np.where(sampled, np.cumsum(sampled) - 1, -1)
    before = _elements(body, _ends(body), keys)
    if before is None or int(sampled.sum()) != len(values):
        return None
    return Lines(keys, samples, np.array(values, np.float64), before)


def _key_bytes(line: bytes) -> int:
    return len(line) if line[:1] in {b"#", b""} else line.rfind(b" ") + 1


def _ends(body: bytes) -> Index:
    """Return where the line ends are."""
    text = np.frombuffer(body, np.uint8)
    blocks = range(0, len(text), _BLOCK_BYTES)
    found = [np.flatnonzero(text[at : at + _BLOCK_BYTES] == _LINE_END) + at for at in blocks]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _elements(body: bytes, ends: Index, keys: Index) -> pa.Array | None:
    """Return the body as key, value, key, value, ...; a key begins with the line end before.

    None where the body has other lines.
    """
    if len(ends) != len(keys) or not len(ends) or ends[-1] != len(body) - 1:
        return None
    starts = np.concatenate([np.zeros(1, np.int64), ends])  # of keys, with the line end before
    values = starts[:-1] + keys
    values[1:] += 1
    if (values > ends).any():
        return None
    offsets = np.empty(2 * len(ends) + 2, np.int32)
    offsets[0:-2:2], offsets[1:-2:2] = starts[:-1], values
    offsets[-2], offsets[-1] = ends[-1], len(body)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(body)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _numbers(texts: pa.Array) -> Floats | None:
    """Return numbers as Go reads them; None where one is none.

    Arrow reads what Go reads, but for `+1`, `-nan` and what is out of range: the first is refused
    there, the others are not finite.
    """
    try:
        found = texts.cast(pa.utf8()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        found = np.full(len(texts), np.nan)
    odd = np.flatnonzero(~np.isfinite(found))
    if not len(odd):
        return np.asarray(found)
    read = [parse_float(texts[int(at)].as_py()) for at in odd]
    if None in read:
        return None
    found = found.copy()
    found[odd] = read
    return np.asarray(found)
