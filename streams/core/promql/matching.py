"""Match two vectors by labels. In: two vectors and the words of `on`, `ignoring`, `group_left`.
Out: for each left row the right row it meets.

The rule this file owns: label sets are numbered over both tables at once and remembered; which rows
are present is looked at each time. The metric name takes part only where `on` names it; what
all series of a cluster share takes no part: a recorded result has it, a fresh aggregation has not.
"""

from dataclasses import dataclass

import numpy as np

from streams.core.promql.labels import NAME, Index, Labels, Mask, factorize
from streams.core.promql.vector import EvaluationError, Vector


@dataclass(frozen=True, slots=True)
class Matching:
    """How rows of two sides find each other."""

    labels: frozenset[str] = frozenset()
    on: bool = False  # else: ignoring
    many: str = ""  # "left" or "right": the side of which many rows may meet one
    include: tuple[str, ...] = ()  # labels taken from the other side

    def signature(self, left: Labels, right: Labels, shared: frozenset[str]) -> tuple[str, ...]:
        """Return the labels that must be equal.

        shared: labels that are the same on all series, hence tell no two apart, also where one
        side has aggregated them away.
        """
        if self.on:
            return tuple(sorted(self.labels - shared))
        return tuple(sorted({*left.names, *right.names} - self.labels - {NAME} - shared))

    def result(self, left: Labels) -> Labels:
        """Return the labels of the results of one-to-one matching."""
        return left.keep(self.labels) if self.on else left.drop(self.labels)


@dataclass(frozen=True, slots=True)
class Sides:
    """The number of each row's label set, the same for equal sets of both sides."""

    left: Index
    right: Index
    sets: int

    def has(self, here: Mask, *, right: bool) -> Mask:
        """Return which sets have a row that is here, on one side."""
        found = np.zeros(self.sets, np.bool_)
        found[(self.right if right else self.left)[here]] = True
        return found


def sides(left: Labels, right: Labels, matching: Matching, shared: frozenset[str]) -> Sides:
    """Number the label sets of two tables; `shared` labels are the same on all series."""
    key = right, matching
    return left.beside("sides", key, lambda: _sides(left, right, matching, shared))


def _sides(left: Labels, right: Labels, matching: Matching, shared: frozenset[str]) -> Sides:
    names = matching.signature(left, right, shared)
    columns = [np.concatenate([left.column(name), right.column(name)]) for name in names]
    ids, first = factorize(columns, left.n + right.n)
    return Sides(ids[: left.n], ids[left.n :], len(first))


@dataclass(frozen=True, slots=True)
class Met:
    """Which row of the other side each row meets."""

    partner: Index
    meets: Mask
    sets: Index  # the number of each row's label set

    def refuse_many(self, results: Mask) -> None:
        """Raise EvaluationError where several results come from the same row of the other side."""
        if int(np.bincount(self.sets[results], minlength=1).max()) > 1:
            raise EvaluationError(
                "several series of the left side match one of the right: "
                "many-to-one matching must be written, with group_left"
            )


def meet(many: Vector, one: Vector, matching: Matching, shared: frozenset[str]) -> Met:
    """Return for each row of `many` the row of `one` it meets, and whether there is one.

    shared: labels that are the same on all series.

    Raises EvaluationError where several rows of `one` could be meant.
    """
    found = sides(many.labels, one.labels, matching, shared)
    rows = np.flatnonzero(one.present)
    sets = found.right[rows]
    if len(sets) and int(np.bincount(sets).max()) > 1:
        side = "left" if matching.many == "right" else "right"
        raise EvaluationError(f"several series of the {side} side match the same labels")
    where = np.full(found.sets, -1, np.int64)
    where[sets] = rows
    partner = where[found.left]
    return Met(partner, many.present & (partner >= 0), found.left)
