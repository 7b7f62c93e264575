"""Each way in which a scrape ends has one outcome and a reason for people."""

import pytest

from producers.core.attempts import Attempt, Ending, envelope, kubernetes_version, process_start_ms
from producers.core.columns import Columns
from producers.core.exposition import parse
from producers.core.keys import Keys
from producers.core.outcomes import REASON_CHARS_MAX, of_body, of_status, verdict
from schemas.identity import Target
from schemas.records import Outcome


def columns(text: str) -> Columns:
    return parse(text.encode(), Keys(1000), samples_max=1000).columns


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (401, Outcome.UNAUTHORIZED),
        (403, Outcome.FORBIDDEN),
        (429, Outcome.THROTTLED),
        (500, Outcome.HTTP_ERROR),
        (503, Outcome.HTTP_ERROR),
        (404, Outcome.HTTP_ERROR),
        (301, Outcome.HTTP_ERROR),
        (204, Outcome.HTTP_ERROR),
    ],
)
def test_a_status_has_its_outcome(status: int, outcome: Outcome) -> None:
    said = of_status(status, "Word", b"what it said\nmore")
    assert (outcome, f"{status} Word: what it said more") == (said.outcome, said.reason)


@pytest.mark.parametrize(
    ("body", "whole", "outcome"),
    [
        (b"x 1\n", True, Outcome.OK),
        (b"", True, Outcome.TRUNCATED),
        (b"x 1\ny 2", True, Outcome.TRUNCATED),
        (b"# HELP x", True, Outcome.TRUNCATED),
        (b"# HELP x y\n", True, Outcome.MALFORMED),
        (b"\n\n", True, Outcome.MALFORMED),
        (b"<html></html>", True, Outcome.MALFORMED),
        (b"<html>\n</html>\n", True, Outcome.MALFORMED),
        (b"x 1\n" * 2, True, Outcome.OK),
        (b"x 1\ny 2", False, Outcome.TOO_BIG),
        (b"a 1\nb 1\nc 1\nd 1\n", True, Outcome.TOO_BIG),
        (b"<html></html>", False, Outcome.MALFORMED),
    ],
)
def test_a_body_has_its_outcome(body: bytes, whole: bool, outcome: Outcome) -> None:
    found = parse(body, Keys(1000), samples_max=3, whole=whole)
    assert outcome is of_body(found, body_bytes=len(body), whole=whole).outcome


def test_a_good_scrape_says_what_was_odd_about_it() -> None:
    found = parse(b"x 1\ny 2\nx 3\nnonsense\n", Keys(1000), samples_max=10)
    said = of_body(found, body_bytes=20, whole=True)
    assert Outcome.OK is said.outcome
    assert "1 unreadable lines, the first: nonsense" in said.reason
    assert "1 samples given again" in said.reason


def test_a_reason_is_one_short_line() -> None:
    reason = verdict(Outcome.TLS, "a\n  b\t" + "c" * 1000).reason
    assert reason.startswith("a b c")
    assert REASON_CHARS_MAX == len(reason)


@pytest.mark.parametrize(
    ("text", "header", "expected"),
    [
        ("process_start_time_seconds 1.5\n", None, 1_500),
        ("process_start_time_seconds 1.5\n", "7", 1_500),
        ("x 1\n", "1700000000", 1_700_000_000_000),
        ("x 1\n", "soon", 0),
        ("x 1\n", None, 0),
        ("process_start_time_seconds 1.795351949e+12\n", None, 0),
        ("process_start_time_seconds 4294967295\n", None, 4_294_967_295_000),
        ("process_start_time_seconds 4294967296\n", None, 0),
        ("process_start_time_seconds -1\n", None, 0),
        ("", "1.795351949e+12", 0),
        ("process_start_time_seconds NaN\n", None, 0),
        ("process_start_time_seconds +Inf\n", None, 0),
    ],
)
def test_the_start_of_the_process_is_read(text: str, header: str | None, expected: int) -> None:
    assert expected == process_start_ms(columns(text), header)


def test_the_version_of_kubernetes_is_read() -> None:
    info = 'kubernetes_build_info{git_version="v1.36.2",major="1"} 1\n'
    assert "v1.36.2" == kubernetes_version(columns(info).layout)
    assert "" == kubernetes_version(columns("x 1\n").layout)


def test_an_envelope_tells_everything_about_its_attempt() -> None:
    target = Target("c", "etcd", "i", "/metrics/slis")
    attempt = Attempt(target, {"zone": "a"}, 1_000, 15_000, 7, "g")
    ending = Ending(verdict(Outcome.FORBIDDEN, "no"), 1_001, 1_002, http_status=403)
    found = envelope(attempt, ending)
    assert ("c", "etcd", "i", "/metrics/slis") == (
        found.cluster,
        found.job,
        found.instance,
        found.path,
    )
    assert (1_000, 1_001, 1_002, 15_000, 7) == (
        found.tick_ms,
        found.start_ms,
        found.end_ms,
        found.interval_ms,
        found.sequence,
    )
    assert (Outcome.FORBIDDEN, "no", 403, {"zone": "a"}) == (
        found.outcome,
        found.reason,
        found.http_status,
        found.target_labels,
    )


def test_attempts_have_ids_of_their_own() -> None:
    target, other = Target("c", "etcd", "i"), Target("c", "etcd", "j")
    attempts = [
        Attempt(one, {}, tick_ms, 15_000, sequence, generation)
        for one in (target, other)
        for tick_ms in (1, 2)  # of a target that was removed, and came back
        for sequence in (1, 2)
        for generation in ("g", "h")
    ]
    assert len(attempts) == len({attempt.scrape_id for attempt in attempts})
