"""What an API server counts about requests. In: its load. Out: families of counters, histograms.

The rule this file owns: how often each call of the catalogue comes and how long it takes. Only the
LISTs of all pods have their own curve; everything else comes as ever and becomes slow with the CPU.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from producers.rehearsal import catalogue
from producers.rehearsal.catalogue import CALLS, STORM_CALL, Call
from producers.rehearsal.curves import Floats, spread
from producers.rehearsal.exposition import Labels
from producers.rehearsal.families import Moving, counted, measured
from producers.rehearsal.story import Load

SHARP: Final = 4.0  # p99 is 3.2 medians
SHARP_LISTS: Final = 6.0  # p99 is 2.2 medians
REJECTED: Final = "429"


def request_families(scope: str, load: Load) -> list[Moving]:
    """Return the families of one API server; `scope` names it."""
    refused = {"code": REJECTED, **STORM_CALL.labels}
    return [
        counted(
            scope,
            "apiserver_request_total",
            "[STABLE] Requests by verb, resource, scope and HTTP code.",
            _codes(load),
            late=True,
        ),
        counted(
            scope,
            "apiserver_request_terminations_total",
            "[ALPHA] Requests that the API server ended in self-defence.",
            [(refused, load.rejected)],
            late=True,
        ),
        measured(
            scope,
            "apiserver_request_duration_seconds",
            "[STABLE] Response latency by verb, resource and scope.",
            catalogue.REQUEST_BOUNDS_S,
            [
                (_sorted({**call.labels, "dry_run": ""}), _durations(call, load, queued=True))
                for call in CALLS
            ],
        ),
        measured(
            scope,
            "apiserver_request_sli_duration_seconds",
            "[ALPHA] Response latency without webhooks and without the wait for a seat.",
            catalogue.SLI_BOUNDS_S,
            [(call.labels, _durations(call, load, queued=False)) for call in CALLS],
        ),
        measured(
            scope,
            "apiserver_response_sizes",
            "[STABLE] Response sizes in bytes.",
            catalogue.SIZE_BOUNDS,
            [(call.labels, _sizes(call, load)) for call in CALLS if call.verb in {"GET", "LIST"}],
        ),
    ]


def rate(call: Call, load: Load) -> Floats:
    """Return how often a call is executed, per second by second."""
    return load.lists if call is STORM_CALL else np.full_like(load.lists, call.per_s)


def median_s(call: Call, load: Load) -> Floats:
    """Return how long a call executes, by second."""
    seconds: Floats = call.median_ms / 1000 * load.slowdown
    return load.list_s if call is STORM_CALL else seconds


def sharpness(call: Call) -> float:
    """Return how little the durations of a call vary."""
    return SHARP_LISTS if call is STORM_CALL else SHARP


def _codes(load: Load) -> Sequence[tuple[Labels, Floats]]:
    rates: list[tuple[Labels, Floats]] = []
    for call in CALLS:
        other, share = call.error
        rates.append((_with_code(call, call.code), rate(call, load) * (1 - share)))
        if other:
            rates.append((_with_code(call, other), rate(call, load) * share))
    rates.append((_with_code(STORM_CALL, REJECTED), load.rejected))
    return rates


def _with_code(call: Call, code: str) -> Labels:
    return _sorted({**call.labels, "code": code, "dry_run": ""})


def _durations(call: Call, load: Load, *, queued: bool) -> Floats:
    bounds = catalogue.REQUEST_BOUNDS_S if queued else catalogue.SLI_BOUNDS_S
    wait_s = load.wait_s if queued and call is STORM_CALL else 0.0
    shares = spread(median_s(call, load) + wait_s, bounds, sharpness(call))
    return rate(call, load)[:, None] * shares


def _sizes(call: Call, load: Load) -> Floats:
    size = np.full_like(load.lists, call.response_bytes)
    return rate(call, load)[:, None] * spread(size, catalogue.SIZE_BOUNDS, SHARP)


def _sorted(labels: Labels) -> Labels:
    return {name: labels[name] for name in sorted(labels)}
