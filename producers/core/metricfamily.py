"""Decode messages of the protobuf exposition format. In: bytes. Out: families, and the numbers of
one metric in the order in which the text format tells them.

The rule this file owns: the fields are those of `io.prometheus.client` (metrics.proto of
prometheus/client_model); of a histogram that has classic and native buckets the classic ones count.
A family leaves its metrics undecoded: most say what they said before.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from producers.core.keys import MetricKey
from producers.core.labels import BadLine
from schemas.records import Kind

KINDS: Final = {
    0: Kind.COUNTER,
    1: Kind.GAUGE,
    2: Kind.SUMMARY,
    3: Kind.UNTYPED,
    4: Kind.HISTOGRAM,
}
"""Types that the text format has, too; a gauge histogram (5) is none."""

_FIELDS: Final = {Kind.COUNTER: "counter", Kind.GAUGE: "gauge", Kind.UNTYPED: "untyped"}
_LABEL_TAG: Final = 0x0A
_LENGTH_BYTES_MAX: Final = 5  # of the varint before a family: less than 2^35 bytes

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "sint32": _Field.TYPE_SINT32,
    "uint64": _Field.TYPE_UINT64,
}
_MESSAGES: Final = {
    "LabelPair": "1 name bytes, 2 value bytes",
    "Timestamp": "1 seconds int64, 2 nanos int32",
    "Gauge": "1 value double",
    "Counter": "1 value double, 3 created_timestamp Timestamp",
    "Untyped": "1 value double",
    "Quantile": "1 quantile double, 2 value double",
    "Summary": "1 sample_count uint64, 2 sample_sum double, 3 quantile Quantile*, "
    "4 created_timestamp Timestamp",
    "Bucket": "1 cumulative_count uint64, 2 upper_bound double, 4 cumulative_count_float double",
    "Histogram": "1 sample_count uint64, 2 sample_sum double, 3 bucket Bucket*, "
    "4 sample_count_float double, 5 schema sint32, 15 created_timestamp Timestamp",
    "Metric": "1 label LabelPair*, 2 gauge Gauge, 3 counter Counter, 4 summary Summary, "
    "5 untyped Untyped, 7 histogram Histogram",
    "MetricFamily": "1 name bytes, 3 type int32, 4 metric bytes*",
}
"""Number, name and type of each field that is read; * is repeated."""


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="planewatch/metrics.proto", package="planewatch", syntax="proto2"
    )
    for message, fields in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for text in fields.split(", "):
            number, name, kind = text.split(" ")
            repeated = kind.endswith("*")
            kind = kind.removesuffix("*")
            field = made.field.add(
                name=name,
                number=int(number),
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
            )
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".planewatch.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"planewatch.{name}"))
        for name in _MESSAGES
    }


CLASSES: Final = _classes()
"""The message classes by name; tests write bodies with them."""
_Family: Final = CLASSES["MetricFamily"]
_Metric: Final = CLASSES["Metric"]


class Cut(ValueError):
    """A body ends within a message."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one metric says."""

    key: MetricKey
    numbers: tuple[float, ...]  # buckets or quantiles, sum, count; or the one value
    native: bool  # a native histogram without classic buckets: its count and sum are told


def families(body: bytes) -> Iterator[Any]:
    """Yield the families of a delimited body: `name`, `type` (an int), `metric` (bytes each).

    Raises as `framed` does.
    """
    return (family for _, _, family in framed(body))


def framed(body: bytes) -> Iterator[tuple[int, int, Any]]:
    """Yield the families with the places where each begins, at its length, and ends.

    Raises:
        Cut: the body ends within a family.
        BadLine: what should be a family is none.
    """
    at = 0
    while at < len(body):
        start = at
        length, at = _length(body, at)
        if at + length > len(body):
            raise Cut
        try:
            family = _Family.FromString(body[at : at + length])
        except DecodeError as error:
            raise BadLine(f"no metric family at byte {at}") from error
        if not family.name:
            raise BadLine(f"a metric family without a name at byte {at}")
        at += length
        yield start, at, family


def _length(body: bytes, at: int) -> tuple[int, int]:
    """Return the varint at a place, and the place behind it."""
    length = 0
    for number in range(_LENGTH_BYTES_MAX):
        if at + number == len(body):
            raise Cut
        byte = body[at + number]
        length |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            return length, at + number + 1
    raise BadLine(f"no length of a metric family at byte {at}")


def told(kind: Kind, metric: bytes) -> Told:
    """Return what a metric of a family of this type says.

    Raises:
        BadLine: it cannot be decoded, or has no value of this type.
    """
    try:
        found = _Metric.FromString(metric)
    except DecodeError as error:
        raise BadLine("a metric that cannot be decoded") from error
    labels = tuple((pair.name, pair.value) for pair in found.label)
    field = _FIELDS.get(kind, str(kind.value))
    if not found.HasField(field):
        raise BadLine(f"a metric without a value of type {kind.value}")
    value = getattr(found, field)
    if kind is Kind.HISTOGRAM:
        return _histogram(labels, value)
    if kind is Kind.SUMMARY:
        quantiles = value.quantile
        numbers = (*(one.value for one in quantiles), value.sample_sum, value.sample_count)
        return Told((labels, tuple(one.quantile for one in quantiles)), numbers, native=False)
    return Told((labels, ()), (value.value,), native=False)


def sample_count(kind: Kind, metric: bytes) -> int:
    """Return how many samples the text of a metric has, without reading its numbers."""
    if kind in _FIELDS:
        return 1
    try:
        found = _Metric.FromString(metric)
    except DecodeError:
        return 0
    if kind is Kind.SUMMARY:
        return len(found.summary.quantile) + 2
    buckets = found.histogram.bucket
    return len(buckets) + (2 if buckets and buckets[-1].upper_bound == math.inf else 3)


def _histogram(labels: tuple[tuple[bytes, bytes], ...], value: Any) -> Told:
    """client_golang leaves out the bucket +Inf, which the text format always has."""
    count = value.sample_count or value.sample_count_float
    buckets = value.bucket
    bounds = tuple(one.upper_bound for one in buckets)
    numbers = [one.cumulative_count or one.cumulative_count_float for one in buckets]
    if math.inf not in bounds:
        bounds += (math.inf,)
        numbers.append(count)
    native = not buckets and value.HasField("schema")
    return Told((labels, bounds), (*numbers, value.sample_sum, count), native=native)


def label_bytes(metric: bytes) -> int:
    """Return the length of the labels that a metric begins with."""
    at = 0
    while at < len(metric) and metric[at] == _LABEL_TAG:
        length, begin = _length(metric, at + 1)
        at = begin + length
    return at
