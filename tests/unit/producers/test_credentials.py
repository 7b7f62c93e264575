"""When credentials are read again: before they end, soon after a refusal, ever more rarely."""

from pathlib import Path

import pytest

from producers.core.credentials import Identity, Reading, renew_after_s, retry_after_s
from schemas.nodes import Tls

TOKEN = Identity(Tls(), "Bearer t")
CERTIFICATE = Identity(Tls(cert_file=Path("c"), key_file=Path("k")))
NOBODY = Identity(Tls())


@pytest.mark.parametrize(
    ("reading", "expected_s"),
    [
        (Reading(TOKEN), 60),
        (Reading(NOBODY), 60),
        (Reading(TOKEN, plugged=True), None),
        (Reading(CERTIFICATE, plugged=True), None),
        (Reading(NOBODY, plugged=True), 30),
        (Reading(TOKEN, plugged=True, left_s=3_600), 3_300),
        (Reading(CERTIFICATE, plugged=True, left_s=900), 720),
        (Reading(TOKEN, plugged=True, left_s=10), 30),
        (Reading(TOKEN, plugged=True, left_s=-5), 30),
    ],
    ids=[
        "a file",
        "anonymous",
        "nobody says how long",
        "a certificate of which nobody says how long",
        "the plug-in failed",
        "an hour",
        "a quarter of an hour",
        "seconds",
        "over",
    ],
)
def test_credentials_are_renewed_before_they_end(
    reading: Reading, expected_s: float | None
) -> None:
    assert expected_s == renew_after_s(reading)


def test_readings_that_do_not_help_become_rare() -> None:
    assert [30, 60, 120, 240, 480, 600, 600] == [retry_after_s(n, None) for n in range(1, 8)]
    assert 600 == retry_after_s(10_000, None)
    assert [30, 60, 60] == [retry_after_s(n, 60.0) for n in range(1, 4)]


def test_a_token_is_not_shown() -> None:
    assert "Bearer" not in repr(Reading(TOKEN))
