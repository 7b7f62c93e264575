"""What API priority and fairness counts and shows. In: the load of an API server. Out: families.

The rule this file owns: the storm's client shares the priority level workload-low with ordinary
service accounts; its requests take the level's seats, fill its queue and are refused when that is
full. The other levels see nothing of it but the slowness.
"""

from typing import Final

import numpy as np

from producers.rehearsal import story
from producers.rehearsal.catalogue import (
    APF_BOUNDS_S,
    CALLS,
    LEVEL_OF,
    NOMINAL_SEATS,
    STORM_CALL,
    STORM_SCHEMA,
)
from producers.rehearsal.curves import Floats, spread
from producers.rehearsal.exposition import Family, Labels
from producers.rehearsal.families import Moving, counted, gauge, measured
from producers.rehearsal.requests import median_s, rate, sharpness
from producers.rehearsal.story import Load, Now

NO_WAIT_S: Final = 0.0002
QUEUED_SCHEMAS: Final = tuple(one for one, level in LEVEL_OF.items() if level != "exempt")


def fairness_families(scope: str, load: Load) -> list[Moving]:
    """Return the counters and histograms of one API server; `scope` names it."""
    refused = {**_flow(STORM_SCHEMA), "reason": "queue-full"}
    return [
        counted(
            scope,
            "apiserver_flowcontrol_dispatched_requests_total",
            "[BETA] Requests executed by priority and fairness.",
            [(_flow(schema), _dispatched(schema, load)) for schema in LEVEL_OF],
        ),
        counted(
            scope,
            "apiserver_flowcontrol_rejected_requests_total",
            "[BETA] Requests refused by priority and fairness.",
            [(refused, load.rejected)],
            late=True,
        ),
        measured(
            scope,
            "apiserver_flowcontrol_request_wait_duration_seconds",
            "[BETA] Time that a request waited in its queue.",
            APF_BOUNDS_S,
            [
                ({"execute": "true", **_flow(schema)}, _waits(schema, load))
                for schema in QUEUED_SCHEMAS
            ],
        ),
        measured(
            scope,
            "apiserver_flowcontrol_request_execution_seconds",
            "[ALPHA] Time that a request executed.",
            APF_BOUNDS_S,
            [
                ({**_flow(schema), "type": "regular"}, _executions(schema, load))
                for schema in LEVEL_OF
            ],
        ),
    ]


def fairness_gauges(now: Now) -> list[Family]:
    """Return seats, queues and requests in flight at one moment."""
    executing = {schema: _executing(schema, now) for schema in LEVEL_OF}
    seats = executing | {STORM_SCHEMA: executing[STORM_SCHEMA] + now.executing * story.LIST_SEATS}
    executing[STORM_SCHEMA] += now.executing
    queued = {schema: now.queued * (schema == STORM_SCHEMA) for schema in QUEUED_SCHEMAS}
    levels = [({"priority_level": level}, seat) for level, seat in NOMINAL_SEATS.items()]
    mutating = sum(call.per_s * _seconds(call.median_ms, now) for call in CALLS if _mutates(call))
    reading = sum(executing.values()) - mutating
    return [
        _by_flow("current_executing_requests", "[BETA] Requests that execute.", executing),
        _by_flow("current_executing_seats", "[BETA] Seats taken by what executes.", seats),
        _by_flow("current_inqueue_requests", "[BETA] Requests that wait.", queued),
        _by_flow(
            "current_inqueue_seats",
            "[ALPHA] Seats that what waits will take.",
            {schema: number * story.LIST_SEATS for schema, number in queued.items()},
        ),
        gauge(f"{_APF}_nominal_limit_seats", "[BETA] Configured seats.", *levels),
        gauge(f"{_APF}_current_limit_seats", "[ALPHA] Seats after borrowing.", *levels),
        gauge(
            "apiserver_current_inflight_requests",
            "[STABLE] Most requests in flight within the last second.",
            ({"request_kind": "mutating"}, np.ceil(mutating)),
            ({"request_kind": "readOnly"}, np.ceil(reading)),
        ),
        gauge(
            "apiserver_current_inqueue_requests",
            "[ALPHA] Most requests in a queue within the last second.",
            ({"request_kind": "mutating"}, 0),
            ({"request_kind": "readOnly"}, round(now.queued)),
        ),
    ]


_APF: Final = "apiserver_flowcontrol"


def _by_flow(name: str, text: str, values: dict[str, float]) -> Family:
    members = [(_flow(schema), float(round(value))) for schema, value in values.items()]
    return gauge(f"{_APF}_{name}", text, *members)


def _flow(schema: str) -> Labels:
    return {"flow_schema": schema, "priority_level": LEVEL_OF[schema]}


def _mutates(call: object) -> bool:
    return getattr(call, "verb", "") in {"POST", "PUT", "PATCH", "DELETE"}


def _seconds(ms: float, now: Now) -> float:
    return ms / 1000 * now.slowdown


def _executing(schema: str, now: Now) -> float:
    """Requests of a flow schema that execute, the LISTs of all pods apart (Little's law)."""
    return sum(
        call.per_s * _seconds(call.median_ms, now)
        for call in CALLS
        if call.flow_schema == schema and call is not STORM_CALL
    )


def _dispatched(schema: str, load: Load) -> Floats:
    rates = [rate(call, load) for call in CALLS if call.flow_schema == schema]
    total: Floats = np.sum(rates, axis=0) if rates else np.zeros_like(load.lists)
    return total


def _waits(schema: str, load: Load) -> Floats:
    """The storm's LISTs wait; everybody else has a queue of their own."""
    quick = np.full_like(load.lists, NO_WAIT_S)
    rates = [
        rate(call, load)[:, None]
        * spread(load.wait_s + NO_WAIT_S if call is STORM_CALL else quick, APF_BOUNDS_S, 6.0)
        for call in CALLS
        if call.flow_schema == schema
    ]
    return _total(rates, load)


def _executions(schema: str, load: Load) -> Floats:
    rates = [
        rate(call, load)[:, None] * spread(median_s(call, load), APF_BOUNDS_S, sharpness(call))
        for call in CALLS
        if call.flow_schema == schema
    ]
    return _total(rates, load)


def _total(rates: list[Floats], load: Load) -> Floats:
    nothing = np.zeros((len(load.lists), len(APF_BOUNDS_S) + 1))
    total: Floats = np.sum(rates, axis=0) if rates else nothing
    return total
