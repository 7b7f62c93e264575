"""Evaluate all rules of one cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import pyarrow as pa

from schemas.arrow import INDICATOR_SCHEMA, empty_rows
from streams.core.rules.files import AlertingRule, Group, RuleSet
from streams.core.samples import FactSample, Scrape


class Inputs(Enum):
    """Whether the series that an alert judges are still there. Only PRESENT is true."""

    PRESENT = "present"
    GONE = "gone"
    REMOVED = "removed"  # their target left the configuration

    def __bool__(self) -> bool:
        return self is Inputs.PRESENT


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What the recording rules of one group gave at one time."""

    rows: pa.RecordBatch  # INDICATOR_SCHEMA
    failures: tuple[tuple[str, str], ...]  # (rule, why)


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """One result of an alerting rule: its condition is true."""

    rule: AlertingRule
    labels: Mapping[str, str]  # final: alertname, severity, cluster, the rule's own
    annotations: Mapping[str, str]
    value: float
    coverage: float


class Evaluator:
    """All series and windows of one cluster: a deterministic function of the calls."""

    def __init__(self, rules: RuleSet, cluster: str) -> None:
        self.rules, self.cluster = rules, cluster
        self.alert_failures: tuple[tuple[str, str], ...] = ()  # of the last evaluate_alerts

    def accept(self, scrape: Scrape) -> None:
        """Take one scrape; they come in tick order per target, failed ones too."""

    def accept_facts(self, t_ms: int, step_ms: int, samples: Sequence[FactSample]) -> None:
        """Take all facts of one closed step, as a scrape of a target of job planewatch."""

    def evaluate_records(self, group: Group, t_ms: int) -> GroupResult:
        """Evaluate the recording rules of a group as of `t_ms`."""
        return GroupResult(empty_rows(INDICATOR_SCHEMA), ())

    def evaluate_alerts(self, t_ms: int) -> tuple[ActiveAlert, ...]:
        """Evaluate all alerting rules now, each target's window ending at its newest sample."""
        return ()

    def inputs_present(
        self, rule: AlertingRule, labels: Mapping[str, str], t_ms: int
    ) -> Inputs:
        """Tell whether a fresh series of the rule still agrees with the labels of an alert."""
        return Inputs.GONE
