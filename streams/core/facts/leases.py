"""Fold Leases into series. In: changes of kind Lease. Out: the age of each lease, and how often its
holder changed.

The rule this file owns: a lease is as old as the time since its holder renewed it by the holder's
own clock; one that was deleted has no age.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from schemas.records import Change, Op
from streams.core.samples import FactSample

KIND: Final = "Lease"
OWN_NAMESPACE: Final = "kube-system"  # of the control plane: its leases go by their bare name
LEASES_MAX: Final = 1_000
"""Per cluster; further ones are left out, and counted."""


NAME_CHARS_MAX: Final = 512
"""Of a lease or its holder, above any of Kubernetes; what is longer is cut."""


class LeaseSeen(msgspec.Struct, frozen=True, array_like=True):
    """What one change says about a lease."""

    lease: str
    renewed_ms: int | None
    holder: str
    transitions: int | None  # as the lease itself counts them
    gone: bool


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """Where a lease stands."""

    renewed_ms: int | None
    holder: str
    transitions: int


def lease_seen(change: Change) -> LeaseSeen | None:
    """Return what a change says about a lease, or None where it is about something else."""
    if change.kind != KIND:
        return None
    own = change.namespace in {"", OWN_NAMESPACE}
    name = change.name if own else f"{change.namespace}/{change.name}"
    spec = change.object.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    transitions, holder = spec.get("leaseTransitions"), spec.get("holderIdentity")
    return LeaseSeen(
        name[:NAME_CHARS_MAX],
        _milliseconds(spec.get("renewTime")),
        holder[:NAME_CHARS_MAX] if isinstance(holder, str) else "",
        transitions if isinstance(transitions, int) else None,
        change.op is Op.DELETED,
    )


class Leases:
    """All leases of one cluster."""

    def __init__(self, leases: dict[str, Lease] | None = None) -> None:
        self._leases = leases or {}

    def fold(self, seen: LeaseSeen) -> bool:
        """Take a change into account; return False where there is no room for its lease."""
        if seen.gone:
            self._leases.pop(seen.lease, None)
            return True
        before = self._leases.get(seen.lease)
        if before is None and len(self._leases) >= LEASES_MAX:
            return False
        if seen.transitions is not None:
            transitions = seen.transitions
        elif before is None:
            transitions = 0
        else:
            transitions = before.transitions + (before.holder != seen.holder)
        self._leases[seen.lease] = Lease(seen.renewed_ms, seen.holder, transitions)
        return True

    def samples(self, t_ms: int) -> Iterable[FactSample]:
        """Return the series as of `t_ms`."""
        for name, lease in sorted(self._leases.items()):
            labels = {"lease": name}
            if lease.renewed_ms is not None:
                age_s = max(0, t_ms - lease.renewed_ms) / 1000
                yield FactSample("planewatch_lease_age_seconds", labels, age_s)
            yield FactSample("planewatch_leader_transitions_total", labels, lease.transitions)

    def snapshot(self) -> dict[str, Lease]:
        """Return all of it as a value."""
        return dict(self._leases)


def _milliseconds(time: Any) -> int | None:
    """Return RFC 3339 text as milliseconds since 1970 UTC; None for anything else."""
    try:
        parsed = datetime.fromisoformat(time)
    except (TypeError, ValueError):
        return None
    return int(parsed.timestamp() * 1000) if parsed.tzinfo else None
