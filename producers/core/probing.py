"""Say what a probe saw. In: how one small request went. Out: the rows of its record.

The rule this file owns: a server that does not answer, or not as it should, is what a probe is for:
it makes `planewatch_probe_success` 0, in a record like that of a good one, whose reason says why.
Where we may not ask (401, 403) nothing is known, and there are no rows.

A probe of writing is a PATCH that is never written: nothing else than `dryRun=All` in its URL makes
a probe a PATCH, so there is none without.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from producers.core.columns import NO_ROWS, Columns, columns_of
from producers.core.outcomes import Verdict, of_status, verdict
from producers.core.rows import Row, make_series
from schemas.records import Kind, Outcome

SUCCESS: Final = "planewatch_probe_success"
DURATION: Final = "planewatch_probe_duration_seconds"  # of all of it
CONNECT: Final = "planewatch_probe_connect_seconds"  # TCP and TLS
STATUS: Final = "planewatch_probe_http_status_code"  # 0: no answer
CERTIFICATE: Final = "planewatch_probe_certificate_expiry_timestamp_seconds"
CHECK: Final = "planewatch_probe_check"  # 1: ok, 0: failed

CHECKS_MAX: Final = 200  # an API server has about 40
PATCH_TYPE: Final = "application/merge-patch+json"
PATCH_BODY: Final = b'{"data":{"probe":"planewatch"}}'
"""It changes the object, or the API server would have nothing to validate."""
UNGRANTED: Final = frozenset({403, 404})
REMEDY: Final = "apply deploy/kubernetes/write-probe: it makes the ConfigMap and grants its patch"

UNKNOWN: Final = frozenset({Outcome.UNAUTHORIZED, Outcome.FORBIDDEN, Outcome.SKIPPED})

_CHECK: Final = re.compile(rb"^\[([+-])\]([A-Za-z0-9_./-]{1,200}) (?:ok|failed)", re.MULTILINE)
"""A line of /readyz?verbose or /livez?verbose."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a request went. Times are event time."""

    verdict: Verdict  # as of a scrape, before its body was read
    status: int  # 0: no answer
    took_s: float
    connect_s: float | None = None  # None: there was no connection
    certificate_ends_s: float | None = None  # since 1970; None: it was not checked
    body: bytes = b""


def is_dry_run(query: str) -> bool:
    """Tell whether the query of a probe's URL makes it a PATCH."""
    return parse_qs(query, keep_blank_values=True).get("dryRun") == ["All"]


def refused(status: int, phrase: str, body: bytes, *, patched: bool) -> Verdict:
    """Return the verdict on an answer that is no success; `patched`: to a PATCH."""
    said = of_status(status, phrase, body)
    if not patched or status not in UNGRANTED:
        return said
    return verdict(said.outcome, f"{status} {phrase}: {REMEDY}: {body.decode(errors='replace')}")


def judged(seen: Seen) -> Verdict:
    """Return the verdict on the record of a probe."""
    if seen.verdict.outcome in UNKNOWN:
        return seen.verdict
    bad = [name for name, ok in _checks(seen.body).items() if not ok]
    failed = f"{seen.status}, failed: {', '.join(bad)}"
    return verdict(Outcome.OK, failed if bad else seen.verdict.reason)


def columns(probe: str, seen: Seen) -> Columns:
    """Return what a probe saw; `probe` is its name, the label by which rules know it."""
    if seen.verdict.outcome in UNKNOWN:
        return NO_ROWS
    told = {
        SUCCESS: float(seen.status // 100 == 2),
        DURATION: seen.took_s,
        CONNECT: seen.connect_s,
        STATUS: float(seen.status),
        CERTIFICATE: seen.certificate_ends_s,
    }
    rows = [
        _row(metric, {"probe": probe}, value) for metric, value in told.items() if value is not None
    ]
    rows += [
        _row(CHECK, {"probe": probe, "name": name}, float(ok))
        for name, ok in _checks(seen.body).items()
    ]
    return columns_of(rows)


def _row(metric: str, labels: dict[str, str], value: float) -> Row:
    return Row(make_series(metric, Kind.GAUGE, labels), value)


def _checks(body: bytes) -> dict[str, bool]:
    """Return whether each check of a health endpoint is good; {} of another body."""
    found = {name.decode(): sign == b"+" for sign, name in _CHECK.findall(body)}
    return dict(list(found.items())[:CHECKS_MAX])
