"""Give columns the type that they have in ClickHouse. In: batches in Arrow, and the names of their
types. Out: batches whose times are times.

The rule this file owns: ClickHouse writes DateTime, Enum and addresses as bare numbers or bytes
into Arrow; here they become times and texts again. Whatever has no such type stays as it came.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

import pyarrow as pa

Types = Mapping[str, str]

_WRAPPED: Final = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")
_ZONE: Final = re.compile(r"DateTime\('(.+)'\)")
_ENUM: Final = re.compile(r"'((?:[^'\\]|\\.)*)' = (-?\d+)")


def typed(reader: pa.RecordBatchReader, types: Types) -> pa.RecordBatchReader:
    """Return the same batches with the columns of `types` (name -> ClickHouse's type) converted."""
    empty = pa.RecordBatch.from_arrays(
        [pa.array([], field.type) for field in reader.schema], schema=reader.schema
    )
    schema = _converted(empty, types).schema
    return pa.RecordBatchReader.from_batches(
        schema, (_converted(batch, types).cast(schema) for batch in reader)
    )


def _converted(batch: pa.RecordBatch, types: Types) -> pa.RecordBatch:
    columns = [
        _column(column, _bare(types.get(name, "")))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _column(column: pa.Array, kind: str) -> pa.Array:
    if (kind == "DateTime" or kind.startswith("DateTime(")) and pa.types.is_uint32(column.type):
        zone = _ZONE.fullmatch(kind)
        return column.cast(pa.int64()).cast(pa.timestamp("s", zone[1] if zone else "UTC"))
    if kind.startswith("Enum") and pa.types.is_integer(column.type):
        names = {int(number): _unescaped(name) for name, number in _ENUM.findall(kind)}
        return _each(column, names.__getitem__)
    convert = _TEXT_OF.get(kind)
    return _each(column, convert) if convert else column


def _each(column: pa.Array, convert: Callable[[Any], str]) -> pa.Array:
    values = (None if value is None else convert(value) for value in column.to_pylist())
    return pa.array(values, pa.string())


def _bare(kind: str) -> str:
    while wrapped := _WRAPPED.fullmatch(kind):
        kind = wrapped[1]
    return kind


def _unescaped(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _whole(value: bytes, *, signed: bool) -> str:
    return str(int.from_bytes(value, "little", signed=signed))


_TEXT_OF: Final[Mapping[str, Callable[[Any], str]]] = {
    "IPv4": lambda value: str(IPv4Address(value)),
    "IPv6": lambda value: str(IPv6Address(value)),
    "UUID": str,
    **dict.fromkeys(("Int128", "Int256"), partial(_whole, signed=True)),
    **dict.fromkeys(("UInt128", "UInt256"), partial(_whole, signed=False)),
}
