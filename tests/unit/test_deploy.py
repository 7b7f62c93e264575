"""What planewatch is allowed in a cluster is what it asks for, and only reading."""

from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from producers.core.discovery import PROBES, SLIS_PATH, WRITE_PROBE
from producers.core.stretch import FLOW_SCHEMA
from producers.discovery import SLICES
from producers.watch import LEASES
from schemas.config import load
from schemas.discovery import WELL_KNOWN
from schemas.identity import METRICS_PATH

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
EDGE = FOLDER / "edge"
WRITE = FOLDER / "write-probe"
READING = {"get", "list", "watch"}


def objects(*folders: Path) -> list[dict[str, Any]]:
    """Every object that `kubectl apply -k` makes of the folders, of FOLDER without any."""
    files = [
        folder / name
        for folder in folders or (FOLDER,)
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    ]
    return [one for file in files for one in yaml.safe_load_all(file.read_text())]


def roles(*folders: Path) -> list[dict[str, Any]]:
    return [one for one in objects(*folders) if one["kind"] in {"Role", "ClusterRole"}]


def allowed(path: str, verb: str, *folders: Path) -> bool:
    """Tell whether a request is allowed, by the path of a resource of a namespace or another."""
    path = path.partition("?")[0]
    if path.startswith("/api/v1/namespaces/") and path.count("/") == 4:  # an object of itself
        path = f"/apis//v1/namespaces/{path.split('/')[4]}/namespaces/{path.split('/')[4]}"
    path = path.replace("/api/v1/", "/apis//v1/")
    if not path.startswith("/apis/"):
        return any(
            path in rule.get("nonResourceURLs", ()) and verb in rule["verbs"]
            for role in roles(*folders)
            for rule in role["rules"]
        )
    _, group, _, _, namespace, resource, *name = path[1:].split("/")
    return any(
        role["metadata"].get("namespace") == namespace
        and group in rule["apiGroups"]
        and resource in rule["resources"]
        and verb in rule["verbs"]
        and rule.get("resourceNames", name) == name
        for role in roles(*folders)
        for rule in role["rules"]
    )


@pytest.mark.parametrize(
    ("path", "verb"),
    [
        (METRICS_PATH, "get"),
        (SLIS_PATH, "get"),
        (f"{SLICES.format('default')}/{WELL_KNOWN['apiserver'].service}", "get"),
        (SLICES.format(WELL_KNOWN["coredns"].namespace), "list"),
        (LEASES.path, "list"),
        (LEASES.path, "watch"),
        (PROBES["readyz"][0], "get"),
        (PROBES["get"][0], "get"),
        (PROBES["list"][0], "list"),
    ],
)
def test_what_is_asked_for_is_allowed(path: str, verb: str) -> None:
    assert allowed(path, verb)


@pytest.mark.parametrize(
    ("path", "verb"),
    [
        (SLICES.format("default"), "list"),
        (f"{SLICES.format('default')}/web", "get"),
        (SLICES.format("kube-system"), "watch"),
        ("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", "list"),
        ("/debug/pprof", "get"),
        ("/api/v1/namespaces/default", "get"),
        (WRITE_PROBE, "patch"),
    ],
)
def test_what_is_not_asked_for_is_not_allowed(path: str, verb: str) -> None:
    assert not allowed(path, verb)


def test_nothing_is_written_no_secret_is_read_and_no_wildcard_hides_either() -> None:
    rules = [rule for role in roles() for rule in role["rules"]]
    assert rules
    for rule in rules:
        assert set(rule["verbs"]) <= READING
        assert "secrets" not in rule.get("resources", ())
        assert not any("*" in word for words in rule.values() for word in words)


def test_each_role_is_bound_to_the_one_account() -> None:
    bindings = [one for one in objects() if one["kind"].endswith("Binding")]
    account = [{"kind": "ServiceAccount", "name": "planewatch", "namespace": "planewatch"}]
    assert all(one["subjects"] == account for one in bindings)
    bound = {(one["roleRef"]["kind"], one["metadata"].get("namespace")) for one in bindings}
    assert {(one["kind"], one["metadata"].get("namespace")) for one in roles()} == bound


def test_the_write_probe_may_patch_one_config_map_that_its_overlay_makes_and_nothing_else() -> None:
    assert allowed(WRITE_PROBE, "patch", FOLDER, WRITE)
    (made,) = (one for one in objects(WRITE) if one["kind"] == "ConfigMap")
    path = urlsplit(WRITE_PROBE).path
    assert path.endswith(f"/{made['metadata']['namespace']}/configmaps/{made['metadata']['name']}")
    (role,) = roles(WRITE)
    assert made["metadata"]["namespace"] == role["metadata"]["namespace"]
    (rule,) = role["rules"]
    assert ["patch"] == rule["verbs"]
    assert [made["metadata"]["name"]] == rule["resourceNames"]
    (binding,) = (one for one in objects(WRITE) if one["kind"] == "RoleBinding")
    assert role["metadata"]["name"] == binding["roleRef"]["name"]
    assert [{"kind": "ServiceAccount", "name": "planewatch", "namespace": "planewatch"}] == (
        binding["subjects"]
    )


def test_no_kustomization_names_a_folder_above_it() -> None:
    """Kustomize refuses that as a cycle."""
    files = list(FOLDER.rglob("kustomization.yaml"))
    assert {FOLDER, EDGE, WRITE} == {file.parent for file in files}
    for file in files:
        names = yaml.safe_load(file.read_text())["resources"]
        assert all((file.parent / name).resolve().parent == file.parent for name in names)


def test_all_our_requests_are_in_a_priority_level_of_our_own_that_borrows_and_lends_nothing() -> (
    None
):
    (level,) = (one for one in objects() if one["kind"] == "PriorityLevelConfiguration")
    (schema,) = (one for one in objects() if one["kind"] == "FlowSchema")
    limited = level["spec"]["limited"]
    assert "Limited" == level["spec"]["type"]
    assert (0, 0) == (limited["lendablePercent"], limited["borrowingLimitPercent"])
    assert FLOW_SCHEMA == schema["metadata"]["name"]
    assert level["metadata"]["name"] == schema["spec"]["priorityLevelConfiguration"]["name"]
    assert schema["spec"]["matchingPrecedence"] < 9_000  # that of `service-accounts`
    (rule,) = schema["spec"]["rules"]
    account = {"name": "planewatch", "namespace": "planewatch"}
    assert [{"kind": "ServiceAccount", "serviceAccount": account}] == rule["subjects"]
    assert rule["nonResourceRules"] and rule["resourceRules"]


def test_producers_at_the_edge_ask_their_own_node_only() -> None:
    settings = load(EDGE / "planewatch.yaml", environ={}).settings
    (cluster,) = settings.clusters
    assert not cluster.asks and cluster.discovery is None
    assert {"127.0.0.1"} == {urlsplit(one.url).hostname for one in cluster.targets}
    names = [cluster.target(one, "cp-1").instance for one in cluster.targets]
    assert ["cp-1:2381", "cp-1:10259", "cp-1:10257"] == names


def test_producers_at_the_edge_run_on_control_plane_nodes_without_rights() -> None:
    pod = yaml.safe_load((EDGE / "daemonset.yaml").read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["hostNetwork"] and pod["dnsPolicy"] == "Default"
    assert ["node-role.kubernetes.io/control-plane"] == list(pod["nodeSelector"])
    assert pod["securityContext"]["runAsNonRoot"]
    assert ["ALL"] == container["securityContext"]["capabilities"]["drop"]
    environment = {one["name"]: one["valueFrom"] for one in container["env"]}
    assert {"PLANEWATCH_PRODUCERS__NODE": {"fieldRef": {"fieldPath": "spec.nodeName"}}} == (
        environment
    )
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    stage, *options = container["args"]
    given = dict(pairwise(options))
    assert "producers" == stage
    assert given["--data"] in mounted
    assert any(given["--config"].startswith(f"{path}/") for path in mounted)
