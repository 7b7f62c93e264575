"""Read the bodies of one target in the protobuf format. In: body after body. Out: what each says.

The rule this file owns: the columns are those of the text of the same state. A body with the
families, labels and bounds of the one before gives numbers (`repeated.py`), any other is read from
the beginning.
"""

from dataclasses import dataclass
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


@dataclass(slots=True)
class _Body:
    """A body that was read from the beginning; a list has an element for each metric."""

    metrics: list[bytes]
    shapes: list[Shape]
    starts: list[int]  # of its numbers in `values`
    slots: list[Slot]
    values: list[float]
    families: int = 0
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
            plausible=bool(read.families) or not read.unreadable,
            more=read.more,
            natives=read.natives,
            inexact=folded.inexact,
        )
        where = places(read.slots, exposition.columns.layout) if exposition.clean else None
        self._known = _Known(body, read, where, exposition.samples) if whole and where else None
        return exposition


def _read(body: bytes, keys: Keys, samples_max: int) -> _Body:
    found = _Body([], [], [], [], [])
    types: dict[bytes, int] = {}
    try:
        for family in families(body):
            found.families += 1
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

    def __init__(self, body: bytes, read: _Body, where: Places, samples: int) -> None:
        values = np.array(read.values, np.float64)
        self._repeated = Repeated(body, read.metrics, read.shapes, read.starts, values)
        self._places, self._samples, self._natives = where, samples, read.natives

    def again(self, body: bytes) -> Exposition | None:
        """Return what a body says that has the metrics of the one before; None where others."""
        values = self._repeated.again(body)
        if values is None or not self._exact(values):
            return None
        columns = self._places.columns(values)
        if columns is None:
            return None
        negative = negative_rows(columns)
        return Exposition(columns, self._samples, negative=negative, natives=self._natives)

    def _exact(self, values: Floats) -> bool:
        """Tell whether all counts are what a float says."""
        counts = self._places.count
        return bool((values[counts[counts >= 0]] < EXACT_MAX).all())
