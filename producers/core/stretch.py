"""Scrape a slow target less often. In: how a scrape went. Out: how many intervals lie between two.

The rule this file owns: a server that is slow for us is asked half as often after each such scrape,
and comes back by one such step after 4 quick ones in a row. A scrape is slow that takes more than
an eighth of its interval (2 s of 15, `../shared/reference/control-plane.md` 2.6), that the server
refused as too much (429) or did not answer in time, or whose requests waited in its queues. No
interval grows beyond a maximum: in the worst hour people must not be blind for longer.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from producers.core.columns import Columns
from schemas.records import Outcome
from schemas.series import CORE_LABELS

SHARE_MAX: Final = 1 / 8  # of the configured interval
SLOW_MS_MIN: Final = 500  # below, nothing is slow: the interval is short, or this process was busy
WAIT_MS_MAX: Final = 50  # mean of our requests in the queues of API Priority and Fairness
QUICK_SCRAPES: Final = 4

OVERLOADED: Final = frozenset({Outcome.TIMEOUT, Outcome.THROTTLED})
UNASKED: Final = frozenset({Outcome.SKIPPED, Outcome.REMOVED})

FLOW_SCHEMA: Final = "planewatch"  # as deploy/kubernetes names it; without it no wait is known
WAITED: Final = "apiserver_flowcontrol_request_wait_duration_seconds"
_FLOW_SCHEMA_AT: Final = CORE_LABELS.index("flow_schema")


@dataclass(frozen=True, slots=True)
class Waits:
    """How long requests of ours have waited in queues, since their server began."""

    seconds: float = 0.0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Went:
    """How one scrape went, as far as it tells whether its server suffers."""

    outcome: Outcome
    took_ms: int
    waits: Waits | None = None  # None: the body says nothing of them


@dataclass(frozen=True, slots=True)
class Stretch:
    """How a target is scraped now: at every `factor`-th tick of its plan."""

    factor: int = 1
    quick: int = 0  # scrapes in a row
    waits: Waits | None = None


def after(stretch: Stretch, went: Went, *, interval_ms: int, interval_ms_max: int) -> Stretch:
    """Return how the target is scraped from now on.

    `interval_ms` is the configured one; one above `interval_ms_max` is left as it is.
    """
    if went.outcome in UNASKED:
        return stretch
    factor, quick = stretch.factor, 0
    if _is_slow(stretch, went, interval_ms):
        if interval_ms * factor * 2 <= interval_ms_max:
            factor *= 2
    elif stretch.quick + 1 < QUICK_SCRAPES:
        quick = stretch.quick + 1
    else:
        factor = max(1, factor // 2)
    return Stretch(factor, quick, went.waits or stretch.waits)


def own_waits(columns: Columns) -> Waits | None:
    """Return how long our requests have waited by what an API server says; None: it does not."""
    series = columns.layout.series
    rows = takewhile(
        lambda row: series[row].metric == WAITED,
        range(columns.layout.first.get(WAITED, len(series)), len(series)),
    )
    ours = [row for row in rows if series[row].core[_FLOW_SCHEMA_AT] == FLOW_SCHEMA]
    if not ours:
        return None
    seconds = sum(float(columns.values[row]) for row in ours)
    return Waits(seconds, sum(int(columns.counts[row]) for row in ours))


def _is_slow(stretch: Stretch, went: Went, interval_ms: int) -> bool:
    slow_ms = max(SLOW_MS_MIN, interval_ms * SHARE_MAX)
    if went.outcome in OVERLOADED or went.took_ms > slow_ms:
        return True
    before, now = stretch.waits, went.waits
    if before is None or now is None or now.requests <= before.requests:
        return False  # the first answer, or the server began anew
    waited_ms = (now.seconds - before.seconds) * 1000
    return waited_ms / (now.requests - before.requests) > WAIT_MS_MAX
