"""The configuration tree of all stages. In: a merged dictionary. Out: frozen settings, or every
problem at once.

The rule this file owns: each setting has one name, a default that works, a unit in its name and a
maximum that is documented by what happens when it is hit. Secrets appear only as `*_file` paths.
Unknown keys are errors.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from schemas.discovery import DiscoverySettings
from schemas.front import FrontSettings as FrontSettings  # noqa: PLC0414 part of what is read here
from schemas.identity import CLUSTER_PATTERN, METRICS_PATH, Target, host_and_port, on_node
from schemas.nodes import LOOPBACK, FilePath, Node, Port, Seconds
from schemas.nodes import Tls as Tls  # noqa: PLC0414 part of what is read from here


class TargetSettings(Node):
    """One endpoint to scrape."""

    job: str = Field(min_length=1, max_length=120)
    instance: str = Field(min_length=1, max_length=250, pattern=r"^[^/\s]+$")
    url: str
    labels: dict[str, str] = {}
    tls: Tls | None = None
    bearer_token_file: FilePath | None = None
    # A name: the URL is not scraped but probed, by one small request on a connection of its own.
    probe: str = Field("", pattern=r"^([a-z][a-z0-9_]{0,30})?$")
    interval_s: Seconds = 15.0
    timeout_s: Seconds = 25.0  # with an etcd member gone, the API server's /metrics hangs for 20 s
    families: Literal["core", "all"] | None = None  # that of the cluster
    families_keep: list[str] = []  # globs, beside those of the cluster

    @model_validator(mode="before")
    @classmethod
    def _named(cls, tree: Any) -> Any:
        """Call an instance as Prometheus does where it has no name: by host and port."""
        if not isinstance(tree, dict) or "instance" in tree or "url" not in tree:
            return tree
        return {**tree, "instance": host_and_port(str(tree["url"])) or "of-no-url"}

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        parts = urlsplit(url)
        try:
            wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
        except ValueError:  # no number, or one beyond 65535
            wrong = True
        if wrong:
            raise ValueError("expected http://host:port/path or https://host:port/path")
        if parts.username or parts.password:
            raise ValueError("credentials belong into bearer_token_file or tls, not into the URL")
        return url

    @model_validator(mode="after")
    def _in_the_open(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme == "http" and self.tls is not None:
            raise ValueError("tls needs a url with https://")
        if parts.scheme == "http" and self.bearer_token_file and parts.hostname not in LOOPBACK:
            raise ValueError("a bearer token goes over https:// only, but for loopback")
        if self.probe and self.path == METRICS_PATH:
            raise ValueError(f"a probe needs a path of its own: {METRICS_PATH} is scraped")
        return self

    @property
    def path(self) -> str:
        """The path of the URL; /metrics where it has none."""
        return urlsplit(self.url).path or METRICS_PATH


class LogSettings(Node):
    """Log files of one instance, tailed."""

    job: str
    instance: str = Field(min_length=1, pattern=r"^[^/\s]+$")
    path: FilePath  # may hold * and ?


class ClusterSettings(Node):
    """One watched cluster. `id` is its only identity; all else are attributes."""

    id: str = Field(pattern=f"^{CLUSTER_PATTERN}$")
    name: str = ""
    labels: dict[str, str] = {}
    targets: list[TargetSettings] = []
    logs: list[LogSettings] = []
    kubeconfig: FilePath | None = None  # watch and discovery
    context: str | None = None
    in_cluster: bool = False  # instead of a kubeconfig: we are a pod of this cluster
    discovery: DiscoverySettings | None = None
    # Metric families that are kept: core leaves out what is bulk (producers/core/families.py), but
    # for those that your own rules read: globs such as grpc_client_*.
    families: Literal["core", "all"] = "all"
    families_keep: list[str] = []

    @field_validator("in_cluster")
    @classmethod
    def _one_way(cls, in_cluster: bool, info: ValidationInfo) -> bool:
        if in_cluster and (info.data.get("kubeconfig") or info.data.get("context")):
            raise ValueError("a second way to the API server beside kubeconfig: write one of them")
        return in_cluster

    @field_validator("discovery")
    @classmethod
    def _reached(
        cls, discovery: DiscoverySettings | None, info: ValidationInfo
    ) -> DiscoverySettings | None:
        if discovery and not info.data.get("kubeconfig") and not info.data.get("in_cluster"):
            raise ValueError("asks the API server: write kubeconfig, or in_cluster: true, too")
        return discovery

    @property
    def asks(self) -> bool:
        """Tell whether we know how to reach its API server."""
        return self.in_cluster or self.kubeconfig is not None

    @model_validator(mode="after")
    def _unique(self) -> Self:
        seen = Counter((t.job, t.instance, t.path) for t in self.targets)
        if doubled := [
            f"{job}/{instance}{path}" for (job, instance, path), n in seen.items() if n > 1
        ]:
            raise ValueError(f"targets given twice: {', '.join(doubled)}")
        return self

    def target(self, settings: TargetSettings, node: str = "") -> Target:
        """Return the identity of one of its targets; `node`: where this process runs."""
        return Target(self.id, settings.job, on_node(settings.instance, node), settings.path)


class Sasl(Node):
    """SASL of the Kafka clients."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    username: str
    password_file: FilePath


class KafkaSettings(Node):
    """The Kafka cluster. Without `bootstrap` the embedded broker of `planewatch up` is used."""

    bootstrap: str | None = None
    prefix: str = Field("planewatch", pattern=r"^[a-zA-Z0-9._-]{1,100}$")
    partitions: int = Field(24, ge=1, le=10_000)  # fixed for the life of a prefix
    replication: int = Field(3, ge=1, le=9)
    tls: Tls | None = None
    sasl: Sasl | None = None

    @field_validator("bootstrap")
    @classmethod
    def _hosts(cls, bootstrap: str | None) -> str | None:
        pattern = r"[^\s:,/]+:\d+|\[[0-9a-fA-F:]+\]:\d+"
        wrong = [
            one for one in (bootstrap or "").split(",") if one and not re.fullmatch(pattern, one)
        ]
        if wrong or bootstrap == "":
            raise ValueError("expected host:port[,host:port...]")
        return bootstrap

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.tls and self.tls.server_name:
            raise ValueError("tls.server_name: Kafka clients check the name that they connect to")
        if self.sasl and self.sasl.mechanism == "PLAIN" and not self.tls:
            raise ValueError("sasl PLAIN sends the password as it is: it needs tls")
        return self


class ClickHouseSettings(Node):
    """Where rows go. Without `dsn` the embedded engine keeps them in the data folder."""

    dsn: str | None = None
    username: str = "default"
    password_file: FilePath | None = None
    ca_file: FilePath | None = None

    @field_validator("dsn")
    @classmethod
    def _scheme(cls, dsn: str | None) -> str | None:
        if dsn is not None and urlsplit(dsn).scheme not in {"chdb", "http", "https"}:
            raise ValueError(
                "expected chdb:///folder/database, http://host:port/database or https://"
            )
        if dsn is not None and urlsplit(dsn).password:
            raise ValueError("the password belongs into password_file, not into the dsn")
        return dsn


class ConsoleSettings(Node):
    """The web console. Anything but loopback needs a token."""

    host: str = "127.0.0.1"
    port: Port = 8700
    token_file: FilePath | None = None

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.host not in LOOPBACK and self.token_file is None:
            raise ValueError("a console that listens beyond loopback needs token_file")
        return self


def _duration(text: str) -> str:
    if not re.fullmatch(
        r"0|(?=\d)(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?", text
    ):
        raise ValueError("expected a duration as in rule files, as 90s or 1h30m")
    return text


Duration = Annotated[
    str,
    BeforeValidator(lambda given: "0" if type(given) is int and given == 0 else given),
    AfterValidator(_duration),
]
"""A duration as Prometheus writes it."""


class RuleOverride(Node):
    """What is different of some rules, for some clusters; of two that set the same, the later."""

    model_config = ConfigDict(serialize_by_alias=True)

    rule: str = Field(min_length=1)  # name or group/name; may hold * and ?
    clusters: list[str] = []  # ids; may hold * and ?; empty: of any id
    cluster_labels: dict[str, str] = {}  # as in clusters[].labels; values may hold * and ?
    enabled: bool | None = None
    threshold: float | None = Field(None, allow_inf_nan=False)
    for_: Duration | None = Field(None, alias="for")
    keep_firing_for: Duration | None = None
    severity: str | None = Field(None, pattern=r"^[a-z][a-z0-9_-]{0,30}$")

    @field_validator("clusters")
    @classmethod
    def _ids(cls, clusters: list[str]) -> list[str]:
        if wrong := [one for one in clusters if not re.fullmatch(r"[a-z0-9.*?-]{1,63}", one)]:
            raise ValueError(f"no cluster has such an id: {', '.join(wrong)}")
        return clusters

    @model_validator(mode="after")
    def _changes(self) -> Self:
        if not self.changes:
            raise ValueError(f"changes nothing: it needs one of {', '.join(OVERRIDABLE)}")
        return self

    @property
    def changes(self) -> tuple[str, ...]:
        """The names of what it sets."""
        given = (self.enabled, self.threshold, self.for_, self.keep_firing_for, self.severity)
        return tuple(
            name for name, value in zip(OVERRIDABLE, given, strict=True) if value is not None
        )


OVERRIDABLE = ("enabled", "threshold", "for", "keep_firing_for", "severity")


class RulesSettings(Node):
    """Rule files beside ours, and what is different of single rules."""

    paths: list[FilePath] = []
    shipped: bool = True
    # linear: growth between scrapes, conserved; prometheus: extrapolated, for who compares the two.
    rate_semantics: Literal["linear", "prometheus"] = "linear"
    overrides: list[RuleOverride] = Field([], max_length=1_000)


class ProducersSettings(Node):
    """Limits of the producers, and what happens when one is hit."""

    # Share the clusters with all processes of this Kafka that have the same configuration and a
    # data folder of their own: each cluster is observed by one, another goes on where it dies.
    shared: bool = False
    # The name of this node, where each control-plane node has producers of its own for what listens
    # on loopback only: instances at 127.0.0.1, ::1 or localhost are called by it.
    node: str = Field("", pattern=r"^([^/\s:]{1,200})?$")
    body_bytes_max: int = Field(512_000_000, ge=1_000)  # inflated; the scrape becomes too_big
    # Per scrape; the scrape becomes too_big. One takes about 500 bytes while it is read first.
    series_max: int = Field(2_000_000, ge=1)
    parsed_keys_max: int = Field(1_000_000, ge=1_000)  # remembered; beyond, all are read anew
    queue_bytes_max: int = Field(256_000_000, ge=1_000_000)  # unsent in memory; scraping waits
    # What Kafka has not taken by then goes to disk, too; a process that is killed loses less.
    spool_after_s: Seconds = 3.0
    # On disk, in the data folder; beyond, the oldest scrapes are given up. Half an hour of 5 API
    # servers with 100,000 series each.
    spool_bytes_max: int = Field(1_000_000_000, ge=10_000_000)
    line_bytes_max: int = Field(1_000_000, ge=1_000)  # a longer log line is cut
    # One a target; further targets wait for a free one, and a tick that comes meanwhile is skipped.
    scrape_threads: int = Field(256, ge=1, le=4_096)
    # Where a server is slow for us its interval is doubled, up to this; a longer one stays.
    interval_s_max: Seconds = 60.0
    unplanned_per_s: float = Field(1.0, gt=0)  # requests to one cluster beyond planned ticks
    unplanned_burst: int = Field(10, ge=1)


class StreamsSettings(Node):
    """Limits of the stream processors, and what happens when one is hit."""

    instance_id: str | None = None  # stable consumer_group_instance_id; host name by default
    rewind_s: Seconds = 660.0
    results_max: int = Field(10_000, ge=1)  # per recording rule whose group has no `limit`; the
    alerts_max: int = Field(1_000, ge=1)  # same per alerting rule: the rule fails visibly, alone
    clusters_max: int = Field(1_000, ge=1)  # per worker; further ones are counted and left out
    undecodable_share_max: float = Field(
        0.5, gt=0, le=1
    )  # of the last 100 records; the stage stops


class SinksSettings(Node):
    """Batches and limits of the sinks, and what happens when one is hit."""

    flush_rows_max: int = Field(200_000, ge=1)
    flush_bytes_max: int = Field(64_000_000, ge=1_000)
    flush_age_s: Seconds = 2.0
    queue_bytes_max: int = Field(
        64_000_000, ge=1_000_000
    )  # fetched and not decoded; fetching pauses
    undecodable_share_max: float = Field(
        0.5, gt=0, le=1
    )  # of the last 100 records; the stage stops


class RetentionSettings(Node):
    """Days that tables keep rows."""

    samples_days: int = Field(14, ge=1)
    scrapes_days: int = Field(30, ge=1)
    changes_days: int = Field(30, ge=1)
    logs_days: int = Field(30, ge=1)
    indicators_days: int = Field(90, ge=1)
    alerts_days: int = Field(400, ge=1)


class TelemetrySettings(Node):
    """Our own /metrics, one port a stage."""

    host: str = "127.0.0.1"
    producers_port: Port = 8701
    streams_port: Port = 8702
    sinks_port: Port = 8703


class ClockSettings(Node):
    """The mapped file of a rehearsal's clock; the wall clock without."""

    file: FilePath | None = None


class Settings(Node):
    """The whole tree."""

    data: Path = Path("planewatch-data")
    clusters: list[ClusterSettings] = []
    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    console: ConsoleSettings = ConsoleSettings()
    front: FrontSettings = FrontSettings()
    rules: RulesSettings = RulesSettings()
    producers: ProducersSettings = ProducersSettings()
    streams: StreamsSettings = StreamsSettings()
    sinks: SinksSettings = SinksSettings()
    retention: RetentionSettings = RetentionSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    clock: ClockSettings = ClockSettings()

    @field_validator("clusters")
    @classmethod
    def _unique(cls, clusters: list[ClusterSettings]) -> list[ClusterSettings]:
        seen = Counter(cluster.id for cluster in clusters)
        if doubled := [one for one, n in seen.items() if n > 1]:
            raise ValueError(f"cluster ids given twice: {', '.join(doubled)}")
        return clusters

    @property
    def run(self) -> Path:
        """Where running processes leave their addresses."""
        return self.data / "run"
