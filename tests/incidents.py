"""Record the scrapes of control planes through incidents. In: cluster ids, minutes, a seed. Out:
scrapes in the order of time, and rules with long memory for them.

Rule: the series are those that the shipped rules read, named and labelled as the processes name
them. Two API servers and an etcd a cluster, every 15 s; each 40 minutes an incident:

    minute   8 ... 25   a new resource is listed
            10 ... 22   slow disk, slow requests, queues, 429
            12 ... 16   elections, one minute without a leader
            14 ... 17   one API server hangs
            18 ... 19   etcd refuses
            20          the other API server restarts: what it counted is gone
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from schemas.records import Outcome
from streams.core.samples import Scrape
from tests.scrapes import failed, scrape

T0_MS = 1_764_000_000_000
INTERVAL_MS = 15_000
PERIOD_MINUTES = 40
TARGETS = (("apiserver", "api-0"), ("apiserver", "api-1"), ("etcd", "etcd-0"))

RULES = """
groups:
- name: own-long
  interval: 30s
  rules:
  - record: own:requests:by_code_1h
    expr: sum by (code) (increase(apiserver_request_total[1h]))
  - {record: "own:requests:all_2h", expr: "sum(increase(apiserver_request_total[2h]))"}
  - record: own:fsync:p99_20m
    expr: |
      histogram_quantile(0.99, sum by (le) (
        rate(etcd_disk_wal_fsync_duration_seconds_bucket[20m])))
  - {record: "own:requests:rate_ago", expr: "sum(rate(apiserver_request_total[5m] offset 25m))"}
  - record: own:queue:top_1h
    expr: max_over_time(apiserver_flowcontrol_current_inqueue_requests[1h])
  - {record: "own:db:slope_1h", expr: "deriv(etcd_mvcc_db_total_size_in_bytes[1h])"}
  - {record: "own:starts:2h", expr: "changes(process_start_time_seconds[2h])"}
- name: own-recorded
  interval: 1m
  rules:
  - {record: "own:requests:now", expr: "sum by (instance) (rate(apiserver_request_total[1m]))"}
  - {record: "own:requests:mean_20m", expr: "avg_over_time(own:requests:now[20m])"}
  - {record: "own:requests:then", expr: "own:requests:now offset 12m"}
  - {record: "own:requests:top_30m", expr: "max_over_time(sum(own:requests:now)[30m:1m])"}
- name: own-alerts
  rules:
  - alert: BudgetBurns
    expr: |
      sum(increase(apiserver_request_total{code=~"429|5.."}[1h]))
        / sum(increase(apiserver_request_total[1h])) > 0.003
    for: 2m
    keep_firing_for: 3m
    labels: {severity: critical}
  - alert: MoreThanBefore
    expr: |
      sum(rate(apiserver_request_total[2m]))
        > 1.2 * sum(rate(apiserver_request_total[2m] offset 20m))
    for: 1m
    labels: {severity: warning}
  - alert: MoreThanUsual
    expr: own:requests:now > 1.04 * own:requests:mean_20m
    for: 30s
    keep_firing_for: 2m
    labels: {severity: warning}
  - alert: Flaps
    expr: etcd_server_proposals_pending > 2
    labels: {severity: info}
  - alert: FlapsSlowly
    expr: apiserver_current_inflight_requests{request_kind="mutating"} > 12
    for: 15s
    keep_firing_for: 1m
    labels: {severity: info}
"""

SECONDS = (0.005, 0.025, 0.1, 0.256, 0.512, 1.024, 2.048, 5.0)
FAST, SLOW = (40, 30, 20, 8, 2, 0, 0, 0, 0), (10, 10, 10, 10, 20, 20, 10, 10, 0)
VERBS = (("GET", "pods", "resource"), ("LIST", "pods", "cluster"), ("PUT", "leases", "resource"))


@dataclass
class Process:
    """One process that counts."""

    seed: str
    started_s: int
    counted: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def restart(self, now_s: int) -> None:
        """Count from zero."""
        self.started_s, self.counted = now_s, {}

    def knows(self, part: str) -> bool:
        """Tell whether a series was counted: then it stays."""
        return any(part in series for series in self.counted)

    def count(self, series: str, mean: float) -> str:
        """Return a counter's line."""
        grown = self.dice.randint(0, int(2 * mean)) if mean >= 1 else mean * self.dice.random()
        self.counted[series] = self.counted.get(series, 0) + grown
        return f"{series} {self.counted[series]}"

    def observe(self, family: str, labels: str, mean: float, weights: Sequence[int]) -> list[str]:
        """Return the lines of a histogram."""
        lines, total = [], 0.0
        for bound, weight in zip((*SECONDS, "+Inf"), weights, strict=True):
            key = f'{family}_bucket{{{labels}le="{bound}"}}'
            grown = self.dice.randint(0, int(mean * weight / 50) + (weight > 0))
            self.counted[key] = self.counted.get(key, 0) + grown
            total += self.counted[key]
            lines.append(f"{key} {total}")
        labels = labels.rstrip(",")
        lines.append(f"{family}_sum{{{labels}}} {total * 0.0625}")
        lines.append(f"{family}_count{{{labels}}} {total}")
        return lines

    def own(self) -> list[str]:
        """Return what every process says of itself."""
        return [
            "# TYPE process_cpu_seconds_total counter",
            self.count("process_cpu_seconds_total", 0.8),
            f"process_resident_memory_bytes {self.dice.randint(4, 6)}e8",
            f"process_start_time_seconds {self.started_s}",
        ]


def api_server(one: Process, minute: float) -> str:
    """Return what an API server answers."""
    bad = 10 <= minute < 22
    lines = ["# TYPE apiserver_request_total counter"]
    widgets = 8 <= minute < 25 or one.knows("widgets")
    listed = [("LIST", "widgets", "namespace")] if widgets else []
    for verb, resource, scope in (*VERBS, *listed):
        labels = f'resource="{resource}",scope="{scope}",verb="{verb}"'
        for code, mean in (("200", 60), ("429", 4 if bad else 0), ("500", 0.3 if bad else 0)):
            series = f'apiserver_request_total{{code="{code}",{labels}}}'
            if mean or one.knows(series):
                lines.append(one.count(series, mean))
    lines.append("# TYPE apiserver_request_duration_seconds histogram")
    for verb, resource, scope in (*VERBS, *listed):
        labels = f'resource="{resource}",scope="{scope}",verb="{verb}",'
        weights = SLOW if bad else FAST
        lines += one.observe("apiserver_request_duration_seconds", labels, 60, weights)
    for kind, most in (("mutating", 18), ("readOnly", 90)):
        value = one.dice.randint(2, most)
        lines.append(f'apiserver_current_inflight_requests{{request_kind="{kind}"}} {value}')
    for level in ("catch-all", "workload-low"):
        labels, seats = f'{{priority_level="{level}"}}', one.dice.randint(20, 29 if bad else 22)
        queue = one.dice.randint(11, 40) if bad else 0
        prefix = "apiserver_flowcontrol"
        lines.append(f"{prefix}_current_inqueue_requests{labels} {queue}")
        lines.append(f"{prefix}_current_executing_seats{labels} {seats}")
        lines.append(f"{prefix}_current_limit_seats{labels} 30")
        lines.append(f"{prefix}_nominal_limit_seats{labels} 30")
    return "\n".join([*lines, *one.own(), BUILD])


BUILD = 'kubernetes_build_info{git_version="v1.36.2",major="1",minor="36"} 1'


def etcd(one: Process, minute: float) -> str:
    """Return what a member of etcd answers."""
    bad, leader = 10 <= minute < 22, int(not 15 <= minute < 16)
    committed = "etcd_server_proposals_committed_total"
    lines = [
        f"etcd_server_has_leader {leader}",
        f"etcd_server_is_leader {leader}",
        "# TYPE etcd_server_leader_changes_seen_total counter",
        one.count("etcd_server_leader_changes_seen_total", 1 if 12 <= minute < 16 else 0),
        one.count(committed, 900),
        f"etcd_server_proposals_applied_total {one.counted[committed] - (2_000 if bad else 9)}",
        f"etcd_server_proposals_pending {one.dice.randint(*((6, 9) if bad else (0, 3)))}",
        "# TYPE etcd_server_proposals_failed_total counter",
        one.count("etcd_server_proposals_failed_total", 2 if bad else 0),
        "# TYPE etcd_disk_wal_fsync_duration_seconds histogram",
        *one.observe("etcd_disk_wal_fsync_duration_seconds", "", 300, SLOW if bad else FAST),
        "# TYPE etcd_disk_backend_commit_duration_seconds histogram",
        *one.observe("etcd_disk_backend_commit_duration_seconds", "", 90, SLOW if bad else FAST),
        f"etcd_mvcc_db_total_size_in_bytes {2e9 + one.counted[committed] * 900}",
        f"etcd_mvcc_db_total_size_in_use_in_bytes {1e9 + one.counted[committed] * 300}",
        "etcd_server_quota_backend_bytes 8589934592",
        "# TYPE grpc_server_handled_total counter",
    ]
    for code, mean in (("OK", 400), ("Unavailable", 30 if bad else 0)):
        labels = f'grpc_code="{code}",grpc_method="Range",grpc_service="etcdserverpb.KV"'
        lines.append(one.count(f'grpc_server_handled_total{{{labels},grpc_type="unary"}}', mean))
    return "\n".join([*lines, *one.own()])


def recorded(clusters: Sequence[str], minutes: int, *, seed: int = 1) -> Iterator[Scrape]:
    """Yield the scrapes of all clusters, one after the other in time."""
    processes = {
        (cluster, name): Process(f"{seed}-{cluster}-{name}", T0_MS // 1000 - 86_400)
        for cluster in clusters
        for _, name in TARGETS
    }
    slot_ms = INTERVAL_MS // (len(TARGETS) * len(clusters))
    for step_ms in range(0, minutes * 60_000, INTERVAL_MS):
        for number, (job, name) in enumerate(TARGETS):
            for nth, cluster in enumerate(clusters):
                t_ms = T0_MS + step_ms + slot_ms * (number * len(clusters) + nth)
                minute = (step_ms / 60_000 + 3 * nth) % PERIOD_MINUTES
                one = _scrape(processes[cluster, name], job, name, t_ms, minute)
                yield Scrape(replace(one.envelope, cluster=cluster), one.rows, one.layout)


def _scrape(process: Process, job: str, name: str, t_ms: int, minute: float) -> Scrape:
    if name == "api-0" and minute == 20:
        process.restart(t_ms // 1000)
    body = (api_server if job == "apiserver" else etcd)(process, minute)
    if name == "api-1" and 14 <= minute < 17:
        one = failed(t_ms, Outcome.TIMEOUT, job=job, instance=name)
    elif name == "etcd-0" and 18 <= minute < 19:
        one = failed(t_ms, job=job, instance=name)
    else:
        return scrape(
            body,
            t_ms,
            job=job,
            instance=name,
            interval_ms=INTERVAL_MS,
            duration_ms=process.dice.randint(20, 900),
        )
    return Scrape(replace(one.envelope, interval_ms=INTERVAL_MS), one.rows, one.layout)
