"""Identify clusters and targets. In: configured names. Out: checked ids and the keys made of them.

The rule this file owns: a cluster id and a target have one spelling, in keys, partitions, labels
and columns.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from schemas.nodes import LOOPBACK
from schemas.partition import PLANEWATCH_CLUSTER

CLUSTER_PATTERN: Final = r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?"
_CLUSTER: Final = re.compile(CLUSTER_PATTERN)

METRICS_PATH: Final = "/metrics"
"""Only this path makes `up`; every other path makes probe series."""

JOB_ALIASES: Final = {
    "kube-apiserver": "apiserver",
    "kubernetes": "apiserver",
    "kubernetes-apiservers": "apiserver",
    "kube-etcd": "etcd",
    "kube-controllers": "kube-controller-manager",
    "kube-dns": "coredns",
}
"""Other people's names of jobs, and the names of kube-prometheus that rules use."""


def is_cluster_id(text: str) -> bool:
    """Tell whether `text` can name a cluster (our own `_planewatch` included)."""
    return text == PLANEWATCH_CLUSTER or _CLUSTER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One endpoint that is scraped; sequence, tick, interval and layout are per target."""

    cluster: str
    job: str
    instance: str
    path: str = METRICS_PATH

    @property
    def key(self) -> str:
        """The Kafka key of its scrapes: cluster/job/instance."""
        return f"{self.cluster}/{self.job}/{self.instance}"

    def __str__(self) -> str:
        return self.key if self.path == METRICS_PATH else f"{self.key}{self.path}"


def on_node(instance: str, node: str) -> str:
    """Return the name of an instance; one on loopback is called by the node, where that is known.

    127.0.0.1:2381 on cp-1 is cp-1:2381.
    """
    if not node:
        return instance
    if instance.strip("[]") in LOOPBACK:
        return node
    host, _, port = instance.rpartition(":")
    return f"{node}:{port}" if host.strip("[]") in LOOPBACK else instance


def host_and_port(url: str) -> str:
    """Return what Prometheus calls an instance at this URL; "" where that is no URL."""
    parts = urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:  # no number: said by the check of the URL
        return ""
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{host}:{port}" if host and port else ""
