"""Rank metric families by what they are worth. In: the name of a family. Out: its rank, 0 is the
best.

The rule this file owns: where a target exposes more series than we take, what alerts stand on is
kept first, then what other indicators read, then what the profile `core` keeps, and bulk last;
within a rank the order of the exposition counts. `tests/rules/test_families.py` holds the lists
against the rules.
"""

from typing import Final

from producers.core.families import Families, is_bulk

_ALERTS: Final = """
    aggregator_unavailable_apiservice aggregator_unavailable_apiservice_total
    apiserver_admission_webhook_admission_duration_seconds
    apiserver_admission_webhook_fail_open_count apiserver_admission_webhook_rejection_count
    apiserver_audit_error_total apiserver_audit_event_total
    apiserver_client_certificate_expiration_seconds apiserver_current_inflight_requests
    apiserver_flowcontrol_current_executing_seats apiserver_flowcontrol_current_inqueue_requests
    apiserver_flowcontrol_current_limit_seats apiserver_flowcontrol_demand_seats_high_watermark
    apiserver_flowcontrol_nominal_limit_seats apiserver_flowcontrol_rejected_requests_total
    apiserver_flowcontrol_request_wait_duration_seconds apiserver_init_events_total
    apiserver_request_duration_seconds apiserver_request_sli_duration_seconds
    apiserver_request_terminations_total apiserver_request_total
    apiserver_requested_deprecated_apis apiserver_resource_objects
    apiserver_storage_list_fetched_objects_total apiserver_storage_list_returned_objects_total
    apiserver_storage_list_total apiserver_storage_objects apiserver_tls_handshake_errors_total
    apiserver_watch_cache_consistent_read_total apiserver_watch_cache_initializations_total
    apiserver_watch_cache_read_wait_seconds coredns_cache_served_stale_total
    coredns_dns_request_duration_seconds coredns_dns_requests_total coredns_dns_responses_total
    coredns_forward_healthcheck_broken_total coredns_health_request_duration_seconds
    coredns_kubernetes_dns_programming_duration_seconds
    coredns_kubernetes_rest_client_requests_total coredns_panics_total
    coredns_proxy_request_duration_seconds etcd_debugging_server_alarms
    etcd_disk_backend_commit_duration_seconds etcd_disk_wal_fsync_duration_seconds
    etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes
    etcd_network_peer_round_trip_time_seconds etcd_network_peer_sent_failures_total
    etcd_request_duration_seconds etcd_server_has_leader
    etcd_server_heartbeat_send_failures_total etcd_server_leader_changes_seen_total
    etcd_server_proposals_applied_total etcd_server_proposals_committed_total
    etcd_server_proposals_failed_total etcd_server_proposals_pending
    etcd_server_quota_backend_bytes go_gc_gomemlimit_bytes go_sched_gomaxprocs_threads
    grpc_server_handled_total grpc_server_handling_seconds kubernetes_build_info
    leader_election_master_status node_collector_evictions_total process_cpu_seconds_total
    process_resident_memory_bytes process_start_time_seconds process_virtual_memory_max_bytes
    rest_client_requests_total scheduler_pending_pods scheduler_schedule_attempts_total
    workqueue_adds_total workqueue_depth workqueue_longest_running_processor_seconds
    workqueue_work_duration_seconds
"""
ALERTS: Final = frozenset(_ALERTS.split())
"""What shipped alerts stand on, by themselves or through what is recorded."""

_INDICATORS: Final = """
    apiserver_admission_step_admission_duration_seconds
    apiserver_admission_webhook_request_total apiserver_cache_list_fetched_objects_total
    apiserver_cache_list_returned_objects_total apiserver_cache_list_total
    apiserver_current_inqueue_requests apiserver_egress_dialer_dial_failure_count
    apiserver_flowcontrol_demand_seats_smoothed apiserver_flowcontrol_dispatched_requests_total
    apiserver_flowcontrol_request_dispatch_no_accommodation_total
    apiserver_flowcontrol_request_execution_seconds apiserver_flowcontrol_upper_limit_seats
    apiserver_flowcontrol_work_estimated_seats apiserver_longrunning_requests
    apiserver_request_aborts_total apiserver_request_body_size_bytes
    apiserver_request_filter_duration_seconds apiserver_request_post_timeout_total
    apiserver_resource_size_estimate_bytes apiserver_response_sizes apiserver_selfrequest_total
    apiserver_storage_consistency_checks_total apiserver_storage_events_received_total
    apiserver_storage_size_bytes apiserver_terminated_watchers_total
    apiserver_watch_cache_resource_version apiserver_watch_events_sizes
    apiserver_watch_events_total apiserver_watch_list_duration_seconds authentication_attempts
    authentication_duration_seconds authorization_duration_seconds coredns_cache_hits_total
    coredns_cache_requests_total coredns_kubernetes_rest_client_request_duration_seconds
    etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_current_revision
    etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds etcd_debugging_mvcc_keys_total
    etcd_debugging_mvcc_pending_events_total etcd_debugging_mvcc_slow_watcher_total
    etcd_disk_backend_snapshot_duration_seconds etcd_disk_defrag_inflight
    etcd_disk_wal_write_bytes_total etcd_mvcc_delete_total etcd_mvcc_put_total
    etcd_mvcc_range_total etcd_mvcc_txn_total etcd_network_client_grpc_received_bytes_total
    etcd_network_client_grpc_sent_bytes_total etcd_request_errors_total etcd_requests_total
    etcd_server_healthcheck etcd_server_is_leader etcd_server_range_duration_seconds
    etcd_server_read_indexes_failed_total etcd_server_slow_apply_total
    etcd_server_slow_read_indexes_total go_goroutines go_threads grpc_server_started_total
    kubernetes_healthcheck node_collector_unhealthy_nodes_in_zone node_collector_zone_size
    process_max_fds process_open_fds rest_client_rate_limiter_duration_seconds
    rest_client_request_duration_seconds rest_client_request_retries_total
    scheduler_inflight_events scheduler_pending_async_api_calls
    scheduler_pod_scheduling_sli_duration_seconds scheduler_preemption_attempts_total
    scheduler_preemption_victims scheduler_queue_incoming_pods_total
    scheduler_scheduling_algorithm_duration_seconds
    scheduler_scheduling_attempt_duration_seconds scheduler_unschedulable_pods
    watch_cache_capacity_decrease_total watch_cache_capacity_increase_total
    workqueue_queue_duration_seconds workqueue_retries_total
"""
INDICATORS: Final = frozenset(_INDICATORS.split())
"""What else shipped rules read."""


def rank(family: str, families: Families) -> int:
    """Return the rank of a family; what the settings ask for is worth as much as what alerts need.

    families: what is kept of its target.
    """
    if family in ALERTS or families.asks_for(family):
        return 0
    if family in INDICATORS:
        return 1
    return 3 if is_bulk(family) else 2
