"""Mutate bodies of both formats, and read them a second time by nobody of ours.

In: a good body, edits; or any body. Out: a broken body; or its samples, as the Python client of
Prometheus and the runtime of protobuf tell them. Rule: nothing of producers is used to read; a body
that these refuse raises Refused.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, tuple[tuple[str, str], ...], float]
Samples = Counter[Sample]

_RESERVED: Final = re.compile(r'[{,][ \t]*"?__')

Edit = tuple[str, int, int]
"""What is done, where, and with which of the pieces."""

NAN: Final = -123.25
"""Stands for NaN, which is not equal to itself."""

PIECES: Final = (
    *(b'"', b"{", b"}", b",", b"=", b" ", b"\t", b"\n", b"\r\n", b"\\", b"#", b"\x00", b"\xff"),
    *(b"\xc3", b"_", b"+", b"-", b".", b"e", b"1e999", b"NaN", b"+Inf", b"-1", b"0x1", b"2.5"),
    *(b"le=", b"quantile=", b"_sum", b"_count", b"_bucket", b"# TYPE ", b" histogram", b" 5"),
    *(b"__name__", b'a="b"', b"9007199254740993", b"18446744073709551616", b"\x0a", b"\x7f"),
    *(bytes([number]) for number in range(0, 256, 7)),
    *(b"%d" % digit for digit in range(10)),
)
TEXT_KINDS: Final = (
    *("replace", "insert", "drop", "byte", "digit", "line", "twice", "swap", "move", "cut"),
)
PROTOBUF_KINDS: Final = (*("replace", "insert", "drop", "byte", "cut"), *["message"] * 5)


class Refused(ValueError):
    """A body, or a part of it, that cannot be read."""


class Reserved(ValueError):
    """A label has a name that the client of Prometheus, unlike its server, keeps for itself."""


def mutated(body: bytes, edits: Sequence[Edit]) -> bytes:
    """Return a body after all edits."""
    for kind, place, number in edits:
        body = _mutated(body, kind, place, number)
    return body


def _mutated(body: bytes, kind: str, place: int, number: int) -> bytes:
    at, piece = place % (len(body) + 1), PIECES[number % len(PIECES)]
    if kind == "message":
        return _with_another_message(body, place, number)
    if kind in {"line", "twice", "swap"}:
        return _with_other_lines(body, kind, place, number)
    if kind == "move":
        moved, rest = body[at : at + 1 + number % 40], body[:at] + body[at + 1 + number % 40 :]
        to = number % (len(rest) + 1)
        return rest[:to] + moved + rest[to:]
    if kind == "digit":
        digits = [n for n, byte in enumerate(body) if 48 <= byte < 58] or [at]
        at = digits[place % len(digits)]
    after, between = {
        "replace": (at + len(piece), piece),
        "insert": (at, piece),
        "drop": (at + 1 + number % 5, b""),
        "byte": (at + 1, bytes([number % 256])),
        "digit": (at + 1, b"%d" % (number % 10)),
        "cut": (len(body), b""),
    }[kind]
    return body[:at] + between + body[after:]


def _with_other_lines(body: bytes, kind: str, place: int, number: int) -> bytes:
    every = body.split(b"\n")
    every = [*(line + b"\n" for line in every[:-1]), every[-1]]
    line, other = place % len(every), number % len(every)
    if kind == "line":
        del every[line]
    elif kind == "twice":
        every.insert(other, every[line])
    else:
        every[line], every[other] = every[other], every[line]
    return b"".join(every)


def _with_another_message(body: bytes, place: int, number: int) -> bytes:
    """Return a body in which one metric, or its family, says something else, if it can be read."""
    try:
        families = [MetricFamily.FromString(message) for message in _messages(body)]
    except (Refused, DecodeError):
        return body
    able = [family for family in families if family.metric]
    if not able:
        return body
    family = able[place % len(able)]
    metric = family.metric[place // 7 % len(family.metric)]
    _change(families, family, metric, number)
    return b"".join(_length(one.ByteSize()) + one.SerializeToString() for one in families)


def _change(families: list[Any], family: Any, metric: Any, number: int) -> None:
    match number % 8:
        case 0:
            family.metric.remove(metric)
        case 1:
            family.metric.add().CopyFrom(metric)
        case 2:
            families.append(families.pop(number % len(families)))
        case 3:
            family.type = number // 8 % 6
        case 4:
            families.append(MetricFamily.FromString(family.SerializeToString()))
            families[-1].type = number // 8 % 5
        case 5:
            metric.label.add(name=b"n%d" % (number % 3), value=b"%d" % (number % 5))
        case _:
            _change_value(getattr(metric, TYPES[family.type % len(TYPES)]), number // 8)


def _change_value(value: Any, number: int) -> None:
    """Let the value of a metric be another; counts of all lengths."""
    large = (number * 2_654_435_761) % (1 << (1 + number % 64))
    buckets: Any = getattr(value, "bucket", ())
    one = buckets[number // 7 % len(buckets)] if buckets else None
    match number % 7:
        case _ if hasattr(value, "value"):
            value.value = large / 3 - number
        case 0 if one:
            one.cumulative_count = large
        case 1 if one:
            one.upper_bound = large / 7
        case 2 if one:
            one.exemplar = b"\x11" + bytes(8)
        case 3 if one:
            one.cumulative_count, one.cumulative_count_float = 0, large / 2
        case 4 if one:
            buckets.remove(one)
        case 5 if hasattr(value, "schema"):
            value.schema = 3
        case _:
            value.sample_count = large


def _length(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _length(high) if high else bytes([low])


def text_samples(body: bytes) -> Samples:
    """Return what the client finds in a text body.

    Types are kept from it: it would rename counters. What it is laxer about is no sample anyway.

    Raises:
        Refused: it does not read the body.
    """
    text = body.replace(b"\r\n", b"\n").decode(errors="replace")
    lines = (line for line in text.split("\n") if not line.lstrip(" \t").startswith("#"))
    try:
        return Counter(
            sample(one.name, one.labels, one.value)
            for family in text_string_to_metric_families("\n".join(lines))
            for one in family.samples
        )
    except (ValueError, IndexError) as error:  # both, where it does not expect the line
        if _RESERVED.search(text):
            raise Reserved(str(error)) from error
        raise Refused(str(error)) from error


def sample(name: str, labels: dict[str, str], value: float) -> Sample:
    """Return a sample that can be compared: bounds as numbers, NaN equal to itself."""
    named = {k: _bound(v) if k in {"le", "quantile"} else v for k, v in labels.items() if v}
    return name, tuple(sorted(named.items())), NAN if math.isnan(value) else float(value)


def _bound(text: str) -> str:
    try:
        return str(float(text))
    except ValueError:
        return text


_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "sint32": _Field.TYPE_SINT32,
    "uint64": _Field.TYPE_UINT64,
}
_MODEL: Final = """
LabelPair: name 1 bytes, value 2 bytes
Gauge: value 1 double
Counter: value 1 double, exemplar 2 bytes
Untyped: value 1 double
Quantile: quantile 1 double, value 2 double
Summary: sample_count 1 uint64, sample_sum 2 double, quantile 3 *Quantile
Bucket: cumulative_count 1 uint64, upper_bound 2 double, exemplar 3 bytes,
  cumulative_count_float 4 double
Histogram: sample_count 1 uint64, sample_sum 2 double, bucket 3 *Bucket,
  sample_count_float 4 double, schema 5 sint32
Metric: label 1 *LabelPair, gauge 2 Gauge, counter 3 Counter, summary 4 Summary,
  untyped 5 Untyped, histogram 7 Histogram
MetricFamily: name 1 bytes, help 2 bytes, type 3 int32, metric 4 *Metric
"""
"""prometheus/client_model, as far as it has to do with values; * is repeated."""


def _family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="tests/model.proto", package="model")
    for line in _MODEL.replace(",\n ", ",").strip().splitlines():
        message, _, fields = line.partition(": ")
        made = file.message_type.add(name=message)
        for name, number, told in (one.split() for one in fields.split(",")):
            kind = told.removeprefix("*")
            label = _Field.LABEL_REPEATED if told != kind else _Field.LABEL_OPTIONAL
            field = made.field.add(name=name, number=int(number), label=label)
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".model.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("model.MetricFamily"))


MetricFamily: Final = _family_class()
TYPES: Final = ("counter", "gauge", "summary", "untyped", "histogram")


def protobuf_samples(body: bytes) -> Samples:
    """Return what the runtime of protobuf finds in a delimited body.

    Raises:
        Refused: it does not read the body, or a metric lacks the value of its type.
    """
    found: Samples = Counter()
    for message in _messages(body):
        try:
            family = MetricFamily.FromString(message)
        except DecodeError as error:
            raise Refused(str(error)) from error
        if not 0 <= family.type < len(TYPES):
            raise Refused(f"type {family.type}")
        for metric in family.metric:
            kind = TYPES[family.type]
            if not metric.HasField(kind):
                raise Refused(f"no {kind}")
            name = family.name.decode(errors="replace")
            found.update(_told(name, _labels(metric), kind, getattr(metric, kind)))
    return found


def _messages(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        length = shift = 0
        while True:
            if at == len(body):
                raise Refused("cut in a length")
            byte = body[at]
            length, shift, at = length | (byte & 0x7F) << shift, shift + 7, at + 1
            if byte < 0x80:
                break
        if at + length > len(body):
            raise Refused("cut in a message")
        yield body[at : at + length]
        at += length


def _labels(metric: Any) -> dict[str, str]:
    pairs = [
        (one.name.decode(errors="replace"), one.value.decode(errors="replace"))
        for one in metric.label
    ]
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused("a label twice")
    return dict(pairs)


def _told(name: str, labels: dict[str, str], kind: str, value: Any) -> Iterator[Sample]:
    if kind not in {"summary", "histogram"}:
        yield sample(name, labels, value.value)
        return
    count = value.sample_count
    if kind == "summary":
        for one in value.quantile:
            yield sample(name, labels | {"quantile": repr(one.quantile)}, one.value)
    else:
        count = count or value.sample_count_float
        buckets = [
            (one.upper_bound, one.cumulative_count or one.cumulative_count_float)
            for one in value.bucket
        ]
        if math.inf not in dict(buckets):
            buckets.append((math.inf, count))  # client_golang leaves it out
        for bound, cumulative in buckets:
            yield sample(f"{name}_bucket", labels | {"le": repr(bound)}, cumulative)
    yield sample(f"{name}_sum", labels, value.sample_sum)
    yield sample(f"{name}_count", labels, count)
