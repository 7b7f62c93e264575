"""Credentials of a kubeconfig stay fresh, and nobody waits for the plug-in that makes them."""

import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from producers.access import Access
from producers.core import credentials as core
from producers.credentials import Credentials

WAIT_S = 10.0
SETTING = "clusters.0.kubeconfig"


class Kubeconfig:
    """A kubeconfig whose user has a plug-in, which does what its script says."""

    def __init__(self, folder: Path) -> None:
        self._plugin, self._runs = folder / "plug-in", folder / "runs"
        self.credential, self.file = folder / "credential", folder / "kubeconfig"
        self.plug_in(f"cat {self.credential}")
        plugin = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(self._plugin),
            "interactiveMode": "Never",
        }
        self.write(exec=plugin)
        self.stop = threading.Event()

    def write(self, **user: Any) -> None:
        tree = {
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.file.write_text(json.dumps(tree))

    def plug_in(self, script: str) -> None:
        beside = self._plugin.with_suffix(".new")  # one that runs cannot be written
        beside.write_text(f"#!/bin/sh\necho >> {self._runs}\n{script}\n")
        beside.chmod(beside.stat().st_mode | stat.S_IXUSR)
        beside.replace(self._plugin)

    def says(self, token: str, *, left_s: float | None = None) -> None:
        status = {"token": token}
        if left_s is not None:
            ends = datetime.now(UTC) + timedelta(seconds=left_s)
            status["expirationTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        said = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": status,
        }
        self.credential.write_text(json.dumps(said))

    def runs(self) -> int:
        return len(self._runs.read_text())

    def open(self) -> Credentials:
        credentials = Credentials("c", Access(self.file, None, SETTING), self.stop)
        credentials.start()
        return credentials


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Kubeconfig]:
    kubeconfig = Kubeconfig(tmp_path)
    yield kubeconfig
    kubeconfig.stop.set()


def until(fact: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not fact():
        assert time.monotonic() < end_s, "it did not come true"
        time.sleep(0.02)


def test_a_plug_in_runs_once_while_nobody_is_refused(kubeconfig: Kubeconfig) -> None:
    kubeconfig.says("t", left_s=3_600)
    credentials = kubeconfig.open()
    for _ in range(10):
        assert "Bearer t" == credentials.identity.authorization
    time.sleep(0.3)
    assert 1 == kubeconfig.runs()


def test_a_plug_in_runs_again_before_its_token_ends(
    kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "SOON_S", 0.1)
    kubeconfig.says("first", left_s=2)  # whole seconds: one to two
    credentials = kubeconfig.open()
    assert "Bearer first" == credentials.identity.authorization
    kubeconfig.says("second", left_s=3_600)

    until(lambda: credentials.identity.authorization == "Bearer second")
    assert 2 == kubeconfig.runs()


def test_a_plug_in_whose_token_is_refused_again_and_again_runs_rarely(
    kubeconfig: Kubeconfig,
) -> None:
    kubeconfig.says("t")
    credentials = kubeconfig.open()
    for _ in range(20):
        credentials.refused()
        time.sleep(0.02)
    assert 2 == kubeconfig.runs(), "once at once, then after half a minute"


def test_who_needs_credentials_does_not_wait_for_a_plug_in_that_hangs(
    kubeconfig: Kubeconfig,
) -> None:
    kubeconfig.says("t")
    credentials = kubeconfig.open()
    kubeconfig.plug_in("exec sleep 5")
    credentials.refused()
    until(lambda: kubeconfig.runs() == 2)
    began_s = time.monotonic()

    assert "Bearer t" == credentials.identity.authorization
    credentials.check()
    kubeconfig.stop.set()
    credentials.join(0.1)
    assert time.monotonic() - began_s < 1


@pytest.mark.parametrize("broken", ["plug-in", "kubeconfig"])
def test_old_credentials_are_used_on_where_no_new_ones_can_be_had(
    kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(core, "SOON_S", 0.1)
    monkeypatch.setattr(core, "FILES_S", 0.1)
    kubeconfig.says("old")
    credentials = kubeconfig.open()
    written = kubeconfig.file.read_text()
    kubeconfig.says("new")
    if broken == "plug-in":
        kubeconfig.plug_in("exit 1")
    else:
        kubeconfig.file.write_text("clusters: [")
    credentials.refused()
    time.sleep(0.4)
    credentials.check()
    assert "Bearer old" == credentials.identity.authorization

    kubeconfig.plug_in(f"cat {kubeconfig.credential}")
    kubeconfig.file.write_text(written)
    until(lambda: credentials.identity.authorization == "Bearer new")


def test_a_token_in_a_kubeconfig_that_is_written_anew_is_read(
    kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "FILES_S", 0.1)
    kubeconfig.write(token="first")
    credentials = kubeconfig.open()
    kubeconfig.write(token="second")
    until(lambda: credentials.identity.authorization == "Bearer second")
