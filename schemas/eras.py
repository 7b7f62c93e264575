"""Translate metric and label names of Kubernetes 1.28 to 1.37. In: names as a server or a rule
wrote them. Out: current.

The rule this file owns: series are indexed under current names, while producers send what the
server said. Streams and sinks translate the series of a server that is older than a rename; a newer
server that still serves the old family beside the new one keeps both. The rule compiler translates
names. What cannot be mapped exactly is refused by name. Sources: catalogue, fact 6 and section A.6;
the 1.31, 1.35 and 1.36 captures.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rename:
    """A family that changed in release `since` with the same meaning.

    `split` names the label whose value "deployments.apps" became group="apps",
    resource="deployments".
    """

    family: str
    new_family: str
    since: Version
    split: str


RENAMES: Final = (
    Rename("apiserver_storage_objects", "apiserver_resource_objects", (1, 34), "resource"),
    Rename("etcd_bookmark_counts", "etcd_bookmark_total", (1, 34), "resource"),
    Rename("etcd_request_duration_seconds", "etcd_request_duration_seconds", (1, 34), "type"),
    Rename("etcd_request_errors_total", "etcd_request_errors_total", (1, 34), "type"),
    Rename("etcd_requests_total", "etcd_requests_total", (1, 34), "type"),
)

REFUSED: Final = MappingProxyType(
    {
        "apiserver_flowcontrol_request_concurrency_limit": (
            "removed in Kubernetes 1.31; use apiserver_flowcontrol_nominal_limit_seats"
        ),
        "apiserver_flowcontrol_request_concurrency_in_use": (
            "removed in Kubernetes 1.31; use apiserver_flowcontrol_current_executing_seats"
        ),
        "apiserver_request_slo_duration_seconds": (
            "removed in Kubernetes 1.27; use apiserver_request_sli_duration_seconds"
        ),
    }
)
"""Families that rules name and that have no exact successor, with what to do."""

_BY_FAMILY: Final = {rename.family: rename for rename in RENAMES}
_SUFFIXES: Final = ("_bucket", "_count", "_sum")
_RELEASE: Final = re.compile(r"v?(\d+)\.(\d+)")


def release(version: str) -> Version | None:
    """Return (1, 36) of "v1.36.2"; None where there is no version."""
    found = _RELEASE.match(version)
    return (int(found[1]), int(found[2])) if found else None


def current_series(
    metric: str, labels: Mapping[str, str], version: str
) -> tuple[str, Mapping[str, str]]:
    """Return today's name and labels of a series that a server of `version` exposed.

    `metric` is a family name or one of its views (_bucket, _count, _sum).
    """
    base, suffix = _split(metric)
    rename, server = _BY_FAMILY.get(base), release(version)
    if rename is None or server is None or server >= rename.since:
        return metric, labels
    kept = {name: value for name, value in labels.items() if name != rename.split}
    if old := labels.get(rename.split):
        resource, _, group = old.partition(".")
        kept |= {"resource": resource, "group": group}
    return rename.new_family + suffix, kept


def current_name(metric: str) -> str:
    """Return today's name of a metric that a rule names."""
    base, suffix = _split(metric)
    return _BY_FAMILY[base].new_family + suffix if base in _BY_FAMILY else metric


def renamed_label(metric: str, label: str) -> str | None:
    """Return why a rule cannot select or group `metric` by `label`, or None where it can."""
    rename = _BY_FAMILY.get(_split(metric)[0])
    if rename is None or label != rename.split or label == "resource":
        return None
    since = ".".join(map(str, rename.since))
    return f"{label} became group and resource in Kubernetes {since}; use those"


def refused(metric: str) -> str | None:
    """Return why a rule cannot use `metric` at all, or None where it can."""
    return REFUSED.get(_split(metric)[0])


def _split(metric: str) -> tuple[str, str]:
    if metric not in _BY_FAMILY:
        for suffix in _SUFFIXES:
            if metric.endswith(suffix):
                return metric.removesuffix(suffix), suffix
    return metric, ""
