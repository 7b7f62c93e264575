"""Join the chunks of a scrape. In: chunks of one cluster in the order of their partition. Out:
whole scrapes.

The rule this file owns: a scrape is whole or it never existed. Chunks come in order; a chunk that
was sent twice is passed over, a chunk that is missing makes its scrape incomplete, and an older
scrape that a spool sends late never displaces a newer one that is half here. What is half here for
3 intervals of event time is given up: the producer died in it, and a replay would begin there. A
replay joins what was half here at its rewind point, and nothing else from before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import pyarrow as pa

from schemas.arrow import Frame
from schemas.identity import Target
from schemas.records import ScrapeEnvelope
from schemas.series import layout_id
from streams.core.samples import Scrape

OPEN_INTERVALS_MAX: Final = 3
OPEN_BYTES_MAX: Final = 256_000_000
"""Of all half-received scrapes of a cluster; beyond it the oldest are given up, and counted."""


class Dropped(Enum):
    """Why a chunk led to nothing."""

    REPEATED = "repeated_chunk"
    INCOMPLETE = "incomplete_scrape"
    TOO_MANY = "open_bytes_max"


@dataclass(slots=True)
class _Open:
    """A scrape whose last chunk has not come yet."""

    first_offset: int
    since_ms: int  # event time
    envelope: ScrapeEnvelope
    batches: list[pa.RecordBatch] = field(default_factory=list)
    layouts: list[int] = field(default_factory=list)
    nbytes: int = 0

    def add(self, frame: Frame[ScrapeEnvelope]) -> None:
        self.envelope = frame.envelope
        self.batches.append(frame.rows)
        self.layouts.append(frame.envelope.layout)
        self.nbytes += frame.rows.nbytes

    def whole(self) -> Scrape:
        if len(self.batches) == 1:
            return Scrape(self.envelope, self.batches[0], self.layouts[0])
        return Scrape(self.envelope, pa.Table.from_batches(self.batches), layout_id(self.layouts))


class Assembler:
    """The half-received scrapes of one cluster: at most one per target."""

    def __init__(
        self,
        open_bytes_max: int = OPEN_BYTES_MAX,
        *,
        known_to: int = -1,
        waiting: Mapping[int, int] | None = None,
        newest_ms: int = 0,
    ) -> None:
        """Begin, or go on from a rewind point.

        known_to: the last offset before the point; waiting: as `waiting` said there.
        """
        self._open: dict[Target, _Open] = {}
        self._open_bytes_max = open_bytes_max
        self._known_to, self._known = known_to, dict(waiting or {})
        self._newest_ms = newest_ms  # tick

    def add(self, offset: int, frame: Frame[ScrapeEnvelope]) -> tuple[Scrape | None, list[Dropped]]:
        """Take one chunk; return the scrape that it completes, and what was given up for it."""
        envelope = frame.envelope
        target = target_of(envelope)
        found = self._open.get(target)
        if found is not None and found.envelope.scrape_id == envelope.scrape_id:
            return self._continue(target, found, frame)
        dropped = []
        if envelope.chunk > 0:
            return None, [Dropped.INCOMPLETE]  # its beginning was lost, or given up before
        if offset <= self._known_to and offset not in self._known:
            return None, []  # it was whole at the rewind point, or given up
        if found is not None:
            dropped.append(Dropped.INCOMPLETE)
            if envelope.tick_ms < found.envelope.tick_ms:
                return None, dropped
            del self._open[target]
        since_ms = self._known.pop(offset, max(envelope.tick_ms, self._newest_ms))
        opened = _Open(offset, since_ms, envelope)
        opened.add(frame)
        if envelope.chunks == 1:
            return opened.whole(), dropped
        self._open[target] = opened
        return None, dropped + self._within_limits()

    def pass_time(self, newest_ms: int) -> list[Dropped]:
        """Give up what was half here for too long when event time has come to a newest tick."""
        self._newest_ms = newest_ms
        old = [
            target
            for target, one in self._open.items()
            if newest_ms - one.since_ms > OPEN_INTERVALS_MAX * one.envelope.interval_ms
        ]
        for target in old:
            del self._open[target]
        return [Dropped.INCOMPLETE] * len(old)

    @property
    def waiting(self) -> dict[int, int]:
        """The first offsets of what is half here, and since when it is, in event time."""
        return {one.first_offset: one.since_ms for one in self._open.values()}

    @property
    def first_offset(self) -> int | None:
        """The offset of the oldest chunk that still waits for others."""
        return min((one.first_offset for one in self._open.values()), default=None)

    def _continue(
        self, target: Target, found: _Open, frame: Frame[ScrapeEnvelope]
    ) -> tuple[Scrape | None, list[Dropped]]:
        chunk, expected = frame.envelope.chunk, found.envelope.chunk + 1
        if chunk < expected:
            return None, [Dropped.REPEATED]
        if chunk > expected:
            del self._open[target]
            return None, [Dropped.INCOMPLETE]
        found.add(frame)
        if chunk + 1 < frame.envelope.chunks:
            return None, self._within_limits()
        del self._open[target]
        return found.whole(), []

    def _within_limits(self) -> list[Dropped]:
        dropped = []
        while sum(one.nbytes for one in self._open.values()) > self._open_bytes_max:
            oldest = min(self._open, key=lambda target: self._open[target].first_offset)
            del self._open[oldest]
            dropped.append(Dropped.TOO_MANY)
        return dropped


def target_of(envelope: ScrapeEnvelope) -> Target:
    """Return whose scrape this is."""
    return Target(envelope.cluster, envelope.job, envelope.instance, envelope.path)
