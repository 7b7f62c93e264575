"""Credentials and CAs of a kubeconfig are renewed under running producers: scraping goes on, and so
does discovery, for both have them from there.
"""

import base64
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from producers.core import credentials as core
from producers.discovery import SLICES
from schemas.clock import ClockWriter, wall_ms
from schemas.records import Outcome
from tests.fakes.apiserver import FakeApi, Handler, serving, status
from tests.services.misbehaving import server_context
from tests.services.rotating import Scraped, hang_up, producing

NAME = "kubernetes.default.svc"
KUBERNETES = SLICES.format("default") + "/kubernetes"
VERSION = {"resourceVersion": "7"}
SPEED = 20.0
INTERVAL_S, TIMEOUT_S = 0.25 * SPEED, 2 * SPEED  # of the clock of producers
RECHECK_S = 60 / SPEED
LASTS_S = 5  # a credential of the plug-in
EXPIRIES = 3
WAIT_S = 20.0

# An identity provider: each credential is another one, and says until when it is good.
PLUG_IN = """\
import json, sys, time
lasts_s, runs = int(sys.argv[1]), sys.argv[2]
ends_s = int(time.time()) + lasts_s
with open(runs, "a") as file:
    print(ends_s, file=file)
said = {"token": f"until-{ends_s}"}
if lasts_s < 3600:
    said["expirationTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends_s))
kind = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
print(json.dumps(kind | {"status": said}))
"""


class Plane:
    """An API server that lists itself; it asks `accepts` at each request."""

    def __init__(self) -> None:
        self.accepts: Callable[[Handler], bool] = lambda _: True
        self.listed: list[bool] = []  # was each question of the discovery answered?
        self.ca = trustme.CA()
        self.context = server_context(self.ca, NAME)
        self.api = FakeApi()
        self.api.others = {KUBERNETES: self._slices, "/metrics": self._metrics}
        self.api.others["/metrics/slis"] = self._metrics
        self._open: list[socket.socket] = []

    @property
    def instance(self) -> str:
        return self.api.url.removeprefix("https://")

    def show(self, ca: trustme.CA) -> None:
        """Start again with a certificate of another CA."""
        ca.issue_cert(NAME).configure_cert(self.context)
        hang_up(self._open)

    def _accepts(self, handler: Handler) -> bool:
        if handler.connection not in self._open:
            self._open.append(handler.connection)
        if not self.accepts(handler):
            handler.json(401, status(401, "Unauthorized", "Unauthorized"))
            return False
        return True

    def _metrics(self, handler: Handler, _: dict[str, str]) -> None:
        if self._accepts(handler):
            handler.answer(200, b"x 1\n", "text/plain; version=0.0.4")

    def _slices(self, handler: Handler, _: dict[str, str]) -> None:
        self.listed.append(self._accepts(handler))
        if not self.listed[-1]:
            return
        address, port = self.instance.split(":")
        one = {
            "metadata": {"name": "kubernetes", "namespace": "default", "uid": "u"} | VERSION,
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "protocol": "TCP", "port": int(port)}],
        }
        handler.json(200, one)


class User:
    """A kubeconfig, and the plug-in that it may name."""

    def __init__(self, folder: Path, plane: Plane) -> None:
        self.file, self._plane = folder / "kubeconfig", plane
        self._script, self._runs = folder / "plug-in.py", folder / "runs"
        self._script.write_text(PLUG_IN)

    def write(self, user: dict[str, Any], **ca: str) -> None:
        """Write the kubeconfig anew; `ca`: its certificate authority, as a file or as data."""
        server = {"server": self._plane.api.url, "tls-server-name": NAME}
        named = {name.replace("_", "-"): value for name, value in ca.items()}
        tree = {
            "clusters": [{"name": "c", "cluster": server | named}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps(tree))
        beside.replace(self.file)

    def plugged(self, *, lasts_s: int) -> dict[str, Any]:
        """Return a user whose credentials are good for so long; an hour or more is not told."""
        plug_in = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": ["-I", "-S", str(self._script), str(lasts_s), str(self._runs)],
            "interactiveMode": "Never",
        }
        return {"exec": plug_in}

    def runs(self) -> int:
        """Return how often the plug-in ran."""
        return len(self._runs.read_text().splitlines())


@pytest.fixture
def plane() -> Iterator[Plane]:
    plane = Plane()
    with serving(plane.api, plane.context):
        yield plane


@contextmanager
def discovering(folder: Path, user: User) -> Iterator[Scraped]:
    """Run producers that know nothing but the kubeconfig, on a clock that is fast."""
    clock = folder / "clock"
    ClockWriter(clock, event_ms=wall_ms(), speed=SPEED)
    discovery = {
        "jobs": ["apiserver"],
        "probes": False,
        "interval_s": INTERVAL_S,
        "timeout_s": TIMEOUT_S,
    }
    cluster = {"kubeconfig": str(user.file), "discovery": discovery}
    with producing(folder / "data", cluster, clock) as scraped:
        yield scraped


def inline(ca: trustme.CA) -> str:
    return base64.b64encode(ca.cert_pem.bytes()).decode()


def good_until_it_ends(handler: Handler) -> bool:
    scheme, _, ends_s = handler.headers["Authorization"].partition("until-")
    return scheme == "Bearer " and time.time() < int(ends_s)


def until_listed_again(plane: Plane) -> None:
    """Wait until the discovery was answered once more."""
    before, end_s = sum(plane.listed), time.monotonic() + WAIT_S
    while sum(plane.listed) == before:
        assert time.monotonic() < end_s, f"discovery is not answered: {plane.listed}"
        time.sleep(0.05)


def test_a_credential_that_expires_is_renewed_in_time(
    plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "SOON_S", 0.5)  # who expires each few seconds is asked as often
    user = User(tmp_path, plane)
    user.write(user.plugged(lasts_s=LASTS_S), certificate_authority_data=inline(plane.ca))
    plane.accepts = good_until_it_ends
    with discovering(tmp_path, user) as scraped:
        scraped.wait(plane.instance, 0, Outcome.OK)
        time.sleep(EXPIRIES * LASTS_S)
        attempts = scraped.wait(plane.instance, 0, Outcome.OK)
        failed = [one.outcome for one in attempts if one.outcome is not Outcome.OK]

        assert len(failed) <= EXPIRIES and set(failed) <= {Outcome.UNAUTHORIZED}
        assert EXPIRIES < user.runs() < len(attempts) / 2
        assert len(attempts) >= EXPIRIES * LASTS_S * SPEED / INTERVAL_S * 0.5
        until_listed_again(plane)


@pytest.mark.parametrize("told", ["inline", "by file"])
@pytest.mark.parametrize("who", ["a plug-in", "a token"])
def test_the_ca_of_a_kubeconfig_is_renewed(
    plane: Plane, tmp_path: Path, told: str, who: str
) -> None:
    user, new = User(tmp_path, plane), trustme.CA()
    identity = user.plugged(lasts_s=3_600) if who == "a plug-in" else {"token": "t"}

    def trust(ca: trustme.CA) -> None:
        if told == "inline":
            user.write(identity, certificate_authority_data=inline(ca))
            return
        file = tmp_path / "ca.crt"
        ca.cert_pem.write_to_path(str(file.with_suffix(".new")))
        file.with_suffix(".new").replace(file)
        user.write(identity, certificate_authority=str(file))

    trust(plane.ca)
    with discovering(tmp_path, user) as scraped:
        scraped.wait(plane.instance, 0, Outcome.OK)
        at_ms = scraped.now_ms()
        trust(new)
        plane.show(new)

        failed = scraped.failed(plane.instance, at_ms)
        assert len(failed) <= 2 and set(failed) <= {Outcome.TLS, Outcome.TRUNCATED}
        until_listed_again(plane)
        if who == "a plug-in":
            assert user.runs() <= 3 + 3, "discovery, watch and scraping, once more each"
