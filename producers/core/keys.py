"""Remember what the keys of an exposition mean. In: families with their types, raw keys. Out: the
slot of each key.

The rule this file owns: the bytes before a value are read strictly once, then found by comparison,
whichever target and scrape they come from. A key means something only within its family and type,
so a server that changes a TYPE is read anew.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Final

from producers.core.folding import Bounds, Part, Slot
from producers.core.labels import BadLine, Labels, parse_key, read_pairs
from producers.core.numbers import format_float, parse_float
from producers.core.rows import Series, make_series
from schemas.records import Kind

MetricKey = tuple[tuple[tuple[bytes, bytes], ...], tuple[float, ...]]
"""What a metric of a protobuf body is: its labels, and its bounds or quantiles."""

SUFFIXES: Final = {"_bucket": Part.BUCKET, "_sum": Part.SUM, "_count": Part.COUNT}
PARTS_OF: Final = {
    Kind.HISTOGRAM: frozenset(SUFFIXES.values()),
    Kind.SUMMARY: frozenset({Part.SUM, Part.COUNT}),
}

OWN_LABELS: Final = {Kind.HISTOGRAM: "le", Kind.SUMMARY: "quantile"}


class Family:
    """One metric family of one type, and the slots of its keys."""

    def __init__(self, name: str, kind: Kind, size: Counter[str]) -> None:
        """size: counts the slots of all families under `slots`."""
        self.name, self.kind = name, kind
        self._size = size
        self.slots: dict[bytes, Slot] = {}
        self.metrics: dict[MetricKey, tuple[Slot, ...]] = {}  # of messages, not of lines
        self._series: dict[tuple[tuple[str, str], ...], Series] = {}
        self._histograms: dict[bytes, Series] = {}  # by the key of a bucket up to its bound

    def add(self, key: bytes) -> Slot:
        """Return the slot of a key that was not seen before.

        Raises:
            BadLine: the key cannot be read, or is no sample of a family of this type.
        """
        base, bound = _split_bound(key) if self.kind is Kind.HISTOGRAM else (key, None)
        series = self._histograms.get(base)
        if series and bound is not None:  # most lines of a control plane: one more bucket
            slot = Slot(series, Part.BUCKET, _number(bound, "le"))
        else:
            slot = self._slot(*parse_key(key))
            if bound is not None:
                self._histograms[base] = slot.series
        self.slots[key] = slot
        self._size["slots"] += 1
        return slot

    def add_metric(self, key: MetricKey) -> tuple[Slot, ...]:
        """Return the slots of a message that was not seen before, in the order of the text format.

        Raises:
            BadLine: a label twice, a bound that is no number.
        """
        labels, bounds = read_pairs(key[0]), key[1]
        if any(map(math.isnan, bounds)):
            raise BadLine("a bound that is not a number")
        if self.kind not in PARTS_OF:
            slots: list[Slot] = [Slot(self._intern(self.kind, labels), Part.VALUE)]
        else:
            series = self._whole(labels)
            if self.kind is Kind.HISTOGRAM:
                slots = [Slot(series, Part.BUCKET, bound) for bound in bounds]
            else:
                quantiles = ({**labels, "quantile": format_float(bound)} for bound in bounds)
                slots = [Slot(self._intern(Kind.GAUGE, one), Part.VALUE) for one in quantiles]
            slots += [Slot(series, Part.SUM), Slot(series, Part.COUNT)]
        found = self.metrics[key] = tuple(slots)
        self._size["slots"] += len(found)
        return found

    def _slot(self, name: str, labels: Labels) -> Slot:
        if self.kind not in PARTS_OF:
            return Slot(self._intern(self.kind, labels), Part.VALUE)
        part = SUFFIXES.get(name.removeprefix(self.name))
        if part is Part.BUCKET:
            bound = _number(labels.pop("le", "").encode(), "le")
            return Slot(self._intern(self.kind, labels), part, bound)
        if part is not None:
            return Slot(self._whole(labels), part)
        if self.kind is Kind.SUMMARY:
            _number(labels.get("quantile", "").encode(), "quantile")
            return Slot(self._intern(Kind.GAUGE, labels), Part.VALUE)
        raise BadLine(f"{name} is no part of a histogram")

    def _whole(self, labels: Labels) -> Series:
        """Return the series of a histogram or summary.

        Raises:
            BadLine: it has the label of its own buckets or quantiles, so it would be one of them.
        """
        if (label := OWN_LABELS[self.kind]) in labels:
            raise BadLine(f"label {label} on a whole {self.kind.value}")
        return self._intern(self.kind, labels)

    def _intern(self, kind: Kind, labels: Labels) -> Series:
        """Return the one series with these labels, in whatever order they were given."""
        identity = tuple(sorted(labels.items()))
        series = self._series.get(identity)
        if series is None:
            series = self._series[identity] = make_series(self.name, kind, labels)
        return series


def family_of(name: str, kinds: Mapping[str, Kind]) -> str:
    """Return the family that a sample called `name` belongs to, as Go finds it.

    kinds: the types that were declared.
    """
    if name in kinds:
        return name
    for suffix, part in SUFFIXES.items():
        base = name.removesuffix(suffix)
        if base != name and part in PARTS_OF.get(kinds.get(base, Kind.UNTYPED), ()):
            return base
    return name


class Keys:
    """All keys that were read; one for all targets of a process. Not for several threads at once.

    `keys_max` bounds it: the next scrape after the maximum begins from nothing, which costs time
    and changes no result.
    """

    def __init__(self, keys_max: int) -> None:
        self.keys_max = keys_max
        self.bounds = Bounds()
        self._families: dict[tuple[str, Kind], Family] = {}
        self._size: Counter[str] = Counter()

    def family(self, name: str, kind: Kind) -> Family:
        """Return the family `name` of type `kind`, remembered or new."""
        family = self._families.get((name, kind))
        if family is None:
            family = self._families[name, kind] = Family(name, kind, self._size)
        return family

    def trim(self) -> bool:
        """Forget everything if there is more than `keys_max` of it; tell whether that was so."""
        full = self._size["slots"] > self.keys_max
        if full:
            self._families.clear()
            self._size = Counter()
            self.bounds = Bounds()
        return full


def _split_bound(key: bytes) -> tuple[bytes, bytes | None]:
    """Split `x_bucket{verb="GET",le="0.1"}` before `le`; the bound is None where it is not last.

    Quotes alternate in a whole key, so a `le="` with one more quote behind it opens the last value.
    """
    at = key.rfind(b'le="')
    bound = key[at + 4 : -2]
    last = at > 0 and key[at - 1] in b"{," and key.endswith(b'"}')
    return (key[:at], bound) if last and b'"' not in bound and b"\\" not in bound else (key, None)


def _number(text: bytes, label: str) -> float:
    value = parse_float(text)
    if value is None or math.isnan(value):
        raise BadLine(f"label {label} is {text!r}, not a number")
    return value
