"""Give the long memory of a target its form in the table. In: banks and rings that reach back
further than a replay. Out: structs of texts, times and packed numbers, and back.

The rules this file owns:
- Texts, not codes: another process numbers its texts anew, and another release may keep other
  labels. What no rule reads any more is left out, what a new rule reads begins anew.
- Numbers come back bit by bit: they are packed by the difference to their neighbours in time, as
  integers, and compressed.
"""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from streams.core.promql.labels import Codes, Floats, Strings


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """A matrix of 8-byte numbers."""

    rows: int
    columns: int
    data: bytes


class Table(msgspec.Struct, frozen=True, array_like=True):
    """Label sets: the texts of each label, one for each set; "" is the absent label."""

    names: list[str]
    texts: list[list[str]]
    n: int


class GroupsPast(msgspec.Struct, frozen=True, array_like=True):
    """The groups of one accumulator."""

    what: str
    since_ms: int
    table: Table
    bounds: list[str | None]  # of the buckets of each group
    slot: list[int]
    width: list[int]
    born_ms: list[float]
    ended_ms: list[float]


class BankPast(msgspec.Struct, frozen=True, array_like=True):
    """A bank and its history."""

    reach: tuple[int, int]
    groups: list[GroupsPast]
    times_ms: list[int]
    levels: list[int]
    vectors: Packed  # (times, slots)


class RingPast(msgspec.Struct, frozen=True, array_like=True):
    """A ring: the samples of each time, one after the other."""

    what: str
    first_ms: int
    table: Table
    times_ms: list[int]
    counts: list[int]  # samples of each time
    columns: Packed  # (1, samples)
    values: Packed  # (1, samples)


class SumsPast(msgspec.Struct, frozen=True, array_like=True):
    """Sums and numbers of samples over time."""

    what: str
    first_ms: int
    table: Table
    times_ms: list[int]
    levels: list[int]
    vectors: Packed  # (times, 2 x series): sum and number of each


class Past(msgspec.Struct, frozen=True):
    """The long memory of one target; of recorded names, which have rings only."""

    first_ms: int
    banks: list[BankPast]
    rings: list[RingPast]
    sums: list[SumsPast] = []


def past_name(job: str, instance: str, path: str) -> str:
    """Return the name of the past of a target."""
    return xxhash.xxh3_64_hexdigest(f"{job}/{instance}/{path}".encode())


def packed(numbers: NDArray[Any]) -> Packed:
    """Pack a matrix of float64 or int64; rows that follow each other should be alike."""
    rows, columns = numbers.shape
    bits = np.ascontiguousarray(numbers).view(np.uint64).copy()
    bits[1:] ^= bits[:-1].copy()
    planes = bits.view(np.uint8).reshape(rows * columns, 8).T if bits.size else bits
    data = pa.compress(np.ascontiguousarray(planes).tobytes(), codec="zstd", asbytes=True)
    return Packed(rows, columns, data)


def unpacked(one: Packed) -> NDArray[np.uint64]:
    """Return the bits of a packed matrix; view them as what they were."""
    size = one.rows * one.columns
    if not size:
        return np.zeros((one.rows, one.columns), np.uint64)
    raw = pa.decompress(one.data, decompressed_size=size * 8, codec="zstd", asbytes=True)
    planes = np.frombuffer(raw, np.uint8).reshape(8, size)
    bits = np.ascontiguousarray(planes.T).view(np.uint64).reshape(one.rows, one.columns)
    return np.bitwise_xor.accumulate(bits, axis=0)


def floats(one: Packed) -> Floats:
    """Return a packed matrix of float64."""
    return unpacked(one).view(np.float64)


def table_of(columns: dict[str, Codes], n: int, strings: Strings) -> Table:
    """Return label sets as texts."""
    names = sorted(columns)
    return Table(names, [[strings.text(int(c)) for c in columns[name]] for name in names], n)


def columns_of(table: Table, strings: Strings) -> dict[str, Codes]:
    """Return label sets as this process numbers them."""
    return {
        name: strings.codes(texts) for name, texts in zip(table.names, table.texts, strict=True)
    }
