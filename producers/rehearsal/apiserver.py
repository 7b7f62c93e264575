"""One API server of a rehearsal. In: a story, a moment of event time. Out: its `/metrics`.

The rule this file owns: everything follows from the load of that second, so that all families tell
one story; etcd serves it well throughout, for LISTs come from the watch cache.
"""

from typing import Final

import numpy as np

from producers.rehearsal import catalogue, story
from producers.rehearsal.catalogue import CALLS, OBJECTS, STORAGE_CALLS, STORM_CALL, WATCHED
from producers.rehearsal.curves import UPTIME_S, Floats, spread
from producers.rehearsal.exposition import Family
from producers.rehearsal.fairness import fairness_families, fairness_gauges
from producers.rehearsal.families import Moving, counted, gauge, measured
from producers.rehearsal.processes import KUBERNETES_BUILD, process_counters, process_gauges
from producers.rehearsal.requests import request_families
from producers.rehearsal.story import Load, Now, Story

RESIDENT_BYTES: Final = 900e6
LIST_BYTES: Final = 25e6  # of memory that one LIST of all pods holds while it executes
METRICS_MS: Final = 40.0  # to answer /metrics when all is calm
METRICS_MS_MAX: Final = 2_500.0


class ApiServer:
    """The `/metrics` of one API server as a function of event time."""

    def __init__(self, told: Story, server: int, origin_ms: int) -> None:
        """`origin_ms`: event time at which the story begins."""
        self._origin_ms = origin_ms
        self._load = load = story.load(told, server)
        scope = f"apiserver-{server}"
        self._moving: list[Moving] = [
            *request_families(scope, load),
            *fairness_families(scope, load),
            *_watch_cache(scope, load),
            *_storage(scope, load),
            *process_counters(scope, load.cores),
        ]

    def families(self, t_ms: int) -> list[Family]:
        """Return what `/metrics` says at a moment."""
        second = (t_ms - self._origin_ms) / 1000
        now = self.now(t_ms)
        resident = RESIDENT_BYTES + LIST_BYTES * (now.executing + now.queued / 10)
        goroutines = 2_600 + 8 * (now.executing + now.queued)
        return [
            *(one.at(second) for one in self._moving),
            *fairness_gauges(now),
            *process_gauges(self._origin_ms / 1000 - UPTIME_S, resident, goroutines),
            *_objects(),
            KUBERNETES_BUILD,
        ]

    def now(self, t_ms: int) -> Now:
        """Return the load at a moment."""
        return self._load.at((t_ms - self._origin_ms) / 1000)

    def answer_ms(self, t_ms: int) -> float:
        """Return how long `/metrics` takes: it is slow as everything else is."""
        return min(METRICS_MS * self.now(t_ms).slowdown, METRICS_MS_MAX)


def _watch_cache(scope: str, load: Load) -> list[Moving]:
    lists = [call for call in CALLS if call.verb == "LIST"]
    kinds = [{"group": call.group, "resource": call.resource} for call in lists]
    rates = [load.lists if one is STORM_CALL else _steady(load, one.per_s) for one in lists]
    objects = [
        OBJECTS[one.group, one.resource] / (1 if one.scope == "cluster" else 20) for one in lists
    ]
    indexed = [{"group": one["group"], "index": "", "resource": one["resource"]} for one in kinds]
    returned = [rate * n for rate, n in zip(rates, objects, strict=True)]
    prefix = "apiserver_cache_list"
    return [
        counted(scope, f"{prefix}_total", "[ALPHA] LISTs served from the watch cache.",
                list(zip(indexed, rates, strict=True))),
        counted(scope, f"{prefix}_fetched_objects_total", "[ALPHA] Objects read for LISTs.",
                list(zip(indexed, returned, strict=True))),
        counted(scope, f"{prefix}_returned_objects_total", "[ALPHA] Objects returned by LISTs.",
                list(zip(kinds, returned, strict=True))),
        counted(scope, "apiserver_watch_events_total", "[ALPHA] Events sent to watches.",
                [({"group": group, "resource": resource, "version": "v1"},
                  _steady(load, OBJECTS[group, resource] / 500)) for group, resource in WATCHED]),
    ]  # fmt: skip


def _storage(scope: str, load: Load) -> list[Moving]:
    labels = [
        {"group": group, "operation": operation, "resource": resource}
        for operation, group, resource, *_ in STORAGE_CALLS
    ]
    rates = [_steady(load, per_s) for *_, per_s, _ in STORAGE_CALLS]
    durations = [
        rate[:, None] * spread(_steady(load, ms / 1000), catalogue.REQUEST_BOUNDS_S, 4.0)
        for rate, (*_, ms) in zip(rates, STORAGE_CALLS, strict=True)
    ]
    steps = [
        {"operation": operation, "rejected": "false", "type": kind}
        for operation in ("CREATE", "DELETE", "UPDATE")
        for kind in ("admit", "validate")
    ]
    admission = 3.0 * spread(0.0004 * load.slowdown, catalogue.ADMISSION_BOUNDS_S, 4.0)
    return [
        counted(scope, "etcd_requests_total", "[ALPHA] Requests to etcd.",
                list(zip(labels, rates, strict=True))),
        measured(scope, "etcd_request_duration_seconds", "[ALPHA] Latency of requests to etcd.",
                 catalogue.REQUEST_BOUNDS_S, list(zip(labels, durations, strict=True))),
        measured(scope, "apiserver_admission_step_admission_duration_seconds",
                 "[STABLE] Latency of admission by step.", catalogue.ADMISSION_BOUNDS_S,
                 [(step, admission) for step in steps]),
        counted(scope, "apiserver_audit_event_total", "[ALPHA] Audit events.",
                [({}, load.lists + load.rejected + sum(call.per_s for call in CALLS))]),
        counted(scope, "apiserver_tls_handshake_errors_total", "[ALPHA] Failed TLS handshakes.",
                [({}, _steady(load, 0.0))]),
    ]  # fmt: skip


def _objects() -> list[Family]:
    kinds = [
        ({"group": group, "resource": resource}, count)
        for (group, resource), count in OBJECTS.items()
    ]
    watches = [
        (
            {"component": "apiserver", "group": group, "resource": resource, "scope": "cluster",
             "subresource": "", "verb": "WATCH", "version": "v1"},
            8 + count % 7,
        )
        for (group, resource), count in OBJECTS.items()
    ]  # fmt: skip
    size = ({"storage_cluster_id": "etcd-0"}, 96e6)
    old = [
        ({"resource": ".".join(filter(None, (resource, group)))}, count)
        for (group, resource), count in OBJECTS.items()
    ]
    return [
        gauge("apiserver_resource_objects", "[ALPHA] Stored objects by kind.", *kinds),
        gauge("apiserver_storage_objects", "[STABLE] (Deprecated) Stored objects by kind.", *old),
        gauge("apiserver_storage_size_bytes", "[STABLE] Size of the database file.", size),
        gauge("apiserver_longrunning_requests", "[STABLE] Open watches.", *watches),
    ]


def _steady(load: Load, per_s: float) -> Floats:
    return np.full_like(load.lists, per_s)
