"""The etcd member of a rehearsal. In: a story, a moment of event time. Out: its `/metrics`.

The rule this file owns: the member is healthy whatever the API servers suffer: it has a leader, its
disk is quick, its database grows slowly and is compacted every 5 minutes.
"""

from typing import Final

import numpy as np

from producers.rehearsal import catalogue
from producers.rehearsal.catalogue import ETCD, ETCD_MEMBER, GRPC_CODES, GRPC_METHODS
from producers.rehearsal.curves import UPTIME_S, Floats, spread
from producers.rehearsal.exposition import Family, Labels
from producers.rehearsal.families import Moving, counted, gauge, measured
from producers.rehearsal.processes import process_counters, process_gauges
from producers.rehearsal.story import Story

WRITES_PER_S: Final = 66.0
READS_PER_S: Final = 48.0
FSYNCS_PER_S: Final = 58.0
BACKEND_COMMITS_PER_S: Final = 9.8
FSYNC_MS: Final = 1.6
BACKEND_COMMIT_MS: Final = 3.1
APPLY_MS: Final = 0.25
CORES: Final = 0.22
RESIDENT_BYTES: Final = 210e6
DB_BYTES: Final = 96e6
DB_GROWTH_BYTES_PER_S: Final = 900.0
COMPACTION_S: Final = 300
FIRST_WRITE_MS: Final = 1_760_000_000_000  # the store is older than any story


class Etcd:
    """The `/metrics` of the etcd member as a function of event time."""

    def __init__(self, told: Story, origin_ms: int) -> None:
        """`origin_ms`: event time at which the story begins."""
        self._origin_ms = origin_ms
        self._moving = _moving(np.ones(told.length_s + 1))

    def families(self, t_ms: int) -> list[Family]:
        """Return what `/metrics` says at a moment."""
        second = (t_ms - self._origin_ms) / 1000
        return [
            *(one.at(second) for one in self._moving),
            *_gauges(second, revision(t_ms)),
            *process_gauges(self._origin_ms / 1000 - UPTIME_S, RESIDENT_BYTES, 320),
        ]


def revision(t_ms: int) -> int:
    """Return the revision of the store: it grows with event time, from one story to the next."""
    return int((t_ms - FIRST_WRITE_MS) / 1000 * WRITES_PER_S)


def _moving(one: Floats) -> list[Moving]:
    """All counters; `one` is 1 for each second of the story."""
    scope = "etcd"
    plain = {
        "etcd_debugging_mvcc_events_total": ("Events sent.", 190.0),
        "etcd_mvcc_put_total": ("Puts seen.", WRITES_PER_S),
        "etcd_mvcc_range_total": ("Ranges seen.", READS_PER_S),
        "etcd_mvcc_txn_total": ("Transactions seen.", WRITES_PER_S),
        "etcd_mvcc_delete_total": ("Deletes seen.", 1.4),
        "etcd_network_client_grpc_received_bytes_total": ("Bytes from clients.", 95e3),
        "etcd_network_client_grpc_sent_bytes_total": ("Bytes to clients.", 210e3),
        "etcd_server_heartbeat_send_failures_total": ("Heartbeats not sent.", 0.0),
        "etcd_server_health_failures": ("Failed health checks.", 0.0),
        "etcd_server_health_success": ("Health checks passed.", 0.2),
        "etcd_server_leader_changes_seen_total": ("Leader changes seen.", 0.0),
        "etcd_server_proposals_failed_total": ("Proposals that failed.", 0.0),
        "etcd_server_read_indexes_failed_total": ("Read indexes that failed.", 0.0),
        "etcd_server_slow_apply_total": ("Slow applies.", 0.006),
        "etcd_server_slow_read_indexes_total": ("Slow read indexes.", 0.0),
    }
    disk = catalogue.DISK_BOUNDS_S
    fsync = FSYNCS_PER_S * spread(one * FSYNC_MS / 1000, disk, 3.0)
    commit = BACKEND_COMMITS_PER_S * spread(one * BACKEND_COMMIT_MS / 1000, disk, 3.0)
    apply = spread(one * APPLY_MS / 1000, catalogue.APPLY_BOUNDS_S, 3.0)
    applies: list[tuple[Labels, Floats]] = [
        ({"op": op, "success": "true", "version": "v3"}, per_s * apply)
        for op, per_s in (("Compaction", 1 / COMPACTION_S), ("LeaseGrant", 0.12), ("Txn", 66.0))
    ]
    return [
        *(counted(scope, name, text, [({}, one * per_s)]) for name, (text, per_s) in plain.items()),
        *_grpc(scope, one),
        measured(scope, "etcd_disk_wal_fsync_duration_seconds", "Latency of WAL fsyncs.", disk,
                 [({}, fsync)]),
        measured(scope, "etcd_disk_backend_commit_duration_seconds", "Latency of backend commits.",
                 disk, [({}, commit)]),
        measured(scope, "etcd_server_apply_duration_seconds", "Latency of applies.",
                 catalogue.APPLY_BOUNDS_S, applies),
        *process_counters(scope, one * CORES),
    ]  # fmt: skip


def _grpc(scope: str, one: Floats) -> list[Moving]:
    methods: list[tuple[Labels, float]] = [
        ({"grpc_method": method, "grpc_service": service, "grpc_type": kind}, per_s)
        for service, method, kind, per_s in GRPC_METHODS
    ]
    handled = [
        ({"grpc_code": code, **labels}, one * per_s * (code == "OK"))
        for labels, per_s in methods
        for code in GRPC_CODES
    ]
    started = [(labels, one * per_s) for labels, per_s in methods]
    return [
        counted(scope, "grpc_server_handled_total", "RPCs completed.", handled),
        counted(scope, "grpc_server_started_total", "RPCs started.", started),
    ]


def _gauges(second: float, version: int) -> list[Family]:
    since_compaction = (second + UPTIME_S) % COMPACTION_S
    total = DB_BYTES + max(second, 0) * DB_GROWTH_BYTES_PER_S
    in_use = total * (0.55 + 0.2 * since_compaction / COMPACTION_S)
    values = {
        "etcd_debugging_mvcc_current_revision": ("Revision of the store.", version),
        "etcd_debugging_mvcc_keys_total": ("Keys.", 8_900),
        "etcd_debugging_mvcc_watcher_total": ("Watchers.", 186),
        "etcd_mvcc_db_total_size_in_bytes": ("Size of the file.", _pages(total)),
        "etcd_mvcc_db_total_size_in_use_in_bytes": ("Size in use.", _pages(in_use)),
        "etcd_server_has_leader": ("1 where a leader exists.", 1),
        "etcd_server_is_leader": ("1 where this member leads.", 1),
        "etcd_server_is_learner": ("1 where this member learns.", 0),
        "etcd_server_proposals_applied_total": ("Proposals applied.", version + 12),
        "etcd_server_proposals_committed_total": ("Proposals committed.", version + 12),
        "etcd_server_proposals_pending": ("Proposals pending.", 0),
        "etcd_server_quota_backend_bytes": ("Quota of the file.", 8 * 1024**3),
    }
    return [
        *(gauge(name, text, ({}, value)) for name, (text, value) in values.items()),
        gauge("etcd_server_id", "The member.", ({"server_id": ETCD_MEMBER}, 1)),
        gauge("etcd_server_version", "The release.", ({"server_version": ETCD}, 1)),
        gauge("etcd_cluster_version", "The cluster's release.", ({"cluster_version": "3.5"}, 1)),
    ]


def _pages(size: float) -> int:
    """Whole pages of 4 KiB."""
    return int(size) // 4096 * 4096
