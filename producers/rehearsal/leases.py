"""The Leases of kube-system in a rehearsal. In: event time, how late renewals are. Out: objects and
events.

The rule this file owns: resource versions are revisions of the store: they only grow, one event has
one, and history before the newest few hundred events is gone, as in a real watch cache.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from producers.rehearsal.etcd import revision

HISTORY_MAX: Final = 600  # events that a watch can resume from
NAMESPACE: Final = "kube-system"
API_VERSION: Final = "coordination.k8s.io/v1"

JsonObject = dict[str, Any]
Lateness = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch."""

    resource_version: int
    type: str
    object: JsonObject


@dataclass(slots=True)
class _Lease:
    name: str
    uid: str
    holder: str
    period_ms: int
    duration_s: int
    next_ms: int
    labels: dict[str, str] = field(default_factory=dict)
    elected: bool = False
    created_ms: int = 0
    version: int = 0
    renewed_ms: int = 0


class Leases:
    """The Leases as event time passes. `lateness(t_ms)`: by how many ms renewals come late."""

    def __init__(self, origin_ms: int, lateness: Lateness) -> None:
        self._lateness = lateness
        self._leases = _leases(origin_ms)
        self._history: list[Event] = []
        self._version = 0
        for lease in sorted(self._leases, key=lambda one: one.next_ms):
            self._renew(lease, lease.next_ms - lease.period_ms)
        self._oldest = self._version = revision(origin_ms)

    @property
    def version(self) -> int:
        """The newest resource version."""
        return self._version

    @property
    def oldest(self) -> int:
        """The oldest resource version from which a watch can go on."""
        return self._oldest

    def advance(self, now_ms: int) -> None:
        """Let all renewals up to `now_ms` happen, in the order of their times."""
        while (lease := min(self._leases, key=lambda one: one.next_ms)).next_ms <= now_ms:
            at_ms = lease.next_ms
            self._history.append(Event(self._renew(lease, at_ms), "MODIFIED", self._object(lease)))
            lease.next_ms = at_ms + lease.period_ms + int(self._lateness(at_ms))
        excess = len(self._history) - HISTORY_MAX
        if excess > 0:
            self._oldest = self._history[excess - 1].resource_version
            del self._history[:excess]

    def next_ms(self) -> int:
        """Return when the next renewal comes."""
        return min(lease.next_ms for lease in self._leases)

    def objects(self) -> list[JsonObject]:
        """Return all Leases, as a LIST has them: sorted by name."""
        return [self._object(lease) for lease in self._leases]

    def since(self, resource_version: int) -> list[Event]:
        """Return the events after a resource version."""
        at = bisect_right(self._history, resource_version, key=lambda one: one.resource_version)
        return self._history[at:]

    def _renew(self, lease: _Lease, at_ms: int) -> int:
        self._version = max(self._version + 1, revision(at_ms))
        lease.version, lease.renewed_ms = self._version, at_ms
        return self._version

    def _object(self, lease: _Lease) -> JsonObject:
        spec: JsonObject = {
            "holderIdentity": lease.holder,
            "leaseDurationSeconds": lease.duration_s,
            "renewTime": _micros(lease.renewed_ms),
        }
        if lease.elected:
            spec |= {"acquireTime": _micros(lease.created_ms), "leaseTransitions": 3}
        metadata: JsonObject = {
            "name": lease.name,
            "namespace": NAMESPACE,
            "uid": lease.uid,
            "resourceVersion": str(lease.version),
            "creationTimestamp": _micros(lease.created_ms)[:19] + "Z",
        }
        if lease.labels:
            metadata["labels"] = lease.labels
        metadata["managedFields"] = [
            {
                "manager": lease.name if lease.elected else "kube-apiserver",
                "operation": "Update",
                "apiVersion": API_VERSION,
                "time": _micros(lease.renewed_ms)[:19] + "Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {f"f:{name}": {} for name in spec}},
            }
        ]
        return {"kind": "Lease", "apiVersion": API_VERSION, "metadata": metadata, "spec": spec}


def _leases(origin_ms: int) -> list[_Lease]:
    """Two API servers that say they live, two leaders that renew; sorted by name."""
    identity = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
    created_ms = origin_ms - 7_200_000
    servers = [
        _Lease(
            f"apiserver-{name}",
            f"6e51e4ba-c556-46b7-9913-75337a3a8a5{number}",
            f"apiserver-{name}_cee80711-c2af-4b5d-a301-a7d4e83f3fc{number}",
            period_ms=10_000,
            duration_s=3_600,
            next_ms=origin_ms + 1_300 + 5_000 * number,
            labels={**identity, "kubernetes.io/hostname": f"cp-{number + 1}"},
            created_ms=created_ms,
        )
        for number, name in enumerate(("m2xq4tn6vzrbk5wd", "w7ljc3pe9shyg8fu"))
    ]
    leaders = [
        _Lease(
            name,
            f"581614c9-8636-4e19-a9bd-8fb2e0c3395{number}",
            f"cp-{number + 1}_9f58d16f-e036-4087-a405-7cb1b969248{number}",
            period_ms=2_000,
            duration_s=15,
            next_ms=origin_ms + 400 + 900 * number,
            elected=True,
            created_ms=created_ms,
        )
        for number, name in enumerate(("kube-controller-manager", "kube-scheduler"))
    ]
    return servers + leaders


def _micros(t_ms: int) -> str:
    """Return a time as a MicroTime: 2026-11-22T12:50:18.012510Z."""
    moment = datetime.fromtimestamp(t_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{t_ms % 1000:03d}000Z"
