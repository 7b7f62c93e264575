"""What is discovered of a cluster, and by which Services. In: values of the configuration. Out: the
jobs that are looked for.

The rule this file owns: a profile says what a cluster shows of its control plane, by who runs that;
who asks for more is told so at start, and not by a target that never comes.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from schemas.nodes import FilePath, Node, Seconds, Tls

NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"  # of a namespace, a Service, a port


class ServiceSettings(Node):
    """The Service whose endpoints are the instances of a job, and how these are scraped."""

    namespace: str = Field("kube-system", pattern=NAME)
    service: str = Field(pattern=NAME)
    port: Annotated[int, Field(ge=1, le=65_535)] | Annotated[str, Field(pattern=NAME)] = "metrics"
    scheme: Literal["http", "https"] = "https"
    tls: Tls | None = None
    bearer_token_file: FilePath | None = None

    @model_validator(mode="after")
    def _in_the_open(self) -> Self:
        if self.scheme == "http" and (self.tls or self.bearer_token_file):
            raise ValueError("tls and bearer_token_file need scheme: https")
        return self


Job = Literal["apiserver", "etcd", "kube-scheduler", "kube-controller-manager", "coredns"]

VISIBLE: dict[str, tuple[Job, ...]] = {
    "self-managed": ("apiserver", "etcd", "kube-scheduler", "kube-controller-manager", "coredns"),
    # Neither etcd nor a scheduler of its own address. AWS serves two jobs below
    # /apis/metrics.eks.amazonaws.com/v1 of the API server, which are written as `targets`:
    # https://docs.aws.amazon.com/eks/latest/userguide/view-raw-metrics.html
    "eks": ("apiserver", "coredns"),
    "gke": ("apiserver",),  # all else is in Cloud Monitoring; DNS is kube-dns or Cloud DNS
    "aks": ("apiserver", "coredns"),  # all else is in the managed Prometheus of Azure
}
"""What a cluster shows of its control plane, by who runs that."""

WELL_KNOWN: dict[Job, ServiceSettings] = {
    "apiserver": ServiceSettings(namespace="default", service="kubernetes", port="https"),
    "coredns": ServiceSettings(service="kube-dns", scheme="http"),
}
"""Services that each cluster has; those of other jobs somebody has to make and name."""


class DiscoverySettings(Node):
    """Targets that the API server of a cluster knows, by its EndpointSlices."""

    profile: Literal["self-managed", "eks", "gke", "aks"] = "self-managed"
    services: dict[Job, ServiceSettings] = {}
    jobs: list[Job] = []  # empty: all that the profile shows and that have a service
    server_name: str | None = None  # in the certificates of API servers; that of the kubeconfig
    probes: bool = True  # of each API server: /readyz each 5 s, a small GET and LIST each 15 s
    # Of each API server each 15 s a PATCH that is a dry run: apply deploy/kubernetes/write-probe.
    write_probe: bool = False
    interval_s: Seconds = 15.0
    timeout_s: Seconds = 25.0
    instances_max: int = Field(100, ge=1, le=10_000)  # per job; further ones are left out, counted

    @field_validator("services")
    @classmethod
    def _theirs(
        cls, services: dict[Job, ServiceSettings], info: ValidationInfo
    ) -> dict[Job, ServiceSettings]:
        if "apiserver" in services:
            raise ValueError("API servers are those of default/kubernetes: leave apiserver out")
        _check_visible(services, info)
        return services

    @field_validator("jobs")
    @classmethod
    def _served(cls, jobs: list[Job], info: ValidationInfo) -> list[Job]:
        _check_visible(jobs, info)
        known = WELL_KNOWN | info.data.get("services", {})
        if lost := [job for job in jobs if job not in known]:
            raise ValueError(f"{lost[0]} has no Service by itself: name it in services.{lost[0]}")
        return jobs

    @property
    def known(self) -> dict[Job, ServiceSettings]:
        """The services of all jobs that have one."""
        return WELL_KNOWN | self.services

    @property
    def wanted(self) -> dict[Job, ServiceSettings]:
        """The services of the jobs that are looked for, in the order of the profile."""
        known, jobs = self.known, self.jobs or VISIBLE[self.profile]
        return {job: known[job] for job in VISIBLE[self.profile] if job in jobs and job in known}


def _check_visible(jobs: Iterable[Job], info: ValidationInfo) -> None:
    profile = info.data.get("profile", "self-managed")
    if hidden := [job for job in jobs if job not in VISIBLE[profile]]:
        raise ValueError(f"{profile} shows {', '.join(VISIBLE[profile])}, but not {hidden[0]}")
