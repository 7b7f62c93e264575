"""Families of counters and histograms over curves. In: labels and rates by second. Out: families at
a moment.

The rule this file owns: a histogram's sum follows from its buckets, so counts, buckets and sums of
one moment always agree and none of them ever falls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from producers.rehearsal.curves import Curves, Floats, middles
from producers.rehearsal.exposition import Family, Histogram, Labels, Sample


@dataclass(frozen=True, slots=True)
class Counted:
    """A family of counters, in steps of 1 / `per_unit`. `late`: absent until first occurrence."""

    name: str
    help: str
    labels: Sequence[Labels]
    curves: Curves
    late: bool = False
    per_unit: int = 1

    def at(self, second: float) -> Family:
        """Return the family at a second of the story."""
        counts = self.curves.counts(second)[:, 0].tolist()
        pairs = zip(self.labels, counts, strict=True)
        members = [
            Sample(labels, count / self.per_unit)
            for labels, count in pairs
            if count or not self.late
        ]
        return Family(self.name, "counter", self.help, members)


@dataclass(frozen=True, slots=True)
class Measured:
    """A family of histograms. `late`: as in Counted."""

    name: str
    help: str
    labels: Sequence[Labels]
    bounds: Sequence[float]
    curves: Curves
    late: bool = False

    def at(self, second: float) -> Family:
        """Return the family at a second of the story."""
        counts = self.curves.counts(second)
        sums = (counts @ middles(self.bounds)).tolist()
        members = [
            Histogram(labels, self.bounds, row, total)
            for labels, row, total in zip(self.labels, counts.tolist(), sums, strict=True)
            if any(row) or not self.late
        ]
        return Family(self.name, "histogram", self.help, members)


Moving = Counted | Measured


def counted(
    scope: str,
    name: str,
    text: str,
    rates: Sequence[tuple[Labels, Floats]],
    *,
    late: bool = False,
    per_unit: int = 1,
) -> Counted:
    """Return a family of counters. `scope`: whose they are; `rates`: per second by second."""
    labels = [one for one, _ in rates]
    stacked = np.stack([rate for _, rate in rates], axis=1)[:, :, None] * per_unit
    return Counted(name, text, labels, Curves(_names(scope, name, labels), stacked), late, per_unit)


def measured(
    scope: str,
    name: str,
    text: str,
    bounds: Sequence[float],
    rates: Sequence[tuple[Labels, Floats]],
    *,
    late: bool = False,
) -> Measured:
    """Return a family of histograms. `rates`: (seconds, buckets) per second."""
    labels = [one for one, _ in rates]
    stacked = np.stack([rate for _, rate in rates], axis=1)
    return Measured(name, text, labels, bounds, Curves(_names(scope, name, labels), stacked), late)


def gauge(name: str, text: str, *members: tuple[Labels, float]) -> Family:
    """Return a family of gauges."""
    return Family(name, "gauge", text, [Sample(*member) for member in members])


def _names(scope: str, name: str, labels: Sequence[Labels]) -> list[str]:
    return [f"{scope}/{name}/{sorted(one.items())}" for one in labels]
