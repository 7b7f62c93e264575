"""Rows for the console: a quarter of an hour of two clusters, one in trouble.

In: the present. Out: rows of the tables, as the sink would have written them. `prod` has two API
servers and three members of etcd; its leader moved from etcd-1 to etcd-2, and etcd-3 does not
answer. `calm` has one API server and no etcd. Names and log lines try to be markup.
"""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from sinks.core.tables import COORDINATES, SCHEMAS, Table
from sinks.store import Store

MINUTES: Final = 15
EVALUATION_MS: Final = 15_000
SCRAPE_MS: Final = 5_000
MARKUP: Final = "<img src=x onerror=document.title='pwned'>"

Row = dict[str, Any]


def fill(store: Store, now_ms: int) -> None:
    """Write all rows; they end at `now_ms`."""
    insert(store, Table.INDICATORS, [*_indicators(now_ms)])
    insert(store, Table.SCRAPES, [*_scrapes(now_ms)])
    insert(store, Table.SAMPLES, [*_leaders(now_ms)])
    insert(store, Table.LOGS, [*_logs(now_ms)])
    insert(store, Table.ALERTS, [*_alerts(now_ms)])


def insert(store: Store, table: Table, rows: list[Row]) -> None:
    """Write rows of which only some columns are given."""
    schema = pa.schema([*SCHEMAS[table], *COORDINATES])
    today = datetime.now(UTC).date()
    rows = [{"_day": today, **row} for row in rows]
    columns = [
        pa.array([row.get(field.name, _default(field.type)) for row in rows], field.type)
        for field in schema
    ]
    store.insert(table, pa.table(columns, schema=schema), token=f"{table} {rows[0]}")


def alert(now_ms: int, name: str, **given: Any) -> Row:
    """One state of an alert of `prod`."""
    severity = given.get("severity", "warning")
    return {
        "cluster": "prod",
        "fingerprint": name,
        "epoch": 1,
        "seq": 1,
        "rule_id": f"etcd/{name}",
        "status": "firing",
        "severity": severity,
        "severity_number": {"critical": 21, "warning": 13}.get(severity, 0),
        "summary": f"{name} of etcd-3",
        "labels": json.dumps({"instance": "etcd-3"}),
        "annotations": json.dumps(
            {"first_action": f"first step of {name}", "runbook_url": "https://example.org/runbook"}
        ),
        "starts_at": now_ms - 120_000,
        "updated_at": now_ms - 120_000,
        "record": "{}",
        **given,
    }


def _indicators(now_ms: int) -> Iterator[Row]:
    newest = now_ms // EVALUATION_MS * EVALUATION_MS
    for cluster, series in (("prod", [*_apiserver(2), *_etcd(3)]), ("calm", [*_apiserver(1)])):
        for number, (metric, labels, height) in enumerate(series):
            core = {key: value for key, value in labels.items() if key in _CORE}
            others = {key: value for key, value in labels.items() if key not in _CORE}
            for i in range(MINUTES * 60_000 // EVALUATION_MS):
                yield {
                    "cluster": cluster,
                    "rule_group": "rules",
                    "metric": metric,
                    **core,
                    "labels": json.dumps(others, separators=(",", ":")) if others else "",
                    "series": number,
                    "ts": newest - i * EVALUATION_MS,
                    "interval_ms": EVALUATION_MS,
                    "value": height * (1 + 0.2 * math.sin(i / 4)),
                    "coverage": 1.0,
                }


_CORE: Final = frozenset({"verb", "resource", "scope", "code", "priority_level"})
Series = tuple[str, Mapping[str, str], float]


def _apiserver(instances: int) -> Iterator[Series]:
    for verb, scope, seconds in (("GET", "resource", 0.02), ("LIST", "cluster", 1.8)):
        labels = {"verb": verb, "scope": scope}
        yield "apiserver:request:latency_p50_5m", labels, seconds / 4
        yield "apiserver:request:latency_p99_5m", {**labels, "resource": "pods"}, seconds
        yield "apiserver:request:error_ratio_5m", {"verb": verb, "resource": "pods"}, 0.002
        for code in ("200", "429"):
            asked = {"verb": verb, "resource": "pods", "code": code}
            yield "apiserver:request:rate_5m", asked, 40.0
    for n in range(1, instances + 1):
        instance = {"instance": f"cp-{n}"}
        yield "apiserver:request:throttled_ratio_1m", instance, 0.003
        yield "apiserver:inflight:current", {**instance, "request_kind": "readOnly"}, 12.0
        for level in ("system", MARKUP):
            seats = {**instance, "priority_level": level}
            yield "apiserver:apf:queue_depth", seats, 40.0
            yield "apiserver:apf:seat_utilization", seats, 0.7


def _etcd(members: int) -> Iterator[Series]:
    for n in range(1, members + 1):
        member = {"instance": f"etcd-{n}"}
        yield "etcd:leader:present", member, 1.25  # 1 at its lowest
        yield "etcd:process:cpu_cores_5m", member, 0.3
        yield "etcd:process:memory_bytes", member, 2e8
        yield "etcd:raft:commit_rate_5m", member, 60.0
        yield "etcd:raft:apply_rate_5m", member, 60.0
        yield "etcd:disk:wal_fsync_p99_1m", member, 0.008
        yield "etcd:disk:backend_commit_p99_1m", member, 0.02
        yield "etcd:db:size_bytes", member, 9e7


def _scrapes(now_ms: int) -> Iterator[Row]:
    targets = [("prod", "apiserver", f"cp-{n}") for n in (1, 2)]
    targets += [("prod", "etcd", f"etcd-{n}") for n in (1, 2, 3)]
    targets += [("calm", "apiserver", "cp-1")]
    for cluster, job, instance in targets:
        for i in range(MINUTES * 60_000 // SCRAPE_MS):
            refused = instance == "etcd-3" and i < 24  # for the last two minutes
            yield {
                "cluster": cluster,
                "job": job,
                "instance": instance,
                "path": "/metrics",
                "tick": now_ms - i * SCRAPE_MS,
                "ts": now_ms - i * SCRAPE_MS,
                "interval_ms": SCRAPE_MS,
                "outcome": "refused" if refused else "ok",
            }


def _leaders(now_ms: int) -> Iterator[Row]:
    for n in (1, 2, 3):
        for i in range(MINUTES * 60_000 // SCRAPE_MS):
            leader = 2 if i < 60 else 1  # etcd-2 for the last five minutes
            for metric, value in (
                ("etcd_server_has_leader", 1.0),
                ("etcd_server_is_leader", float(n == leader)),
            ):
                yield {
                    "cluster": "prod",
                    "job": "etcd",
                    "instance": f"etcd-{n}",
                    "path": "/metrics",
                    "metric": metric,
                    "kind": "gauge",
                    "ts": now_ms - i * SCRAPE_MS,
                    "value": value,
                }


def _logs(now_ms: int) -> Iterator[Row]:
    lines = (("error", "lost leader"), ("warn", f"slow fdatasync {MARKUP}"), ("info", "elected"))
    for i, (level, message) in enumerate(lines):
        yield {
            "cluster": "prod",
            "job": "etcd",
            "instance": f"etcd-{i + 1}",
            "ts": now_ms - (i + 1) * 10_000,
            "level": level,
            "message": message,
            "fields": json.dumps({"caller": "raft/node.go:1", "took": "1.2s"}),
        }


def _alerts(now_ms: int) -> Iterator[Row]:
    yield alert(now_ms, "EtcdMemberDown", severity="critical", summary=f"down {MARKUP}")
    yield alert(now_ms, "EtcdDiskSlow", status="unknown")
    yield alert(now_ms, "EtcdLeaderChanges", seq=1)
    yield alert(now_ms, "EtcdLeaderChanges", seq=2, status="resolved", ends_at=now_ms)
    yield alert(now_ms, "Watchdog", severity="none")
    yield alert(now_ms, "Watchdog", severity="none", cluster="calm", fingerprint="calm")


def _default(kind: pa.DataType) -> Any:
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return ""
    if pa.types.is_list(kind):
        return []
    return 0
