"""A probe tells whether a server serves, and what it could not see it does not tell."""

import json

import pytest

from producers.core.outcomes import Verdict, of_status
from producers.core.probing import (
    CHECKS_MAX,
    REMEDY,
    Seen,
    columns,
    is_dry_run,
    judged,
    refused,
)
from schemas.records import Outcome
from schemas.series import CORE_LABELS

OK = Verdict(Outcome.OK)
READY = b"[+]ping ok\n[+]etcd ok\nreadyz check passed\n"
UNREADY = (
    b"[+]ping ok\n[-]etcd failed: reason withheld\n"
    b"[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nreadyz check failed\n"
)


def told(seen: Seen) -> dict[str, float]:
    """The values by the rest of the metric's name, and the check where there is one."""
    found = {}
    for row in columns("p", seen).rows():
        labels = json.loads(row.series.labels)
        assert "p" == labels["probe"]
        name = row.series.metric.removeprefix("planewatch_probe_")
        check = row.series.core[CORE_LABELS.index("name")]
        found[f"{name} {check}".strip()] = row.value
    return found


def test_a_good_answer_says_all_that_it_took() -> None:
    seen = Seen(OK, 200, 0.02, 0.01, 1_800_000_000.0, READY)
    assert {
        "success": 1.0,
        "duration_seconds": 0.02,
        "connect_seconds": 0.01,
        "http_status_code": 200.0,
        "certificate_expiry_timestamp_seconds": 1_800_000_000.0,
        "check ping": 1.0,
        "check etcd": 1.0,
    } == told(seen)
    assert OK == judged(seen)


def test_a_bad_answer_is_a_failure_and_names_what_failed() -> None:
    seen = Seen(of_status(500, "Internal Server Error", UNREADY), 500, 0.02, 0.01, None, UNREADY)
    found = told(seen)
    assert (0.0, 500.0) == (found["success"], found["http_status_code"])
    assert (1.0, 0.0) == (found["check ping"], found["check etcd"])
    assert 0.0 == found["check poststarthook/rbac/bootstrap-roles"]
    assert Outcome.OK is judged(seen).outcome
    assert "500, failed: etcd, poststarthook/rbac/bootstrap-roles" == judged(seen).reason


def test_a_check_that_failed_in_a_good_answer_is_named() -> None:
    seen = Seen(OK, 200, 0.02, body=UNREADY)
    assert "200, failed: etcd, poststarthook/rbac/bootstrap-roles" == judged(seen).reason


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.REFUSED, Outcome.TLS, Outcome.DNS])
def test_no_answer_is_a_failure(outcome: Outcome) -> None:
    seen = Seen(Verdict(outcome, "why"), 0, 5.0)
    assert {"success": 0.0, "duration_seconds": 5.0, "http_status_code": 0.0} == told(seen)
    assert Verdict(Outcome.OK, "why") == judged(seen)


@pytest.mark.parametrize(
    ("status", "outcome"), [(401, Outcome.UNAUTHORIZED), (403, Outcome.FORBIDDEN)]
)
def test_where_we_may_not_ask_nothing_is_known(status: int, outcome: Outcome) -> None:
    seen = Seen(of_status(status, "No", b""), status, 0.1, 0.05)
    assert not told(seen)
    assert outcome is judged(seen).outcome


@pytest.mark.parametrize(
    ("status", "outcome"), [(403, Outcome.FORBIDDEN), (404, Outcome.HTTP_ERROR)]
)
def test_a_patch_that_was_not_granted_says_what_to_do(status: int, outcome: Outcome) -> None:
    said = refused(status, "No", b"x" * 1000, patched=True)
    assert outcome is said.outcome
    assert said.reason.startswith(f"{status} No: {REMEDY}: xxx")
    assert of_status(status, "No", b"x") == refused(status, "No", b"x", patched=False)
    assert of_status(500, "No", b"x") == refused(500, "No", b"x", patched=True)


@pytest.mark.parametrize(
    ("query", "patches"),
    [
        ("dryRun=All", True),
        ("fieldManager=p&dryRun=All", True),
        ("", False),
        ("verbose", False),
        ("dryRun=", False),
        ("dryRun=all", False),
        ("dryRun=All&dryRun=", False),
        ("xdryRun=All", False),
    ],
)
def test_nothing_but_a_dry_run_is_a_patch(query: str, patches: bool) -> None:
    assert patches is is_dry_run(query)


@pytest.mark.parametrize("status", [429, 404, 503, 302])
def test_only_2xx_is_success(status: int) -> None:
    seen = Seen(of_status(status, "", b""), status, 0.1)
    assert 0.0 == told(seen)["success"]
    assert Outcome.OK is judged(seen).outcome


def test_the_number_of_checks_has_a_maximum() -> None:
    body = b"".join(b"[+]check-%d ok\n" % number for number in range(2 * CHECKS_MAX))
    found = told(Seen(OK, 200, 0.1, body=body))
    assert CHECKS_MAX == sum(name.startswith("check ") for name in found)


@pytest.mark.parametrize(
    "body", [b"", b'{"kind": "Namespace"}', b"ok", b"[+]a b ok", b"[*]a ok", b"x [+]a ok", b"\xff"]
)
def test_other_bodies_have_no_checks(body: bytes) -> None:
    assert not [name for name in told(Seen(OK, 200, 0.1, body=body)) if name.startswith("check")]
