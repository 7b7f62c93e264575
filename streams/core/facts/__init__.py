"""Everything that is not a metric becomes one: changes and log lines as series. Pure."""

from typing import Final

FACTS: Final = (
    "planewatch_lease_age_seconds",
    "planewatch_leader_transitions_total",
    "planewatch_log_lines_total",
    "planewatch_rule_failures_total",
    "planewatch_rule_inputs_missing",
)
"""The names of all series that planewatch itself computes of its inputs."""
