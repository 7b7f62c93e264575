"""Write the record of an alert. In: a state and the result behind it. Out: schemas.records.Alert.

The rule this file owns: everything in a record is a function of the input, so that a replay writes
the same bytes.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import xxhash

from schemas.records import Alert, ClusterInfo, IndicatorRef, Status
from streams.core.evaluate import ActiveAlert
from streams.core.rules.model import AlertingRule

SEVERITY_NUMBERS: Final = {"info": 9, "warning": 13, "error": 17, "critical": 21}
"""OpenTelemetry's numbers; a severity that is not here has 0, unspecified."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and when an evaluation took place."""

    cluster: str
    epoch: int
    t_ms: int
    watermark_ms: int
    cluster_info: ClusterInfo | None

    def event_id(self, fingerprint: str, seq: int) -> str:
        """Return the id of one published change."""
        return xxhash.xxh3_128_hexdigest(
            f"{self.cluster}/{fingerprint}/{self.epoch}/{seq}".encode()
        )


class Standing(Protocol):
    """The parts of an alert's state that its record shows."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def active_at_ms(self) -> int: ...


def alert_record(state: Standing, one: ActiveAlert, place: Place, starts_at_ms: int) -> Alert:
    """Return the record of an alert that fires."""
    severity = one.labels.get("severity", "none")
    return Alert(
        cluster=place.cluster,
        fingerprint=state.fingerprint,
        epoch=place.epoch,
        seq=state.seq,
        event_id=place.event_id(state.fingerprint, state.seq),
        dedup_key=f"planewatch:{place.cluster}:{state.fingerprint}",
        rule_id=one.rule.id,
        rule_version=one.rule.version,
        status=Status.FIRING,
        severity=severity,
        severity_number=SEVERITY_NUMBERS.get(severity, 0),
        labels=dict(one.labels),
        annotations=dict(one.annotations),
        active_at_ms=state.active_at_ms,
        starts_at_ms=starts_at_ms,
        updated_at_ms=place.t_ms,
        watermark_ms=place.watermark_ms,
        indicator=_indicator(one.rule, one.value),
        coverage=one.coverage,
        cluster_info=place.cluster_info,
        actions=[action] if (action := one.annotations.get("first_action")) else [],
        links=[link] if (link := one.annotations.get("runbook_url")) else [],
    )


def _indicator(rule: AlertingRule, value: float) -> IndicatorRef | None:
    judged = rule.judged
    if not judged.indicator:
        return None
    return IndicatorRef(
        id=judged.indicator,
        value=value,
        window_ms=judged.window_ms,
        threshold=judged.threshold,
        operator=judged.operator,
        for_ms=rule.for_ms,
    )


def shown(alert: Alert) -> object:
    """Return what must be published again when it changes while the alert fires."""
    return (alert.severity, alert.rule_version, alert.suspects, alert.projection)
