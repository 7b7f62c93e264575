"""What EndpointSlices mean: which instances there are, what they are called, when they are gone."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from producers.core.discovery import (
    ABSENT_MS,
    WRITE_PROBE,
    Instance,
    instances,
    merged,
    server_name,
    targets,
    unconfigured,
)
from schemas.discovery import DiscoverySettings, ServiceSettings
from schemas.errors import DecodeError
from schemas.settings import TargetSettings

KUBERNETES = DiscoverySettings().known["apiserver"]
DNS = DiscoverySettings().known["coredns"]
NAME = "kubernetes.default.svc"


def dns_slice(*endpoints: dict[str, Any], family: str = "IPv4", **more: Any) -> dict[str, Any]:
    """A slice of kube-dns as the EndpointSlice controller of Kubernetes 1.36 writes it."""
    return {
        "metadata": {"name": "kube-dns-x2x7k", "namespace": "kube-system", "uid": "u"},
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": [
            {"name": "dns", "protocol": "UDP", "port": 53},
            {"name": "dns-tcp", "protocol": "TCP", "port": 53},
            {"name": "metrics", "protocol": "TCP", "port": 9153},
        ],
        **more,
    }


def pod(*addresses: str, ready: bool | None = True, **conditions: bool) -> dict[str, Any]:
    return {
        "addresses": list(addresses),
        "conditions": {"ready": ready, **conditions},
        "nodeName": "node-1",
        "targetRef": {"kind": "Pod", "namespace": "kube-system", "name": "coredns-a", "uid": "p"},
    }


def names(slices: list[dict[str, Any]], service: ServiceSettings = DNS) -> list[str]:
    return [one.name for one in sorted(instances("coredns", service, slices))]


# --- slices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", ["kubernetes", "after-restart"])
def test_api_servers_are_those_of_a_real_cluster(shared_fixtures: Path, capture: str) -> None:
    file = shared_fixtures / "cluster" / "http" / f"endpointslices-{capture}.json.gz"
    items = json.loads(gzip.decompress(file.read_bytes()))["items"]

    found = instances("apiserver", KUBERNETES, items)

    assert ["10.99.0.11:6443", "10.99.0.12:6443"] == [one.name for one in sorted(found)]


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([], []),
        ([dns_slice()], []),
        ([dns_slice(endpoints=None)], []),
        ([dns_slice(pod("10.0.0.1"), ports=None)], []),
        ([dns_slice(pod("10.0.0.1")), dns_slice(pod("10.0.0.1"))], ["10.0.0.1:9153"]),
        ([dns_slice(pod("10.0.0.1", "10.0.0.2"))], ["10.0.0.1:9153"]),
        ([dns_slice(pod())], []),
        ([dns_slice(pod("10.0.0.1", ready=False))], ["10.0.0.1:9153"]),
        ([dns_slice(pod("10.0.0.1", ready=None))], ["10.0.0.1:9153"]),
        ([dns_slice({"addresses": ["10.0.0.1"]})], ["10.0.0.1:9153"]),
        ([dns_slice(pod("10.0.0.1", ready=False, serving=True, terminating=True))], []),
        ([dns_slice(pod("fd00:0:0::a"), family="IPv6")], ["[fd00::a]:9153"]),
        (
            [dns_slice(pod("fd00::a"), family="IPv6"), dns_slice(pod("10.0.0.1"))],
            ["10.0.0.1:9153"],
        ),
        ([dns_slice(pod("dns.example"), family="FQDN")], []),
        ([dns_slice(pod("fe80::1%eth0"), family="IPv6")], []),
        ([dns_slice(pod("no address"))], []),
        (
            [
                dns_slice(pod("10.0.0.1")),
                dns_slice(pod("10.0.0.2"), ports=[{"name": "metrics", "port": 9154}]),
            ],
            ["10.0.0.1:9153", "10.0.0.2:9154"],
        ),
        ([dns_slice(pod("10.0.0.1"), ports=[{"name": "metrics", "port": None}])], []),
        (
            [
                dns_slice(
                    pod("10.0.0.1"), ports=[{"name": "metrics", "protocol": "UDP", "port": 9153}]
                )
            ],
            [],
        ),
    ],
    ids=[
        "no slice",
        "no endpoint",
        "endpoints null",
        "all ports",
        "an endpoint in two slices",
        "two addresses of one endpoint",
        "no address",
        "not ready",
        "ready unknown",
        "no conditions",
        "terminating",
        "IPv6",
        "two families",
        "names",
        "an address of a link",
        "garbage for an address",
        "ports differ by slice",
        "no port number",
        "another protocol",
    ],
)
def test_a_slice_means(slices: list[dict[str, Any]], expected: list[str]) -> None:
    assert expected == names(slices)


def test_a_port_may_be_a_number_that_no_slice_lists() -> None:
    service = ServiceSettings(service="kube-dns", port=9253)
    assert ["10.0.0.1:9253"] == names([dns_slice(pod("10.0.0.1"), ports=[])], service)


@pytest.mark.parametrize("shape", [{}, {"addressType": "IPv4", "endpoints": 5}])
def test_a_slice_of_another_shape_is_no_slice(shape: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="EndpointSlice"):
        instances("coredns", DNS, [shape])


# --- what was known ------------------------------------------------------------------------------

A, B, C = (Instance("apiserver", f"10.0.0.{n}", 6443) for n in (1, 2, 3))
POD, OTHER_POD = (Instance("coredns", f"10.1.0.{n}", 9153) for n in (1, 2))


def after(before: list[Instance], listed: list[Instance], now_ms: int = 1_000) -> list[Instance]:
    found, left_out = merged(before, listed, now_ms, instances_max=100)
    assert 0 == left_out
    return found


def test_an_api_server_that_is_no_longer_listed_may_be_dead_and_stays() -> None:
    found = after([A, B], [B])
    assert [Instance("apiserver", "10.0.0.1", 6443, 1_000), B] == found
    assert found == after(found, [B], now_ms=1_000 + ABSENT_MS - 1), "absent since it was missed"
    assert [B] == after(found, [B], now_ms=1_000 + ABSENT_MS)


def test_an_api_server_that_returns_is_as_new() -> None:
    assert [A, B] == after(after([A, B], [B]), [A, B], now_ms=ABSENT_MS)


def test_a_pod_that_is_no_longer_listed_was_deleted() -> None:
    assert [OTHER_POD] == after([POD], [OTHER_POD])
    assert [] == after([POD], [])


def test_of_too_many_the_known_ones_stay_and_absent_ones_go_first() -> None:
    assert ([B, C], 1) == merged([B, C], [A, B, C], 0, instances_max=2)
    assert ([B, C], 1) == merged([A], [B, C], 5, instances_max=2)


# --- targets -------------------------------------------------------------------------------------


def test_api_servers_are_dialled_by_address_and_keep_their_name() -> None:
    settings = DiscoverySettings(interval_s=30, timeout_s=20)
    main, slis, *probes = targets(settings, [A], server_name=NAME)

    assert ("apiserver", "10.0.0.1:6443", "https://10.0.0.1:6443/metrics") == (
        main.job,
        main.instance,
        main.url,
    )
    assert main.tls and NAME == main.tls.server_name
    assert (30, 20) == (main.interval_s, main.timeout_s)
    assert ("/metrics/slis", 5.0, 5.0) == (slis.path, slis.interval_s, slis.timeout_s)
    assert main.tls == slis.tls
    assert {"readyz": 5.0, "get": 15.0, "list": 15.0} == {
        one.probe: one.interval_s for one in probes
    }
    assert {(main.instance, main.tls, 5.0)} == {
        (one.instance, one.tls, one.timeout_s) for one in probes
    }
    without = DiscoverySettings(probes=False)
    assert ["", ""] == [one.probe for one in targets(without, [A], server_name=NAME)]


def test_only_who_asks_for_it_gets_a_write_probe_and_only_of_api_servers() -> None:
    settings = DiscoverySettings(probes=False, write_probe=True)
    *_, write = targets(settings, [A], server_name=NAME)
    assert ("write", f"https://10.0.0.1:6443{WRITE_PROBE}") == (write.probe, write.url)
    assert (write.interval_s, write.timeout_s) == (15.0, 5.0)
    assert ["", "", "write", ""] == [
        one.probe for one in targets(settings, [A, POD], server_name=NAME)
    ]


def test_an_address_of_ipv6_is_bracketed_in_name_and_url() -> None:
    (one,) = targets(DiscoverySettings(), [Instance("coredns", "fd00::a", 9153)], server_name=NAME)
    assert ("[fd00::a]:9153", "http://[fd00::a]:9153/metrics") == (one.instance, one.url)
    assert one.tls is None


def test_other_jobs_are_scraped_as_their_service_says(tmp_path: Path) -> None:
    settings = DiscoverySettings.model_validate(
        {
            "services": {
                "kube-scheduler": {
                    "service": "kube-scheduler",
                    "port": "https-metrics",
                    "tls": {"ca_file": str(tmp_path / "ca.crt"), "server_name": "scheduler"},
                    "bearer_token_file": str(tmp_path / "token"),
                }
            }
        }
    )
    main, slis = targets(
        settings, [Instance("kube-scheduler", "10.0.0.1", 10259)], server_name=NAME
    )
    assert main.tls and ("scheduler", tmp_path / "ca.crt") == (
        main.tls.server_name,
        main.tls.ca_file,
    )
    assert tmp_path / "token" == main.bearer_token_file == slis.bearer_token_file


def test_a_job_that_is_no_longer_wanted_has_no_targets() -> None:
    settings = DiscoverySettings(jobs=["apiserver"])
    assert [] == targets(settings, [POD], server_name=NAME)


def test_who_writes_an_instance_by_hand_says_how_all_of_it_is_scraped() -> None:
    found = targets(DiscoverySettings(probes=False), [A, B, POD], server_name=NAME)
    by_hand = [
        TargetSettings(job="kube-apiserver", instance="cp-1", url="https://10.0.0.1:6443"),
        TargetSettings(job="etcd", instance="cp-2", url="https://10.0.0.2:6443"),
    ]
    left = [(one.instance, one.path) for one in unconfigured(found, by_hand)]
    assert [
        ("10.0.0.2:6443", "/metrics"),
        ("10.0.0.2:6443", "/metrics/slis"),
        ("10.1.0.1:9153", "/metrics"),
    ] == left


@pytest.mark.parametrize(
    ("url", "told", "expected"),
    [
        ("https://10.0.0.1:6443", None, NAME),
        ("https://[fd00::1]:6443", None, NAME),
        ("https://api.example.com:6443", None, "api.example.com"),
        ("https://api.example.com:6443", "inner", "inner"),
        ("https://10.0.0.1", "inner", "inner"),
        ("", None, NAME),
    ],
)
def test_the_name_in_certificates_is_the_one_that_was_checked_so_far(
    url: str, told: str | None, expected: str
) -> None:
    assert expected == server_name(url, told)
