"""Discover the targets of one cluster. In: EndpointSlices, as its API server tells them. Out: what
is scraped, now and after a restart.

The rule this file owns: what was found is on disk, so a restart while the API server is away goes
on with the last known targets; an answer changes them, a failure never does. Cost for an API
server: one GET and one LIST per other job of one Service, each minute; the LIST is of a namespace
of the control plane, not of one that grows with the cluster.
"""

import logging
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from producers.answers import Ended, TooLong
from producers.budget import pause
from producers.core.discovery import (
    API_SERVER,
    Instance,
    instances,
    merged,
    server_name,
    targets,
    unconfigured,
)
from producers.core.watching import End, Phase, Signal, Watching, after, list_query, read_page
from producers.credentials import Credentials
from producers.kube import Connection
from producers.scraping import Discovered
from producers.supervised import Supervised
from schemas.clock import Clock
from schemas.discovery import Job, ServiceSettings
from schemas.errors import DecodeError
from schemas.metrics import Metric
from schemas.records import JsonObject
from schemas.settings import ClusterSettings
from schemas.telemetry import Telemetry

OWNER: Final = "discovery"
SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
RECHECK_MS: Final = 60_000
SILENCE_MS: Final = 10_000
DEADLINE_MS: Final = 30_000
BYTES_MAX: Final = 16_000_000  # of one answer
PAGES_MAX: Final = 20  # of 500 slices of up to 100 endpoints
OUT_OF_REACH: Final = frozenset({Signal.FAILED, Signal.SILENT, Signal.THROTTLED})

logger = logging.getLogger(__name__)


class _File(msgspec.Struct, frozen=True):
    instances: list[Instance]


class Discovery:
    """The discovered targets of one cluster, kept up to date until `stop`."""

    def __init__(
        self,
        cluster: ClusterSettings,
        *,
        connection: Connection,
        credentials: Credentials,
        file: Path,
        discover: Callable[[Discovered], None],
        clock: Clock,
        telemetry: Telemetry,
        stop: threading.Event,
    ) -> None:
        """Go on with the last known targets, as `file` has them."""
        if cluster.discovery is None:
            raise AssertionError(f"nothing is discovered of {cluster.id}")
        self._cluster, self._settings = cluster, cluster.discovery
        self._connection, self._credentials = connection, credentials
        self._file, self._discover = file, discover
        self._clock, self._telemetry, self._stop = clock, telemetry, stop
        told = self._settings.server_name or credentials.identity.tls.server_name
        self._server_name = server_name(credentials.server, told)
        self._state = Watching(Phase.LISTING)
        self._news = Signal.LISTED  # the newest end that was logged
        self._empty: set[Job] = set()
        self._saved = _read(file)
        self._found: dict[Job, list[Instance]] = {job: [] for job in self._settings.wanted}
        for one in self._saved:
            if one.job in self._found:
                self._found[one.job].append(one)
        for job in self._found:
            self._tell(job, certain=False)
        self._thread = Supervised(f"discovery-{cluster.id}", self._run, stop)

    def start(self) -> None:
        """Begin to ask."""
        self._credentials.start()
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until asking has ended."""
        self._thread.join(timeout_s)
        self._credentials.join(timeout_s)

    def check(self) -> None:
        """Raise what ended the discovery before `stop` was set."""
        self._thread.check()
        self._credentials.check()

    def _run(self) -> None:
        while True:
            end = self._look()
            if self._stop.is_set():
                return
            jitter = random.random()  # noqa: S311 no secret
            if end.signal is Signal.LISTED:
                self._state = Watching(Phase.LISTING)
                pause_ms = int(RECHECK_MS * (0.9 + jitter / 5))
            else:
                self._state, pause_ms = after(self._state, end, jitter)
            self._log(end)
            if not pause(self._clock, pause_ms, self._stop):
                return

    def _look(self) -> End:
        """Ask for the endpoints of all jobs; return how that ended, the failure if one did."""
        ended = End(Signal.LISTED)
        for job, service in self._settings.wanted.items():
            try:
                listed = instances(job, service, self._slices(job, service))
            except Ended as error:
                ended = error.end
                if ended.signal in OUT_OF_REACH:
                    break  # the others would fare no better
            except DecodeError as error:
                self._connection.read(garbled=True)
                ended = End(Signal.GARBAGE, str(error))
            else:
                self._connection.read()
                self._take(job, service, listed)
            if self._stop.is_set():
                break
        self._save()
        return ended

    def _take(self, job: Job, service: ServiceSettings, listed: set[Instance]) -> None:
        self._found[job], left_out = merged(
            self._found[job],
            listed,
            self._clock.now_ms(),
            instances_max=self._settings.instances_max,
        )
        if left_out:
            self._telemetry.count(Metric.LIMIT_HITS, left_out, limit="instances_max")
        if not listed and job not in self._empty:
            logger.warning(
                "no endpoint cluster=%s job=%s service=%s/%s port=%s: is there such a Service, "
                "with a port of this name? see discovery.services",
                self._cluster.id,
                job,
                service.namespace,
                service.service,
                service.port,
            )
        (self._empty.discard if listed else self._empty.add)(job)
        self._tell(job, certain=True)

    def _tell(self, job: Job, *, certain: bool) -> None:
        found = targets(self._settings, self._found[job], server_name=self._server_name)
        ours = tuple(unconfigured(found, self._cluster.targets))
        credentials = self._credentials if job == API_SERVER else None
        self._discover(Discovered(self._cluster.id, job, ours, certain, credentials))

    # --- asking ---

    def _slices(self, job: Job, service: ServiceSettings) -> list[JsonObject]:
        """Return all slices of a Service; that of the API servers has a name, so it is a GET.

        Raises:
            Ended: no answer, or not all of it.
            DecodeError: an answer of another shape.
        """
        path = SLICES.format(service.namespace)
        if job == API_SERVER:
            return [_object(self._body(f"{path}/{service.service}", {}))]
        selector = {"labelSelector": f"kubernetes.io/service-name={service.service}"}
        slices: list[JsonObject] = []
        next_page = ""
        for _ in range(PAGES_MAX):
            page = read_page(self._body(path, selector | list_query(next_page)))
            slices += page.items
            if not (next_page := page.next_page):
                return slices
        self._telemetry.count(Metric.LIMIT_HITS, limit="slices_pages_max")
        raise DecodeError(f"{job} has more than {PAGES_MAX} pages of EndpointSlices")

    def _body(self, path: str, query: dict[str, str]) -> bytes:
        with self._connection.get(
            path, query, silence_ms=SILENCE_MS, deadline_ms=DEADLINE_MS, stop=self._stop
        ) as answer:
            try:
                return answer.whole(BYTES_MAX)
            except TooLong:
                self._telemetry.count(Metric.LIMIT_HITS, limit="slices_bytes_max")
                raise

    def _log(self, end: End) -> None:
        """Log where the way it ends has changed."""
        if end.signal is self._news:
            return
        self._news = end.signal
        if end.signal is Signal.LISTED:
            logger.info("discovery cluster=%s ended=%s", self._cluster.id, end.signal)
            return
        logger.warning(
            "discovery cluster=%s ended=%s reason=%s: targets stay as they are known%s",
            self._cluster.id,
            end.signal,
            end.reason,
            "; grant what deploy/kubernetes/rbac.yaml does" if end.signal is Signal.DENIED else "",
        )

    # --- disk ---

    def _save(self) -> None:
        """Save what is known, if that changed; a full disk must not end the discovery."""
        found = [one for job in self._found.values() for one in job]
        if found == self._saved:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside = self._file.with_suffix(".new")
            beside.write_bytes(msgspec.json.encode(_File(found)))
            os.replace(beside, self._file)
        except OSError as error:
            self._telemetry.count(Metric.ERRORS, kind="checkpoint")
            logger.error("targets not saved cluster=%s error=%s", self._cluster.id, error)
        else:
            self._saved = found


def _object(body: bytes) -> JsonObject:
    try:
        return msgspec.json.decode(body, type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"no JSON object: {error}") from error


def _read(file: Path) -> list[Instance]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_File).instances
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("targets are discovered anew, unreadable file=%s error=%s", file, error)
        return []
