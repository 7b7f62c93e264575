"""Faust gets the security that the configuration asks for."""

from pathlib import Path

import faust
import pytest
import trustme
from faust.types.auth import AuthProtocol, SASLMechanism

from schemas.errors import ConfigError
from schemas.settings import KafkaSettings, Sasl, Tls
from streams.app import credentials


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    return file


def test_nothing_asked_for_is_plain_text() -> None:
    assert credentials(KafkaSettings(), None) is None


def test_tls_alone(ca_file: Path) -> None:
    made = credentials(KafkaSettings(tls=Tls(ca_file=ca_file)), None)

    assert isinstance(made, faust.SSLCredentials)
    assert AuthProtocol.SSL is made.protocol
    assert made.context.check_hostname


def test_a_password_goes_over_tls_where_there_is_tls(ca_file: Path) -> None:
    sasl = Sasl(mechanism="SCRAM-SHA-512", username="u", password_file=Path("unread"))

    plain = credentials(KafkaSettings(sasl=sasl), "p")
    secret = credentials(KafkaSettings(sasl=sasl, tls=Tls(ca_file=ca_file)), "p")

    assert isinstance(plain, faust.SASLCredentials)
    assert isinstance(secret, faust.SASLCredentials)
    assert (AuthProtocol.SASL_PLAINTEXT, AuthProtocol.SASL_SSL) == (plain.protocol, secret.protocol)
    assert (SASLMechanism.SCRAM_SHA_512, "u", "p") == (
        secret.mechanism,
        secret.username,
        secret.password,
    )


def test_a_host_is_not_checked_only_where_that_is_asked_for() -> None:
    made = credentials(KafkaSettings(tls=Tls(insecure_skip_verify=True)), None)

    assert isinstance(made, faust.SSLCredentials)
    assert not made.context.check_hostname


def test_a_missing_authority_is_told_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"kafka\.tls: cannot be used"):
        credentials(KafkaSettings(tls=Tls(ca_file=tmp_path / "nowhere.pem")), None)
