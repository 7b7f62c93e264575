"""Facts about the metrics of Kubernetes 1.36.2 and etcd 3.5.30: names, labels, bounds.

The rule this file owns: what a rehearsal exposes is named and labelled as the real processes do it.
Rates and durations are ours: a small, quiet cluster.
"""

from dataclasses import dataclass
from typing import Final

KUBERNETES: Final = "v1.36.2"
ETCD: Final = "3.5.30"
ETCD_MEMBER: Final = "8e9e05c52164694d"

# --- bounds --------------------------------------------------------------------------------------

REQUEST_BOUNDS_S: Final = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45,
    60,
)  # fmt: skip
"""apiserver_request_duration_seconds and etcd_request_duration_seconds."""
SLI_BOUNDS_S: Final = REQUEST_BOUNDS_S[2:]
SIZE_BOUNDS: Final = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
APF_BOUNDS_S: Final = (0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)
ADMISSION_BOUNDS_S: Final = (0.005, 0.025, 0.1, 0.5, 1, 2.5)
DISK_BOUNDS_S: Final = tuple(0.001 * 2**n for n in range(14))
APPLY_BOUNDS_S: Final = tuple(0.0001 * 2**n for n in range(20))

# --- requests to an API server -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of request to an API server, and how often it comes when all is calm."""

    verb: str
    group: str
    resource: str
    scope: str
    per_s: float
    median_ms: float
    flow_schema: str
    subresource: str = ""
    version: str = "v1"
    code: str = "200"
    error: tuple[str, float] = ("", 0.0)  # another code, and its share
    response_bytes: float = 1_500.0

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its series in the order of the exposition, without code and dry_run."""
        component = "apiserver" if self.scope else ""
        return {
            "component": component,
            "group": self.group,
            "resource": self.resource,
            "scope": self.scope,
            "subresource": self.subresource,
            "verb": self.verb,
            "version": self.version if self.scope else "",
        }


_CONTROLLERS: Final = "kube-controller-manager"
_SYSTEM: Final = "kube-system-service-accounts"
_ACCOUNTS: Final = "service-accounts"
_NODES: Final = "system-nodes"
_ELECTION: Final = "system-leader-election"
_NODE_HIGH: Final = "system-node-high"
_PROBES: Final = "probes"

STORM_CALL: Final = Call(
    "LIST", "", "pods", "cluster", 0.5, 250, _ACCOUNTS, response_bytes=6_000_000
)
"""What the clients in a storm call; its rate and duration come from the story."""

CALLS: Final = (
    STORM_CALL,
    Call("LIST", "", "configmaps", "cluster", 0.2, 90, _SYSTEM, response_bytes=400_000),
    Call("LIST", "", "nodes", "cluster", 0.3, 40, _ACCOUNTS, response_bytes=300_000),
    Call("LIST", "", "events", "namespace", 0.3, 30, _ACCOUNTS, response_bytes=60_000),
    Call("LIST", "apps", "deployments", "namespace", 0.4, 20, _ACCOUNTS, response_bytes=40_000),
    Call("LIST", "discovery.k8s.io", "endpointslices", "namespace", 0.3, 15, _SYSTEM,
         response_bytes=30_000),
    Call("GET", "", "pods", "resource", 9.0, 6, _ACCOUNTS, error=("404", 0.04)),
    Call("GET", "", "nodes", "resource", 6.0, 5, _NODES),
    Call("GET", "", "configmaps", "resource", 4.0, 5, _SYSTEM, error=("404", 0.02)),
    Call("GET", "", "secrets", "resource", 3.0, 5, _ACCOUNTS, error=("403", 0.03)),
    Call("GET", "", "namespaces", "resource", 2.0, 4, _CONTROLLERS),
    Call("GET", "apps", "deployments", "resource", 2.5, 6, _ACCOUNTS),
    Call("GET", "coordination.k8s.io", "leases", "resource", 1.2, 4, _ELECTION),
    Call("POST", "", "events", "resource", 2.0, 12, _NODES, code="201"),
    Call("POST", "", "pods", "resource", 0.8, 18, _CONTROLLERS, code="201"),
    Call("POST", "", "pods", "resource", 0.8, 14, "kube-scheduler", subresource="binding",
         code="201"),
    Call("POST", "", "serviceaccounts", "resource", 1.5, 14, _NODES, subresource="token",
         code="201"),
    Call("PUT", "coordination.k8s.io", "leases", "resource", 22.0, 9, _NODE_HIGH),
    Call("PUT", "apps", "deployments", "resource", 0.7, 12, _CONTROLLERS, subresource="status",
         error=("409", 0.02)),
    Call("PUT", "apps", "replicasets", "resource", 0.7, 12, _CONTROLLERS, subresource="status"),
    Call("PATCH", "", "pods", "resource", 3.0, 13, _NODES, subresource="status"),
    Call("PATCH", "", "nodes", "resource", 1.5, 13, _NODES, subresource="status"),
    Call("PATCH", "", "events", "resource", 0.8, 12, _NODES),
    Call("DELETE", "", "pods", "resource", 0.7, 15, _NODES),
    Call("GET", "", "", "", 0.4, 2, _PROBES, subresource="/readyz", response_bytes=2),
    Call("GET", "", "", "", 0.4, 2, _PROBES, subresource="/livez", response_bytes=2),
    Call("GET", "", "", "", 0.2, 60, "exempt", subresource="/metrics", response_bytes=250_000),
)  # fmt: skip

WATCHED: Final = (
    ("", "configmaps"), ("", "endpoints"), ("", "events"), ("", "namespaces"), ("", "nodes"),
    ("", "pods"), ("", "secrets"), ("", "serviceaccounts"), ("", "services"),
    ("apps", "daemonsets"), ("apps", "deployments"), ("apps", "replicasets"),
    ("batch", "jobs"), ("coordination.k8s.io", "leases"), ("discovery.k8s.io", "endpointslices"),
)  # fmt: skip
"""(group, resource) with watches."""

OBJECTS: Final = {
    ("", "configmaps"): 460, ("", "endpoints"): 90, ("", "events"): 2_300, ("", "namespaces"): 34,
    ("", "nodes"): 120, ("", "pods"): 3_400, ("", "secrets"): 510, ("", "serviceaccounts"): 240,
    ("", "services"): 190, ("apps", "daemonsets"): 14, ("apps", "deployments"): 260,
    ("apps", "replicasets"): 900, ("batch", "jobs"): 40, ("coordination.k8s.io", "leases"): 126,
    ("discovery.k8s.io", "endpointslices"): 210,
}  # fmt: skip

# --- priority and fairness -----------------------------------------------------------------------

LEVEL_OF: Final = {
    "exempt": "exempt",
    _PROBES: "exempt",
    _ELECTION: "leader-election",
    _NODE_HIGH: "node-high",
    _NODES: "system",
    _CONTROLLERS: "workload-high",
    "kube-scheduler": "workload-high",
    _SYSTEM: "workload-high",
    _ACCOUNTS: "workload-low",
}
"""Priority levels by flow schema."""
STORM_SCHEMA: Final = _ACCOUNTS

NOMINAL_SEATS: Final = {
    "catch-all": 13, "exempt": 0, "global-default": 49, "leader-election": 25, "node-high": 98,
    "system": 74, "workload-high": 98, "workload-low": 245,
}  # fmt: skip

# --- etcd ----------------------------------------------------------------------------------------

STORAGE_CALLS: Final = (
    # operation, group, resource, per second of one API server, median ms
    ("get", "", "pods", 1.2, 2.5), ("get", "coordination.k8s.io", "leases", 22.0, 2.0),
    ("create", "", "events", 2.0, 4.0), ("create", "", "pods", 0.8, 4.5),
    ("update", "coordination.k8s.io", "leases", 22.0, 3.5), ("update", "", "pods", 4.5, 4.0),
    ("update", "", "nodes", 1.5, 4.0), ("update", "apps", "replicasets", 0.7, 4.0),
    ("delete", "", "pods", 0.7, 4.0), ("list", "", "events", 0.3, 9.0),
)  # fmt: skip

GRPC_CODES: Final = (
    "Aborted", "AlreadyExists", "Canceled", "DataLoss", "DeadlineExceeded", "FailedPrecondition",
    "Internal", "InvalidArgument", "NotFound", "OK", "OutOfRange", "PermissionDenied",
    "ResourceExhausted", "Unauthenticated", "Unavailable", "Unimplemented", "Unknown",
)  # fmt: skip
GRPC_METHODS: Final = (
    # service, method, type, per second
    ("etcdserverpb.KV", "Range", "unary", 48.0), ("etcdserverpb.KV", "Txn", "unary", 66.0),
    ("etcdserverpb.KV", "Compact", "unary", 0.0034),
    ("etcdserverpb.Lease", "LeaseGrant", "unary", 0.12),
    ("etcdserverpb.Maintenance", "Status", "unary", 0.4),
    ("etcdserverpb.Watch", "Watch", "bidi_stream", 0.0),
)  # fmt: skip
