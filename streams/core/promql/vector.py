"""Values of an instant. In: label tables and columns. Out: the vector that every plan node returns.

The rule this file owns: filters clear `present` and leave the table alone, so plans over the table
stay good. Each value carries its `coverage`: the share of its window that was watched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.promql.labels import EMPTY, NAME, Floats, Labels, Mask, stack


class EvaluationError(Exception):
    """A rule cannot be evaluated on the data at hand; it fails alone."""


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector: `labels.n` rows, of which those that are `present` exist."""

    labels: Labels
    values: Floats
    present: Mask
    coverage: Floats

    @property
    def n(self) -> int:
        """Rows of the table, whether present or not."""
        return self.labels.n

    @property
    def whole(self) -> bool:
        """Whether it is known that all rows are present, and fully covered."""
        present, coverage = self.labels.ones
        return self.present is present and self.coverage is coverage

    def relabel(self, labels: Labels) -> "Vector":
        """Return the same values under another table of as many rows."""
        if self.whole:
            return Vector(labels, self.values, *labels.ones)
        return Vector(labels, self.values, self.present, self.coverage)

    def nameless(self) -> "Vector":
        """Return the vector without the metric name."""
        return self.relabel(self.labels.drop((NAME,)))

    def where(self, mask: Mask) -> "Vector":
        """Return the vector with the rows outside `mask` cleared."""
        return Vector(self.labels, self.values, self.present & mask, self.coverage)


Value = Vector | float
"""What a node returns: an instant vector or a scalar."""

NOTHING: Final = Vector(EMPTY, np.zeros(0), np.zeros(0, np.bool_), np.zeros(0))


def vector(labels: Labels, values: Floats) -> Vector:
    """Return a vector whose rows are all present and fully covered."""
    return Vector(labels, values, *labels.ones)


def union(vectors: Sequence[Vector]) -> Vector:
    """Return the rows of all vectors, one after the other."""
    filled = [one for one in vectors if one.labels.n]
    if len(filled) < 2:
        return filled[0] if filled else NOTHING
    labels = stack([one.labels for one in filled])
    values = np.concatenate([one.values for one in filled])
    if all(one.whole for one in filled):
        return Vector(labels, values, *labels.ones)
    return Vector(
        labels,
        values,
        np.concatenate([one.present for one in filled]),
        np.concatenate([one.coverage for one in filled]),
    )


def unnamed(source: Vector) -> Vector:
    """Return a vector without the metric name, as functions and arithmetic leave it."""
    result = source.nameless()
    if result is not source:
        refuse_duplicates(result, "without the metric name")
    return result


def refuse_duplicates(result: Vector, what: str) -> None:
    """Raise EvaluationError where two present rows have the same labels."""
    table = result.labels
    sets, ids = table.group(table.names)
    if sets.n < table.n and int(np.bincount(ids[result.present], minlength=1).max()) > 1:
        raise EvaluationError(f"{what}: two results have the same labels")
