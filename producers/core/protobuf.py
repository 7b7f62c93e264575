"""Read the bodies of one target in the protobuf format. In: body after body. Out: what each says.

The rule this file owns: the columns are those of the text of the same state. Each metric is a
message of its own: one that is what it was before costs a comparison, those whose labels and bounds
are the same give numbers, all else is read from the beginning.
"""

from dataclasses import dataclass
from itertools import compress
from operator import ne
from typing import Any, Final

import numpy as np

from producers.core.columns import Floats, columns_of
from producers.core.exposition import Exposition, negative_rows
from producers.core.folding import Slot, fold
from producers.core.keys import Keys
from producers.core.labels import BadLine
from producers.core.metricfamily import KINDS, Cut, families, told
from producers.core.repeated import Repeated, Shape
from producers.core.retold import Places, places

EXACT_MAX: Final = 2.0**53
"""A count beyond it may not be what a float says: such a body is read from the beginning."""

Signature = list[tuple[bytes, int, int]]
"""Name, type and number of metrics of each family."""


@dataclass(slots=True)
class _Body:
    """A body that was read from the beginning; a list has an element for each metric."""

    signature: Signature
    metrics: list[bytes]
    shapes: list[Shape]
    starts: list[int]  # of its numbers in `values`
    slots: list[Slot]
    values: list[float]
    natives: int = 0
    unreadable: int = 0
    example: str = ""
    cut: bool = False
    more: bool = False

    def refuse(self, why: str) -> None:
        """Count what cannot be read."""
        self.unreadable += 1
        self.example = self.example or why

    def add(self, shape: Shape, metric: bytes, slots: tuple[Slot, ...]) -> None:
        """Take a metric; its numbers follow."""
        self.metrics.append(metric)
        self.shapes.append(shape)
        self.starts.append(len(self.slots))
        self.slots += slots


class ProtobufReader:
    """Reads the bodies of one target. Not for several threads at once."""

    def __init__(self) -> None:
        self._known: _Known | None = None

    def read(self, body: bytes, keys: Keys, *, samples_max: int, whole: bool = True) -> Exposition:
        """Return what `body` says; at most `samples_max` samples of it.

        `whole`: False where the caller cut the body.
        """
        if whole and self._known and (found := self._known.again(body)) is not None:
            return found
        read = _read(body, keys, samples_max)
        folded = fold(zip(read.slots, read.values, strict=True), keys.bounds)
        exposition = Exposition(
            columns_of(folded.rows),
            samples=len(read.slots) - folded.duplicates - folded.impossible,
            duplicates=folded.duplicates,
            unreadable=read.unreadable + folded.impossible,
            example=read.example,
            negative=folded.negative,
            cut=read.cut,
            plausible=bool(read.signature) or not read.unreadable,
            more=read.more,
            natives=read.natives,
            inexact=folded.inexact,
        )
        where = places(read.slots, exposition.columns.layout) if exposition.clean else None
        self._known = _Known(read, where, exposition.samples) if whole and where else None
        return exposition


def _read(body: bytes, keys: Keys, samples_max: int) -> _Body:
    found = _Body([], [], [], [], [], [])
    types: dict[bytes, int] = {}
    try:
        for family in families(body):
            found.signature.append((family.name, family.type, len(family.metric)))
            if types.setdefault(family.name, family.type) != family.type:
                found.refuse(f"{family.name!r} is of type {family.type}, and was of another")
            elif family.type not in KINDS:
                found.refuse(f"{family.name!r} is of type {family.type}, which has no text")
            elif not _read_family(found, family, keys, samples_max):
                found.more = True
                break
    except Cut:
        found.cut = True
    except BadLine as bad:
        found.refuse(str(bad))
    return found


def _read_family(found: _Body, family: Any, keys: Keys, samples_max: int) -> bool:
    """Read the metrics of a family; False where there are more samples than `samples_max`."""
    kind = KINDS[family.type]
    known = keys.family(family.name.decode(errors="replace"), kind)
    for metric in family.metric:
        try:
            said = told(kind, metric)
            slots = known.metrics.get(said.key) or known.add_metric(said.key)
        except BadLine as bad:
            found.refuse(f"{known.name}: {bad}")
            continue
        if len(found.slots) + len(slots) > samples_max:
            return False
        found.add((kind, said.key[1]), metric, slots)
        found.values += said.numbers
        found.natives += said.native
    return True


class _Known:
    """A body that the next one may repeat with other numbers."""

    def __init__(self, body: _Body, where: Places, samples: int) -> None:
        self._signature, self._metrics = body.signature, body.metrics
        self._values = np.array(body.values, np.float64)
        self._places, self._samples, self._natives = where, samples, body.natives
        self._fast = Repeated(body.metrics, body.shapes, body.starts, self._values)

    def again(self, body: bytes) -> Exposition | None:
        """Return what a body says that has the metrics of the one before; None where others."""
        metrics = self._metrics_of(body)
        values = self._numbers(metrics) if metrics is not None else None
        columns = self._places.columns(values) if values is not None else None
        if metrics is None or values is None or columns is None:
            return None
        self._metrics, self._values = metrics, values
        negative = negative_rows(columns)
        return Exposition(columns, self._samples, negative=negative, natives=self._natives)

    def _metrics_of(self, body: bytes) -> list[bytes] | None:
        """Return the metrics of a body, None where its families are others."""
        try:
            found = [*families(body)]
        except (Cut, BadLine):
            return None
        if [(one.name, one.type, len(one.metric)) for one in found] != self._signature:
            return None
        return [metric for family in found for metric in family.metric]

    def _numbers(self, metrics: list[bytes]) -> Floats | None:
        """Return the numbers of metrics, None where one has other labels or bounds than before."""
        differ = compress(range(len(metrics)), map(ne, metrics, self._metrics))
        values = self._values.copy()
        if not self._fast.read(metrics, np.fromiter(differ, np.int64), values):
            return None
        counts = values[self._places.count[self._places.count >= 0]]
        return values if (counts < EXACT_MAX).all() else None
