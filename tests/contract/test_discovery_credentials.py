"""Whoever a kubeconfig or a pod says we are, discovery and scrapes are that."""

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigError
from tests.fakes.apiserver import Handler
from tests.services.discovering import NAME, Producers


def has_token(value: str) -> Callable[[Handler], bool]:
    return lambda handler: handler.headers["Authorization"] == f"Bearer {value}"


def has_certificate(name: str) -> Callable[[Handler], bool]:
    def accepts(handler: Handler) -> bool:
        told = handler.connection.getpeercert()
        return bool(told) and name in str(told["subjectAltName"])

    return accepts


def plug_in(folder: Path) -> dict[str, Any]:
    """A plug-in that says what the file `credential` holds, and counts how often."""
    file = folder / "plug-in"
    file.write_text(f"#!/bin/sh\necho >> {folder}/runs\ncat {folder}/credential\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(file),
        "interactiveMode": "Never",
    }


def says(folder: Path, **said: str) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": said,
    }
    (folder / "credential").write_text(json.dumps(credential))


def test_a_token_in_the_kubeconfig(producers: Producers) -> None:
    producers.plane.accepts = has_token("t")
    producers.start()
    producers.scraped()


def test_a_user_with_a_password(producers: Producers) -> None:
    expected = "Basic " + base64.b64encode(b"ann:secret").decode()
    producers.plane.accepts = lambda handler: handler.headers["Authorization"] == expected
    producers.kubeconfig(username="ann", password="secret")
    producers.start()
    producers.scraped()


def test_a_token_file_that_is_rotated(producers: Producers, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    producers.plane.accepts = has_token("first")
    producers.kubeconfig(tokenFile=str(token))
    producers.start()
    producers.scraped()

    token.write_text("second\n")
    producers.plane.accepts = has_token("second")
    producers.scraped(more=3)


@pytest.mark.parametrize("as_files", [True, False], ids=["files", "data"])
def test_a_client_certificate(producers: Producers, tmp_path: Path, as_files: bool) -> None:
    issued = producers.plane.ca.issue_cert("client.example")
    key, certificate = issued.private_key_pem, issued.cert_chain_pems[0]
    producers.plane.accepts = has_certificate("client.example")
    if as_files:
        key.write_to_path(tmp_path / "key")
        certificate.write_to_path(tmp_path / "certificate")
        producers.kubeconfig(
            **{
                "client-certificate": str(tmp_path / "certificate"),
                "client-key": str(tmp_path / "key"),
            }
        )
    else:
        producers.kubeconfig(
            **{
                "client-certificate-data": base64.b64encode(certificate.bytes()).decode(),
                "client-key-data": base64.b64encode(key.bytes()).decode(),
            }
        )
    producers.start()
    producers.scraped()


def test_a_plug_in_runs_again_when_its_token_is_refused(
    producers: Producers, tmp_path: Path
) -> None:
    says(tmp_path, token="first")
    producers.plane.accepts = has_token("first")
    producers.kubeconfig(exec=plug_in(tmp_path))
    producers.start()
    producers.scraped(more=3)
    runs = len((tmp_path / "runs").read_text())
    assert runs <= 2, "for discovery and for scraping, not for each scrape"

    says(tmp_path, token="second")
    producers.plane.accepts = has_token("second")
    producers.scraped(more=3)
    assert len((tmp_path / "runs").read_text()) <= runs + 2


def test_a_certificate_of_a_plug_in_is_presented_and_renewed(
    producers: Producers, tmp_path: Path
) -> None:
    producers.kubeconfig(exec=plug_in(tmp_path))
    for name in ("first.example", "second.example"):
        issued = producers.plane.ca.issue_cert(name)
        says(
            tmp_path,
            clientCertificateData=issued.cert_chain_pems[0].bytes().decode(),
            clientKeyData=issued.private_key_pem.bytes().decode(),
        )
        producers.plane.accepts = has_certificate(name)
        if name == "first.example":
            producers.start()
        producers.scraped(more=2)


def test_a_pod_uses_its_service_account(
    producers: Producers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("account")
    package = "kubernetes.config.incluster_config"
    monkeypatch.setattr(f"{package}.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(f"{package}.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(producers.plane.port))
    producers.plane.ca.issue_cert(NAME, "127.0.0.1").configure_cert(producers.plane.context)
    producers.plane.accepts = lambda handler: (
        handler.headers["Authorization"].lower() == "bearer account"
    )
    producers.reached = {"in_cluster": True}
    producers.start()
    producers.scraped()


def test_who_is_no_pod_is_told_so(producers: Producers) -> None:
    producers.reached = {"in_cluster": True}
    with pytest.raises(ConfigError, match=r"clusters\.0\.in_cluster"):
        producers.start()
