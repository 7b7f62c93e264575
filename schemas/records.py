"""The records that stages exchange: frozen structs, JSON on the wire. Arrow ones have their columns
in `arrow.py`.

The rule this file owns: a record changes only by gaining optional fields; anything else is a new
topic version. Times are event time in milliseconds since 1970 UTC and end in `_ms`; wall-clock
times travel as Kafka headers.
"""

from enum import StrEnum
from typing import Annotated, Any

import msgspec

JsonObject = dict[str, Any]
"""A JSON object whose shape another system owns (a Kubernetes object, the fields of a log line)."""

U64 = Annotated[int, msgspec.Meta(ge=0)]


class Record(msgspec.Struct, frozen=True):
    """Base of all records: frozen, fields by name, unknown fields of a newer release ignored."""


class Outcome(StrEnum):
    """How a scrape ended. Everything but OK and TOO_BIG has no rows."""

    OK = "ok"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    DNS = "dns"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"  # 401
    FORBIDDEN = "forbidden"  # 403
    THROTTLED = "throttled"  # 429
    HTTP_ERROR = "http_error"  # another 4xx or 5xx
    TOO_BIG = "too_big"  # part of the data is there: never "down"
    MALFORMED = "malformed"  # a body that is no exposition
    TRUNCATED = "truncated"  # empty, closed early, shorter than announced, a cut gzip stream
    SKIPPED = "skipped"  # the tick passed while the scrape before it still ran
    REMOVED = "removed"  # the target left the configuration
    SILENT = "silent"  # written by streams: nothing was heard of the cluster


class Kind(StrEnum):
    """What a row of a scrape is, as the server said; nothing trusts it (catalogue, fact 7)."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    UNTYPED = "untyped"


class ScrapeEnvelope(Record, frozen=True, kw_only=True):
    """Describes one chunk of one scrape of one target; it travels in the Arrow schema metadata."""

    cluster: str
    job: str
    instance: str
    path: str
    target_labels: dict[str, str] = {}
    scrape_id: str
    chunk: int = 0  # of `chunks`, from 0
    chunks: int = 1
    tick_ms: int  # planned: orders, aligns, makes watermarks
    start_ms: int  # request sent: the time of the samples
    end_ms: int
    interval_ms: int
    sequence: int  # per target, +1 each attempt
    outcome: Outcome
    reason: str = ""  # what went wrong, for people
    http_status: int = 0  # 0: no answer
    bytes: int = 0  # of the body, inflated
    series: int = 0  # samples of the exposition, histograms counted by their lines
    rows: int = 0  # of this scrape, over all chunks
    layout: U64 = 0  # of this chunk
    process_start_ms: int = 0  # 0: unknown
    kubernetes_version: str = ""
    family_filter: str = "all"
    generation: str = ""  # of the writer: one per start of a process


class IndicatorEnvelope(Record, frozen=True, kw_only=True):
    """Describes one chunk of the results of one rule group at one evaluation time."""

    cluster: str
    group: str
    t_ms: int
    interval_ms: int
    chunk: int = 0
    chunks: int = 1
    rules_hash: str
    epoch: int


class Op(StrEnum):
    """What happened to a watched object."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RESYNC = "resync"  # seen again by a snapshot, or found gone by one


class Owner(Record, frozen=True, kw_only=True):
    """The controller of an object."""

    kind: str
    name: str
    uid: str


class Difference(Record, frozen=True, kw_only=True):
    """One field that changed; `old` or `new` is null where the field is absent."""

    path: str  # spec.replicas
    old: Any = None
    new: Any = None


class Rollout(Record, frozen=True, kw_only=True):
    """Where a workload stands in a rollout."""

    workload: str
    revision: str
    desired: int
    updated: int
    ready: int


class Change(Record, frozen=True, kw_only=True):
    """One change of one watched object."""

    cluster: str
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    op: Op
    received_ms: int
    owner: Owner | None = None
    diff: list[Difference] = []
    rollout: Rollout | None = None
    object: JsonObject  # trimmed


class LogLine(Record, frozen=True, kw_only=True):
    """One parsed log line; `template` is the message without its variable parts."""

    ts_ms: int
    level: str  # debug, info, warning, error, fatal
    template: str
    message: str
    fields: JsonObject = {}
    raw: str


class LogBatch(Record, frozen=True, kw_only=True):
    """Parsed log lines of one instance, in file order."""

    cluster: str
    job: str
    instance: str
    lines: list[LogLine]


class Status(StrEnum):
    """The published states of an alert. Pending lives in the series ALERTS."""

    FIRING = "firing"
    RESOLVED = "resolved"
    UNKNOWN = "unknown"  # its inputs vanished; counts as firing


class Evidence(Record, frozen=True, kw_only=True):
    """One indicator that led to the alert."""

    indicator: str
    value: float
    trend: float = 0.0
    window_start_ms: int


class Suspect(Record, frozen=True, kw_only=True):
    """Who may have caused the alert."""

    kind: str
    namespace: str = ""
    name: str = ""
    revision: str = ""
    user: str = ""
    agent_family: str = ""
    share: float = 0.0
    source_spread: float = 0.0
    progress: float = 0.0
    score: float = 0.0


class Projection(Record, frozen=True, kw_only=True):
    """What comes if nothing is done."""

    eta_s: float
    projected_value: float
    at_progress: float
    confidence: float


class BlastRadius(Record, frozen=True, kw_only=True):
    """How far the trouble reaches."""

    instances: int = 0
    nodes: int = 0
    clusters: int = 0


class IndicatorRef(Record, frozen=True, kw_only=True):
    """The indicator that an alert judges."""

    id: str
    value: float
    unit: str = ""
    window_ms: int = 0
    threshold: float | None = None
    operator: str = ""
    for_ms: int = 0
    baseline: float | None = None


class ClusterInfo(Record, frozen=True, kw_only=True):
    """Attributes of a cluster; its identity is the id alone."""

    uid: str = ""
    name: str = ""
    environment: str = ""
    region: str = ""
    kubernetes_version: str = ""
    node_count: int = 0


class Alert(Record, frozen=True, kw_only=True):
    """One state change of one alert. Readers keep the greatest (epoch, seq) of a fingerprint."""

    schema_version: int = 1
    cluster: str
    fingerprint: str  # 16 hex digits, as Alertmanager computes it
    epoch: int  # ms at which the alert state of this partition was created
    seq: int  # +1 per published change of this fingerprint
    event_id: str
    dedup_key: str
    rule_id: str
    rule_version: str
    status: Status
    # Why it ended, where data did not end it: inputs_gone, target_removed, rule_removed.
    reason: str = ""
    severity: str
    severity_number: int  # OpenTelemetry: info 9, warning 13, critical 21
    labels: dict[str, str]
    annotations: dict[str, str]
    active_at_ms: int  # the condition became true
    starts_at_ms: int  # it fired
    ends_at_ms: int | None = None  # null while firing
    updated_at_ms: int
    watermark_ms: int
    indicator: IndicatorRef | None = None
    evidence: list[Evidence] = []
    suspects: list[Suspect] = []
    projection: Projection | None = None
    blast_radius: BlastRadius | None = None
    coverage: float = 1.0
    cause_event_id: str | None = None
    correlation_id: str | None = None  # the incident; shared by alerts that belong together
    cluster_info: ClusterInfo | None = None
    generator_url: str = ""
    links: list[str] = []
    actions: list[str] = []
