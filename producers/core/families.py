"""Choose which metric families are kept. In: names of families, settings. Out: what a target keeps.

The rule this file owns: only what is listed as bulk here is ever left out, so a family of a release
or a component that nobody here knows stays. Bulk is what has many series and is read neither by a
shipped rule or panel, nor by somebody on call.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Final

from schemas.identity import Target
from schemas.settings import ClusterSettings

ALL: Final = "all"
CORE: Final = "core"
"""The name goes into records, and streams take it that a family which is there under the same name
was there before. So a table that keeps more than the last release's needs another name."""

BULK: Final = (
    # One series for each feature gate, and the same until the next restart.
    "kubernetes_feature_enabled",
    "etcd_server_feature_enabled",
    # Histograms by plug-in, of what is read as a sum over plug-ins, or by webhook.
    "apiserver_admission_controller_admission_duration_seconds",
    "apiserver_admission_step_admission_duration_seconds_summary",
    "scheduler_plugin_execution_duration_seconds",
    "scheduler_plugin_evaluation_total",
    "scheduler_event_handling_duration_seconds",
    "scheduler_queueing_hint_execution_duration_seconds",
    "informer_processing_latency_seconds",
    # How priority and fairness computes; what comes of it are gauges and counters.
    "apiserver_flowcontrol_demand_seats",
    "apiserver_flowcontrol_priority_level_*_utilization",
    "apiserver_flowcontrol_read_vs_write_current_requests",
    "apiserver_flowcontrol_request_queue_length_after_enqueue",
    "apiserver_flowcontrol_watch_count_samples",
    "apiserver_flowcontrol_*_s_bounds",
    # Sizes and phases of single steps, for those who develop the component.
    "rest_client_request_size_bytes",
    "rest_client_response_size_bytes",
    "rest_client_exec_plugin_certificate_rotation_age",
    "authentication_token_cache_request_duration_seconds",
    "apiserver_storage_data_key_generation_duration_seconds",
    "apiserver_cel_*_duration_seconds",
    "apiserver_request_timestamp_comparison_time",
    "apiextensions_apiserver_validation_ratcheting_seconds",
    "field_validation_request_duration_seconds",
    "node_authorizer_graph_actions_duration_seconds",
    "kube_apiserver_clusterip_allocator_allocation_duration_seconds",
    "etcd_lease_object_counts",
    "etcd_debugging_disk_*",
    "etcd_debugging_lease_ttl_total",
    "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
    "etcd_debugging_mvcc_index_*",
    "etcd_debugging_snap_*",
    "etcd_mvcc_hash_*",
    "grpc_server_msg_*_total",
    "grpc_client_*",
    "go_gc_heap_*_by_size_bytes",
    "go_sched_pauses_*",
)
"""Families as globs."""

_PARTS: Final = ("", "_bucket", "_sum", "_count")
_BULK: Final = re.compile("|".join(map(translate, BULK)))


def is_bulk(family: str) -> bool:
    """Tell whether a family is left out of the core."""
    return _BULK.match(family) is not None


@dataclass(frozen=True)
class Families:
    """Which families of a target are kept."""

    everything: bool = False
    keep: tuple[str, ...] = ()  # globs of families, or of their samples, beside the core

    @cached_property
    def name(self) -> str:
        """What records say of it: two that keep the same have the same name."""
        if self.everything:
            return ALL
        return CORE + "".join(f"+{glob}" for glob in sorted(set(self.keep)))

    def keeps(self, family: str) -> bool:
        """Tell whether a family is kept."""
        return self.everything or not is_bulk(family) or self.asks_for(family)

    def asks_for(self, family: str) -> bool:
        """Tell whether the settings name a family, or one of its samples."""
        return any(glob.match(family + part) for glob in self._globs for part in _PARTS)

    @cached_property
    def _globs(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(translate(glob)) for glob in self.keep)


EVERYTHING: Final = Families(everything=True)


class Profiles:
    """Which families of each target are kept, by the settings."""

    def __init__(self, clusters: Iterable[ClusterSettings], node: str = "") -> None:
        """`node`: where this process runs."""
        self._clusters: dict[str, Families] = {}
        self._targets: dict[Target, Families] = {}
        for cluster in clusters:
            keep = tuple(cluster.families_keep)
            self._clusters[cluster.id] = Families(cluster.families == ALL, keep)
            for one in cluster.targets:
                everything = (one.families or cluster.families) == ALL
                self._targets[cluster.target(one, node)] = Families(
                    everything, (*keep, *one.families_keep)
                )

    def of(self, target: Target) -> Families:
        """Return what is kept of a target; a discovered one is as its cluster says."""
        return self._targets.get(target) or self._clusters.get(target.cluster, EVERYTHING)
