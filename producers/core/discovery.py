"""Find targets. In: EndpointSlices of a Service, what was known before. Out: instances, and the
targets that they are.

The rule this file owns: an instance is an address and a port, and is named so (`10.0.0.11:6443`),
as Prometheus names it: the name needs no further question, is the same after every restart, and
rules written for Prometheus match. Whoever is not ready is watched all the same, for the ill are
whom we are here for; whoever is terminating has been told to go.

An API server that died disappears from `default/kubernetes` within seconds, so there absence is no
proof: it stays a target for as long as an alert about it would. Pods disappear when they are
deleted, not when they fail, and are gone at once.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from schemas.discovery import DiscoverySettings, Job, ServiceSettings
from schemas.errors import DecodeError
from schemas.identity import JOB_ALIASES, METRICS_PATH
from schemas.nodes import Tls
from schemas.records import JsonObject
from schemas.settings import TargetSettings

API_SERVER: Final = "apiserver"
API_SERVER_NAME: Final = "kubernetes.default.svc"  # which the certificate of each API server has
ABSENT_MS: Final = 900_000  # after so long an alert whose inputs are gone ends, too
SLIS_PATH: Final = "/metrics/slis"
SLIS_S: Final = 5.0
SLIS_OF: Final = frozenset({API_SERVER, "kube-scheduler", "kube-controller-manager"})
PROBE_S: Final = 15.0
PROBES: Final = {
    "readyz": ("/readyz?verbose", SLIS_S),
    "get": ("/api/v1/namespaces/kube-system", PROBE_S),  # from etcd, through a quorum
    "list": ("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?limit=1", PROBE_S),
}
"""What each API server is asked, and how often: what a healthy one answers within milliseconds."""
WRITE_PROBE: Final = "/api/v1/namespaces/planewatch/configmaps/planewatch-probe?dryRun=All"


class _Conditions(msgspec.Struct):
    terminating: bool | None = None


class _Endpoint(msgspec.Struct):
    addresses: list[str] | None = None
    conditions: _Conditions | None = None


class _Port(msgspec.Struct):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class _Slice(msgspec.Struct, rename="camel"):
    address_type: str
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class Instance(msgspec.Struct, frozen=True, order=True):
    """One instance of a job, as EndpointSlices tell it."""

    job: Job
    address: str  # an IP, spelled in its shortest way
    port: int
    absent_since_ms: int = 0  # 0: it was listed the last time

    @property
    def name(self) -> str:
        """The address and the port, as a URL has them."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


def instances(job: Job, service: ServiceSettings, slices: Iterable[JsonObject]) -> set[Instance]:
    """Return the instances that the slices of a Service list.

    Of a Service with two address families the slices list each pod twice: IPv4 is used where there
    is any. An endpoint in several slices at once is one, and of its addresses the first counts.

    Raises:
        DecodeError: a slice of another shape.
    """
    found: dict[str, set[Instance]] = {"IPv4": set(), "IPv6": set()}
    for one in map(_read, slices):
        if one.address_type in found:  # names are not for the hot path
            addresses = {_address(endpoint) for endpoint in one.endpoints or ()} - {""}
            found[one.address_type] |= {
                Instance(job, address, port)
                for address in addresses
                for port in _ports(service, one)
            }
    return found["IPv4"] or found["IPv6"]


def merged(
    before: Iterable[Instance], listed: Iterable[Instance], now_ms: int, *, instances_max: int
) -> tuple[list[Instance], int]:
    """Return the instances of one job after a complete answer, and how many were left out.

    Of too many the known ones stay, or targets would come and go with every answer.
    """
    known = {(one.address, one.port): one for one in before}
    there = {(one.address, one.port): one for one in listed}
    absent = [_absent(one, now_ms) for place, one in known.items() if place not in there]
    kept = [one for one in absent if now_ms - one.absent_since_ms < _patience_ms(one)]
    ranked = sorted(there.values(), key=lambda one: ((one.address, one.port) not in known, one))
    every = [*ranked, *sorted(kept)]
    return sorted(every[:instances_max]), max(0, len(every) - instances_max)


def targets(
    settings: DiscoverySettings, found: Iterable[Instance], *, server_name: str
) -> list[TargetSettings]:
    """Return what is scraped of the instances; `server_name`: in certificates of API servers."""
    services = settings.wanted
    return [
        target
        for one in found
        if one.job in services
        for target in _targets(settings, services[one.job], one, server_name)
    ]


def unconfigured(
    found: Iterable[TargetSettings], configured: Sequence[TargetSettings]
) -> list[TargetSettings]:
    """Return the targets at other places than the configured ones.

    Who writes an instance by hand, under whatever name, says how all of it is scraped.
    """
    places = {_place(one) for one in configured}
    return [one for one in found if _place(one) not in places]


def server_name(server: str, told: str | None) -> str:
    """Return the name that certificates of API servers are checked for when an IP is dialled.

    `server`: the URL of the kubeconfig. `told`: its tls-server-name. A name in the URL is in every
    certificate behind it, or clients that use it would fail now and then.
    """
    host = urlsplit(server).hostname or ""
    return told or (API_SERVER_NAME if _ip(host) or not host else host)


def _targets(
    settings: DiscoverySettings, service: ServiceSettings, one: Instance, server_name: str
) -> Iterable[TargetSettings]:
    asked = [("", METRICS_PATH, settings.interval_s, settings.timeout_s)]
    if one.job in SLIS_OF:  # a few kB that tell within seconds which check fails
        asked.append(("", SLIS_PATH, SLIS_S, SLIS_S))
    if one.job == API_SERVER and settings.probes:
        asked += [(name, path, every_s, SLIS_S) for name, (path, every_s) in PROBES.items()]
    if one.job == API_SERVER and settings.write_probe:
        asked.append(("write", WRITE_PROBE, PROBE_S, SLIS_S))
    tls = Tls(server_name=server_name) if one.job == API_SERVER else service.tls
    for probe, path, interval_s, timeout_s in asked:
        yield TargetSettings(
            job=one.job,
            instance=one.name,
            url=f"{service.scheme}://{one.name}{path}",
            tls=tls,
            bearer_token_file=service.bearer_token_file,
            probe=probe,
            interval_s=interval_s,
            timeout_s=timeout_s,
        )


def _read(one: JsonObject) -> _Slice:
    try:
        return msgspec.convert(one, _Slice)
    except msgspec.ValidationError as error:
        raise DecodeError(f"no EndpointSlice: {error}") from error


def _address(endpoint: _Endpoint) -> str:
    """Return the address of an endpoint; "" where it has none or is on its way out."""
    if not endpoint.addresses or (endpoint.conditions and endpoint.conditions.terminating):
        return ""
    return _ip(endpoint.addresses[0])


def _ip(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return "" if "%" in text else str(found)


def _ports(service: ServiceSettings, one: _Slice) -> set[int]:
    """Return the ports of a slice that are scraped; a number is taken though none may be listed."""
    if isinstance(service.port, int):
        return {service.port}
    return {
        port.port
        for port in one.ports or ()
        if port.port and port.name == service.port and port.protocol in {None, "TCP"}
    }


def _absent(one: Instance, now_ms: int) -> Instance:
    return msgspec.structs.replace(one, absent_since_ms=one.absent_since_ms or now_ms)


def _patience_ms(one: Instance) -> int:
    return ABSENT_MS if one.job == API_SERVER else 0


def _place(target: TargetSettings) -> tuple[str, str, int]:
    parts = urlsplit(target.url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return JOB_ALIASES.get(target.job, target.job), _ip(host) or host, port
