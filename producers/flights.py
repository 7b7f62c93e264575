"""Say what is on its way to a place. In: records that librdkafka has. Out: since when, how it goes.

The rule this file owns: a record flies from when librdkafka has it until it reports, once, what
became of it.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from producers.core.backlog import Pace
from producers.core.frames import Outgoing
from producers.spool import Kept

FLYING_BYTES_MAX: Final = 1_000_000  # of a backlog: a fresh record waits behind them

OnDelivery = Callable[[Exception | None], None]


class Failed(Exception):
    """Kafka does not take a record. `forever`: nor would it later."""

    def __init__(self, error: Exception, *, forever: bool) -> None:
        self.error, self.forever = error, forever
        super().__init__(str(error))


OnReport = Callable[[Failed | None], None]
Produce = Callable[[Outgoing, OnReport], None]
"""Gives a record to Kafka, which reports once, on another thread. Raises BufferError where the
queue is full, Failed where the record does not even come into it."""


@dataclass(slots=True)
class Flight:
    """A record on its way; its value is held until the spool has it."""

    outgoing: Outgoing | None
    nbytes: int
    since_ms: int
    on_delivery: OnDelivery | None = None  # until it was called
    kept: Kept | None = None
    backlog: bool = False  # it came from the spool


@dataclass(slots=True)
class Flights:
    """All that is on its way to a place, and how that goes."""

    flying: OrderedDict[int, Flight] = field(default_factory=OrderedDict)  # the oldest first
    failure: str = ""  # why the last report was bad, if it was
    away: bool = False
    pace: Pace = field(default_factory=Pace)
    backlog_bytes: int = 0  # flying

    @property
    def since_ms(self) -> int | None:
        """Since when Kafka has had the oldest one; None where nothing flies."""
        oldest = next(iter(self.flying.values()), None)
        return oldest.since_ms if oldest else None

    @property
    def ready(self) -> bool:
        """Tell whether the backlog may send a record: its pace allows it, or it tries a place."""
        if self.away:
            return not self.flying
        return self.pace.allows and self.backlog_bytes < FLYING_BYTES_MAX
