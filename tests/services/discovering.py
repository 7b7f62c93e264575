"""Discovery and scraping beside an API server that has TLS, credentials and bad days.

In: a folder. Out: an API server whose EndpointSlices and answers a test sets, and producers that
discover and scrape it. Rule: only the API server is a fake; Kafka is the embedded broker.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import trustme

from producers.budget import Budgets
from producers.discoveries import Discoveries, start_discoveries
from producers.discovery import SLICES
from producers.scraping import Scraping
from schemas.arrow import decode_scrape
from schemas.clock import Clock, ClockWriter, wall_ms
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


def until(fact: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not fact():
        assert time.monotonic() < end_s, "it did not come true"
        time.sleep(0.05)


def removals(records: list[ScrapeEnvelope]) -> list[str]:
    return [one.instance for one in records if one.outcome is Outcome.REMOVED]
