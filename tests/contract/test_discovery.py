"""Discovery against an API server that has TLS, credentials and bad days; scrapes are real."""

import base64
import json
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from producers.budget import Budgets
from producers.core.discovery import ABSENT_MS
from producers.discoveries import Discoveries, start_discoveries
from producers.discovery import SLICES
from producers.scraping import Scraping
from schemas.arrow import decode_scrape
from schemas.clock import Clock, ClockWriter, wall_ms
from schemas.errors import ConfigError
from schemas.metrics import Metric
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import ClusterSettings, Settings
from schemas.topics import TopicName, full_name
from tests.fakes.apiserver import FakeApi, Handler, serving, status
from tests.fakes.embedded import Embedded
from tests.services.records import read_all

SPEED = 60.0
WAIT_S = 20.0
MINUTE_S = 60 / SPEED
NAME = "kubernetes.default.svc"
KUBERNETES = SLICES.format("default") + "/kubernetes"
KUBE_SYSTEM = SLICES.format("kube-system")
POD = "127.0.0.2"  # all of 127.0.0.0/8 is loopback

Query = dict[str, str]


class ControlPlane:
    """An API server of which /metrics and EndpointSlices are asked, and pods of CoreDNS."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.crt")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(NAME).configure_cert(self.context)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.ca.configure_trust(self.context)
        self.api = FakeApi()
        self.accepts: Callable[[Handler], bool] = lambda _: True
        self.pods = [POD]
        self.servers = ["127.0.0.1"]
        self.asked: list[tuple[str, Query]] = []
        self.scraped: list[str] = []  # paths
        self.away = False
        self.hidden: set[str] = set()  # paths that are forbidden
        for path, serve in {
            KUBERNETES: self._kubernetes,
            KUBE_SYSTEM: self._kube_system,
            "/metrics": self._metrics,
            "/metrics/slis": self._metrics,
        }.items():
            self.api.others[path] = serve
        self._stack = ExitStack()
        self._stack.enter_context(serving(self.api, self.context))
        self.port = int(self.api.url.rsplit(":", 1)[1])

    def stop(self) -> None:
        self._stack.close()

    def start(self) -> None:
        self._stack.enter_context(serving(self.api, self.context, port=self.port))

    @property
    def instance(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _asked(self, handler: Handler, query: Query) -> bool:
        """Take note of a question; tell whether it is for us to answer."""
        path = handler.path.split("?")[0]
        self.asked.append((path, query))
        if self.away:
            handler.json(503, status(503, "ServiceUnavailable", "etcd"))
        elif path in self.hidden or not self.accepts(handler):
            handler.json(403, status(403, "Forbidden", "cannot list endpointslices"))
        return not self.away and path not in self.hidden and self.accepts(handler)

    def _kubernetes(self, handler: Handler, query: Query) -> None:
        if self._asked(handler, query):
            handler.json(200, endpoint_slice("kubernetes", self.servers, "https", self.port))

    def _kube_system(self, handler: Handler, query: Query) -> None:
        if not self._asked(handler, query):
            return
        if query["labelSelector"] != "kubernetes.io/service-name=kube-dns":
            handler.json(200, {"metadata": {"resourceVersion": "1"}, "items": []})
            return
        start = int(query.get("continue", "0"))
        metadata = {"resourceVersion": "1"}
        if start + 1 < len(self.pods):
            metadata["continue"] = str(start + 1)
        listed = self.pods[start : start + 1]
        items = [endpoint_slice("kube-dns-x", listed, "metrics", self.port)] if listed else []
        handler.json(200, {"metadata": metadata, "items": items})

    def _metrics(self, handler: Handler, _: Query) -> None:
        self.scraped.append(handler.path)
        if self.accepts(handler):
            handler.answer(200, b"x 1\n", "text/plain; version=0.0.4")
        else:
            handler.json(401, status(401, "Unauthorized", "Unauthorized"))


def endpoint_slice(name: str, addresses: list[str], port: str, number: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": "7"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
        "ports": [{"name": port, "protocol": "TCP", "port": number}],
    }


class Producers:
    """Discovery and scraping on one data folder, started and stopped as the stage does."""

    def __init__(self, folder: Path, plane: ControlPlane) -> None:
        self._folder, self.plane = folder, plane
        self.embedded = Embedded(folder / "data")
        self.data = folder / "data" / "producers"
        self.kubeconfig(token="t")
        file = folder / "clock"
        self.writer = ClockWriter(file, event_ms=wall_ms(), speed=SPEED)
        self.clock = Clock(file)
        self.discovery: dict[str, Any] = {"jobs": ["apiserver"]}
        self.reached: dict[str, Any] = {"kubeconfig": folder / "kubeconfig"}
        self._stop = threading.Event()
        self._running: tuple[Scraping, Discoveries] | None = None

    def kubeconfig(self, **user: Any) -> None:
        cluster = {
            "server": self.plane.api.url,
            "certificate-authority": str(self._folder / "ca.crt"),
            "tls-server-name": NAME,
        }
        tree = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (self._folder / "kubeconfig").write_text(json.dumps(tree))

    def start(self) -> None:
        # At these speeds probes end within handshakes, where CPython forgets to close sockets.
        discovery = {"probes": False} | self.discovery
        cluster = ClusterSettings.model_validate(
            {"id": "rehearsal", "discovery": discovery, **self.reached}
        )
        settings = Settings(data=self._folder / "data", clusters=[cluster])
        self._stop = threading.Event()
        telemetry = self.embedded.telemetry
        scraping = Scraping(settings, self.embedded.sender, self.clock, telemetry)
        discoveries = start_discoveries(
            settings,
            scraping,
            clock=self.clock,
            telemetry=telemetry,
            budgets=Budgets(settings.producers, self.clock, telemetry),
            stop=self._stop,
        )
        scraping.start()
        self._running = scraping, discoveries

    def stop(self) -> None:
        if self._running:
            scraping, discoveries = self._running
            scraping.check()
            discoveries.check()
            self._stop.set()
            scraping.stop(wait_s=0.5)
            discoveries.join(WAIT_S)
            self.embedded.sender.flush(WAIT_S)
            self._running = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def records(self, job: str = "apiserver") -> list[ScrapeEnvelope]:
        """All records of the main targets of a job, as Kafka has them."""
        self.embedded.sender.flush(WAIT_S)
        found = read_all(self.embedded.bootstrap, full_name(TopicName.SCRAPES, "planewatch"))
        envelopes = [decode_scrape(record.value()).envelope for record in found]
        return [one for one in envelopes if one.job == job and one.path == "/metrics"]

    def scraped(self, job: str = "apiserver", *, more: int = 1) -> list[ScrapeEnvelope]:
        """Wait for good scrapes of a job and return all its records."""
        before = len(self.records(job))
        found: list[ScrapeEnvelope] = []

        def there() -> bool:
            found[:] = self.records(job)
            return sum(one.outcome is Outcome.OK for one in found[before:]) >= more

        until(there)
        return found


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path)
    yield plane
    plane.stop()


@pytest.fixture
def producers(tmp_path: Path, plane: ControlPlane) -> Iterator[Producers]:
    producers = Producers(tmp_path, plane)
    yield producers
    with suppress(AssertionError):
        producers.stop()
    producers.embedded.close()


def until(fact: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not fact():
        assert time.monotonic() < end_s, "it did not come true"
        time.sleep(0.05)


def removals(records: list[ScrapeEnvelope]) -> list[str]:
    return [one.instance for one in records if one.outcome is Outcome.REMOVED]


# --- what is there, and what is gone -------------------------------------------------------------


def test_an_api_server_is_scraped_by_address_and_checked_by_name(producers: Producers) -> None:
    producers.start()
    found = producers.scraped()

    assert {producers.plane.instance} == {one.instance for one in found}
    assert 1 == found[0].sequence
    assert {"/metrics", "/metrics/slis"} == set(producers.plane.scraped)
    assert (KUBERNETES, {}) == producers.plane.asked[0]
    requests = producers.embedded.telemetry.value(
        Metric.REQUESTS, cluster="rehearsal", owner="discovery", code="200"
    )
    assert 1 <= requests == len(producers.plane.asked)


def test_pods_of_a_service_come_in_pages_and_go_when_they_are_deleted(
    producers: Producers,
) -> None:
    plane = producers.plane
    plane.pods = ["127.0.0.2", "127.0.0.3"]
    producers.discovery = {"jobs": ["coredns"]}
    producers.start()
    until(lambda: len({one.instance for one in producers.records("coredns")}) == 2)
    first, second = plane.asked[:2]
    assert {"labelSelector": "kubernetes.io/service-name=kube-dns", "limit": "500"} == first[1]
    assert "1" == second[1]["continue"]

    plane.pods = ["127.0.0.3"]
    until(lambda: bool(removals(producers.records("coredns"))))
    time.sleep(2.5 * MINUTE_S)
    producers.restart()
    time.sleep(2.5 * MINUTE_S)

    found = producers.records("coredns")
    assert [f"127.0.0.2:{plane.port}"] == removals(found)
    gone = [one for one in found if one.instance == f"127.0.0.2:{plane.port}"]
    assert Outcome.REMOVED is gone[-1].outcome
    assert [one.tick_ms for one in gone] == sorted({one.tick_ms for one in gone})


def test_a_pod_that_returns_is_scraped_again(producers: Producers) -> None:
    plane = producers.plane
    producers.discovery = {"jobs": ["coredns"]}
    producers.start()
    until(lambda: bool(producers.records("coredns")))
    plane.pods = []
    until(lambda: bool(removals(producers.records("coredns"))))
    plane.pods = [POD]

    until(lambda: producers.records("coredns")[-1].outcome is not Outcome.REMOVED)


def test_an_api_server_that_is_no_longer_listed_is_watched_for_a_quarter_of_an_hour(
    producers: Producers,
) -> None:
    plane = producers.plane
    producers.start()
    producers.scraped()
    gone_ms = producers.clock.now_ms()
    plane.servers = ["127.0.0.2"]
    until(lambda: len({one.instance for one in producers.records()}) == 2)
    producers.writer.set_speed(10 * SPEED)
    until(lambda: bool(removals(producers.records())))

    ours = [one for one in producers.records() if one.instance == plane.instance]
    assert [plane.instance] == removals(producers.records())
    assert Outcome.REMOVED is ours[-1].outcome
    assert ours[-1].tick_ms >= gone_ms + ABSENT_MS
    assert 10 <= sum(one.tick_ms > gone_ms for one in ours)


def test_requests_are_few_and_constant(producers: Producers) -> None:
    producers.discovery = {}
    producers.start()
    producers.scraped()
    asked = len(producers.plane.asked)
    time.sleep(4 * MINUTE_S)

    assert 4 <= len(producers.plane.asked) - asked <= 2 * 6, "2 jobs, each minute or so"


# --- the API server is away ----------------------------------------------------------------------


def test_a_restart_while_the_api_server_is_away_scrapes_at_once(producers: Producers) -> None:
    plane = producers.plane
    producers.start()
    before = producers.scraped()
    producers.stop()
    plane.away = True
    producers.start()

    found = producers.scraped(more=2)
    assert [] == removals(found)
    assert [one.sequence for one in found] == list(range(1, len(found) + 1))
    assert len(found) >= len(before) + 2

    plane.stop()  # now it is really gone: scrapes fail, and go on
    until(lambda: producers.records()[-1].outcome is Outcome.REFUSED)
    producers.restart()
    count = len(producers.records())
    until(lambda: len(producers.records()) >= count + 2)
    plane.away = False
    plane.start()
    producers.scraped()
    assert [] == removals(producers.records())


def test_a_server_that_is_away_is_asked_rarely(producers: Producers) -> None:
    producers.plane.away = True
    producers.discovery = {}
    producers.start()
    time.sleep(2 * MINUTE_S)

    assert 2 <= len(producers.plane.asked) <= 50


def test_targets_that_nobody_remembers_are_not_gone_until_the_api_server_says_so(
    producers: Producers,
) -> None:
    producers.discovery = {"jobs": ["coredns"]}
    producers.start()
    until(lambda: bool(producers.records("coredns")))
    producers.stop()
    (file,) = (producers.data / "discovery").glob("*.json")
    file.write_text("{")
    producers.plane.away = True
    producers.plane.pods = []
    producers.start()
    time.sleep(MINUTE_S)
    assert [] == removals(producers.records("coredns"))

    producers.plane.away = False
    until(lambda: bool(removals(producers.records("coredns"))))


def test_what_is_forbidden_hides_nothing_else(producers: Producers) -> None:
    producers.discovery = {
        "services": {"etcd": {"service": "etcd"}},
    }
    producers.plane.hidden = {KUBE_SYSTEM}
    producers.start()

    producers.scraped()
    assert [] == producers.records("coredns")


def test_a_job_that_is_no_longer_discovered_is_removed_at_start(producers: Producers) -> None:
    producers.discovery = {}
    producers.start()
    until(lambda: bool(producers.records("coredns")))
    producers.stop()
    producers.discovery = {"jobs": ["apiserver"]}
    producers.plane.away = True
    producers.start()

    until(lambda: bool(removals(producers.records("coredns"))))
    assert [] == removals(producers.records())


# --- credentials ---------------------------------------------------------------------------------


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
