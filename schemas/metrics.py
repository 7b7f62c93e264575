"""The catalogue of our own metrics: every name, its kind, labels, unit and meaning.

The rule this file owns: a metric that is not here does not exist; the same idea has the same name
in each stage, told apart by the label `stage`. `telemetry.py` makes them, `tests/unit/schemas`
checks names and units.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class Metric(StrEnum):
    """The names of our own metrics."""

    RECORDS_RECEIVED = "planewatch_records_received_total"
    RECORDS_SENT = "planewatch_records_sent_total"
    BYTES_SENT = "planewatch_bytes_sent_total"
    ERRORS = "planewatch_errors_total"
    RECORDS_DROPPED = "planewatch_records_dropped_total"
    RECORDS_SPOOLED = "planewatch_records_spooled_total"
    SPOOL_BYTES = "planewatch_spool_bytes"
    DEAD_LETTERS = "planewatch_dead_letters_total"
    LIMIT_HITS = "planewatch_limit_hits_total"
    LAG = "planewatch_lag_seconds"
    BATCH_DURATION = "planewatch_batch_duration_seconds"
    CLUSTERS = "planewatch_observed_clusters"
    SCRAPES = "planewatch_scrapes_total"
    SCRAPE_DURATION = "planewatch_scrape_duration_seconds"
    SCRAPE_INTERVAL = "planewatch_scrape_interval_seconds"
    SERIES_LEFT_OUT = "planewatch_series_left_out"
    REQUESTS = "planewatch_requests_total"
    BUDGET_TOKENS = "planewatch_budget_tokens"
    WATCH_RESTARTS = "planewatch_watch_restarts_total"
    LOG_LINES = "planewatch_log_lines_read_total"
    EVALUATIONS = "planewatch_evaluations_total"
    EVALUATION_DURATION = "planewatch_evaluation_duration_seconds"
    LATE = "planewatch_late_records_total"
    RULE_FAILURES = "planewatch_rule_failures_total"
    RULE_PROBLEMS = "planewatch_rule_problems"
    RULE_RELOADS = "planewatch_rule_reloads_total"
    REPLAYED = "planewatch_replayed_records_total"
    ALERTS_PUBLISHED = "planewatch_alerts_published_total"
    ROWS_INSERTED = "planewatch_rows_inserted_total"
    FLUSHES = "planewatch_flushes_total"


Type = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Definition:
    """What a metric is. `unit` is that of its value."""

    type: Type
    unit: Literal[
        "records",
        "bytes",
        "seconds",
        "requests",
        "tokens",
        "events",
        "rows",
        "lines",
        "scrapes",
        "problems",
        "clusters",
        "series",
    ]
    help: str
    labels: tuple[str, ...] = ()


CATALOGUE: Final[dict[Metric, Definition]] = {
    Metric.RECORDS_RECEIVED: Definition(
        "counter", "records", "Records read from Kafka", ("topic",)
    ),
    Metric.RECORDS_SENT: Definition(
        "counter", "records", "Records that Kafka acknowledged", ("topic",)
    ),
    Metric.BYTES_SENT: Definition(
        "counter", "bytes", "Value bytes that Kafka acknowledged", ("topic",)
    ),
    Metric.ERRORS: Definition("counter", "events", "Errors by class", ("kind",)),
    Metric.RECORDS_DROPPED: Definition(
        "counter", "records", "Records given up, by reason", ("reason",)
    ),
    Metric.RECORDS_SPOOLED: Definition(
        "counter", "records", "Records written to disk because Kafka did not take them", ("topic",)
    ),
    Metric.SPOOL_BYTES: Definition(
        "gauge", "bytes", "Records on disk that Kafka has not taken yet"
    ),
    Metric.DEAD_LETTERS: Definition(
        "counter", "records", "Records that could not be read", ("topic",)
    ),
    Metric.LIMIT_HITS: Definition(
        "counter", "events", "Times that a configured maximum was hit", ("limit",)
    ),
    Metric.LAG: Definition(
        "gauge", "seconds", "Age of the newest record read, by topic", ("topic",)
    ),
    Metric.BATCH_DURATION: Definition("histogram", "seconds", "Time to write one batch", ()),
    Metric.CLUSTERS: Definition(
        "gauge", "clusters", "Configured clusters that this process observes", ()
    ),
    Metric.SCRAPES: Definition(
        "counter", "scrapes", "Scrapes by outcome", ("cluster", "job", "outcome")
    ),
    Metric.SCRAPE_DURATION: Definition(
        "histogram", "seconds", "Time of a scrape, request to last byte", ("job",)
    ),
    Metric.SCRAPE_INTERVAL: Definition(
        "gauge",
        "seconds",
        "Time between two scrapes of a target; it grows while its server is slow",
        ("cluster", "job", "instance", "path"),
    ),
    Metric.SERIES_LEFT_OUT: Definition(
        "gauge",
        "series",
        "Series of the newest scrape for which there was no room (series_max)",
        ("cluster", "job", "instance", "path"),
    ),
    Metric.REQUESTS: Definition(
        "counter",
        "requests",
        "Requests to API servers, by owner and answer",
        ("cluster", "owner", "code"),
    ),
    Metric.BUDGET_TOKENS: Definition(
        "gauge", "tokens", "Unplanned requests that may be sent at once", ("cluster",)
    ),
    Metric.WATCH_RESTARTS: Definition(
        "counter", "events", "Watches opened again, by reason", ("cluster", "reason")
    ),
    Metric.LOG_LINES: Definition("counter", "lines", "Log lines read", ("cluster", "job")),
    Metric.EVALUATIONS: Definition("counter", "events", "Evaluations of rule groups", ("group",)),
    Metric.EVALUATION_DURATION: Definition(
        "histogram", "seconds", "Time of one evaluation of a cluster's rules", ()
    ),
    Metric.LATE: Definition("counter", "records", "Records behind the watermark", ("topic",)),
    Metric.RULE_FAILURES: Definition(
        "counter", "events", "Evaluations of a rule that failed", ("rule",)
    ),
    Metric.RULE_PROBLEMS: Definition(
        "gauge", "problems", "Problems that keep changed rule files from being used"
    ),
    Metric.RULE_RELOADS: Definition(
        "counter", "events", "Changed rule files, by whether they are in force now", ("outcome",)
    ),
    Metric.REPLAYED: Definition(
        "counter", "records", "Records read again after an assignment", ("topic",)
    ),
    Metric.ALERTS_PUBLISHED: Definition(
        "counter", "records", "Alert records by status", ("status",)
    ),
    Metric.ROWS_INSERTED: Definition(
        "counter", "rows", "Rows that ClickHouse confirmed", ("table",)
    ),
    Metric.FLUSHES: Definition("counter", "events", "Flushes by what caused them", ("cause",)),
}
