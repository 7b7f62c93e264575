"""Tell which alerts of a cluster belong together. In: its newest alert records, a moment. Out: the
id that an alert which fires now shares with the others.

The rule this file owns: an incident begins with the first alert that fires while none is under way.
Every alert that fires while one of it is open, or within 5 min after its last one ended, belongs to
it. Alerts that demand nothing (severity none or info) belong to none. What was saved of the alerts
says all of this: a replay finds the same ids.
"""

from collections.abc import Iterable
from typing import Final

import xxhash

from schemas.records import Alert

LINGER_MS: Final = 5 * 60_000
"""How long after its last alert an incident goes on."""

QUIET: Final = frozenset({"", "none", "info"})


def belongs(severity: str) -> bool:
    """Tell whether alerts of this severity belong to incidents."""
    return severity not in QUIET


def under_way(records: Iterable[Alert], t_ms: int) -> str | None:
    """Return the id of the incident that is under way; there is at most one."""
    for record in records:
        if record.correlation_id is not None:
            ended_ms = record.ends_at_ms
            if ended_ms is None or t_ms - ended_ms <= LINGER_MS:
                return record.correlation_id
    return None


def incident_id(first: Alert) -> str:
    """Return the id of the incident that begins with this alert."""
    return xxhash.xxh3_128_hexdigest(f"{first.cluster}/{first.epoch}/{first.event_id}".encode())
