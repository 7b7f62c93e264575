"""Counters that only ever grow. In: rates by second of a story. Out: counts at any moment.

The rule this file owns: a counter is a function of event time alone. Before the story it grew at
its calm rate since the process started, within the story by the given rates, afterwards at the calm
rate again. So that calm is no ruler, each counter's time runs a little faster and slower in turn.
"""

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

UPTIME_S: Final = 7_200.0  # of a process, when its story begins
_WOBBLE: Final = 0.12  # share by which a rate swings


class Curves:
    """`names`: one per counter; `rates`: (seconds of the story + 1, counters, parts) per second.

    The last row of `rates` is the calm before and after; `parts` are the buckets of a histogram.
    """

    def __init__(self, names: Sequence[str], rates: Floats) -> None:
        self._calm = rates[-1]
        self._base = self._calm * UPTIME_S
        zero = np.zeros_like(rates[:1])
        self._grown = np.concatenate([zero, np.cumsum(rates[:-1], axis=0)])
        hashes = np.array([zlib.crc32(name.encode()) for name in names], dtype=np.float64)
        self._period_s = 60 + hashes % 120
        self._phase = hashes % 6_283 / 1_000

    def at(self, second: float) -> Floats:
        """Return the (counters, parts) at a second of the story; never less than before."""
        turns = 2 * np.pi / self._period_s
        moment = second + _WOBBLE / turns * np.sin(second * turns + self._phase)
        last = len(self._grown) - 1
        inside = np.clip(moment, 0, last)
        row = np.minimum(inside.astype(np.int64), max(last - 1, 0))
        share = (inside - row)[:, None]
        at = np.arange(len(moment))
        below, above = self._grown[row, at], self._grown[np.minimum(row + 1, last), at]
        outside = np.minimum(moment, 0) + np.maximum(moment - last, 0)
        values: Floats = (
            self._base + below + (above - below) * share + self._calm * outside[:, None]
        )
        return np.maximum(values, 0.0)

    def counts(self, second: float) -> Counts:
        """Return `at` in whole numbers: what has happened, not what is about to."""
        return np.floor(self.at(second)).astype(np.int64)


def spread(median_s: Floats, bounds_s: Sequence[float], sharpness: float) -> Floats:
    """Return the shares of durations by bucket, (..., bounds + 1), for medians of shape (...).

    Log-logistic: the 99th percentile is 99^(1/sharpness) medians.
    """
    with np.errstate(divide="ignore"):
        below = 1 / (1 + (median_s[..., None] / np.array(bounds_s)) ** sharpness)
    edges = np.concatenate([below, np.ones_like(median_s)[..., None]], axis=-1)
    shares: Floats = np.diff(edges, axis=-1, prepend=0.0)
    return shares


def middles(bounds: Sequence[float]) -> Floats:
    """Return a value that lies in each bucket: what its observations count in a sum."""
    edges = np.array([0.0, *bounds, bounds[-1] * 1.5])
    middle: Floats = (edges[:-1] + edges[1:]) / 2
    return middle
