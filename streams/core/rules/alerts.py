"""Keep the states of the alerts of one cluster. In: the active alerts of each evaluation. Out: the
records to publish.

The rules this file owns, all in event time:
- pending until `for` has passed, then firing; firing until the condition is false and
  `keep_firing_for` has passed; then resolved.
- A firing alert whose inputs vanished is unknown, not resolved. It fires again or is resolved when
  data returns, and ends after 15 minutes (`inputs_gone`) or with its target (`target_removed`).
- Each published change of a fingerprint has the next number; numbers never fall within an epoch,
  also after an alert was forgotten.
- Alerts that fire during one incident share its id for as long as they stay open.
- What changed since the last look is known, so that saving costs what changed, not what is kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.records import Alert, ClusterInfo, Status
from streams.core.evaluate import ActiveAlert, Inputs
from streams.core.rules.files import AlertingRule, RuleSet
from streams.core.rules.fingerprint import fingerprint
from streams.core.rules.incidents import belongs, incident_id, under_way
from streams.core.rules.record import Place, alert_record, shown
from streams.core.samples import FactSample

UNKNOWN_MS: Final = 15 * 60_000
TOMBSTONE_MS: Final = 24 * 3_600_000
UPDATE_MS: Final = 60_000
"""A firing alert that changed is published again at most this often."""
STATES_MAX: Final = 20_000
"""Alerts kept, resolved ones included. Beyond it the longest resolved are forgotten early."""

Present = Callable[[AlertingRule, Mapping[str, str]], Inputs | bool]


class State(msgspec.Struct):
    """Where one alert stands. `alert` is the newest published record, None while pending."""

    fingerprint: str
    rule_id: str
    labels: dict[str, str]
    active_at_ms: int
    seq: int
    alert: Alert | None = None
    kept_since_ms: int | None = None  # the condition is false, `keep_firing_for` holds it

    @property
    def open(self) -> bool:
        """Whether it fires, known or not."""
        return self.alert is not None and self.alert.status is not Status.RESOLVED

    @property
    def pending(self) -> bool:
        """Whether its condition is true, and not for long enough."""
        return not self.open and self.active_at_ms >= 0

    @property
    def alive(self) -> bool:
        """Whether it is neither over nor forgotten."""
        return self.open or self.pending


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be saved: alone it says nothing, together with what was saved before all."""

    seq_floor: int | None  # None: as before
    states: Mapping[str, State | None]  # by fingerprint; None: forgotten


class AlertBook:
    """The states of all alerts of one cluster, in event time."""

    def __init__(self, cluster: str, epoch: int) -> None:
        self.cluster, self.epoch = cluster, epoch
        self._states: dict[str, State] = {}
        self._seq_floor = 0  # the greatest number of a forgotten alert
        self._changed: set[str] = set()  # fingerprints, since the last look
        self._floor_saved = 0
        self._rules: dict[str, AlertingRule] = {}  # as last seen, by id
        self._orphans: frozenset[str] = frozenset()  # alerts whose rule is gone
        self._incident: str | None = None  # under way in this update, as far as is known

    def update(
        self,
        active: Sequence[ActiveAlert],
        t_ms: int,
        *,
        watermark_ms: int,
        present: Present,
        cluster_info: ClusterInfo | None = None,
        unjudged: frozenset[str] = frozenset(),
    ) -> list[Alert]:
        """Return the records to publish: firing, resolved, unknown.

        active: what one evaluation found, as of t_ms; of two with the same labels the first counts.
        unjudged: ids of rules that could not be evaluated; their alerts stay as they are.
        """
        place = Place(self.cluster, self.epoch, t_ms, watermark_ms, cluster_info)
        found: dict[str, ActiveAlert] = {}
        self._incident = None
        for one in active:
            found.setdefault(fingerprint(one.labels), one)
            self._rules[one.rule.id] = one.rule
        records = [self._active(key, one, place) for key, one in found.items()]
        left = [
            key
            for key, one in self._states.items()
            if one.alive and key not in found and one.rule_id not in unjudged
        ]
        for key in sorted(left):  # a restored book has another order
            state = self._states[key]
            if state.open:
                records.append(self._inactive(state, place, present))
            else:
                self._drop_pending(state)
        self._orphans = frozenset()
        return [record for record in records if record is not None]

    def _active(self, key: str, one: ActiveAlert, place: Place) -> Alert | None:
        state = self._states.get(key)
        if state is None:
            state = State(key, one.rule.id, dict(one.labels), place.t_ms, self._seq_floor)
            self._states[key] = state
            self._changed.add(key)
        elif not state.alive:
            self._set(state, active_at_ms=place.t_ms)
        self._set(state, rule_id=one.rule.id, kept_since_ms=None)
        before = state.alert
        if not state.open or before is None:
            due = place.t_ms - state.active_at_ms >= one.rule.for_ms
            starts_at_ms = place.t_ms
        else:
            starts_at_ms = before.starts_at_ms
            due = before.status is Status.UNKNOWN or (
                shown(before) != shown(alert_record(state, one, place, starts_at_ms))
                and place.t_ms - before.updated_at_ms >= UPDATE_MS
            )
        if not due:
            return None
        self._set(state, seq=state.seq + 1)
        record = alert_record(state, one, place, starts_at_ms)
        goes_on = before if before and before.ends_at_ms is None else None
        incident = goes_on.correlation_id if goes_on else self._incident_of(record)
        self._set(state, alert=msgspec.structs.replace(record, correlation_id=incident))
        return state.alert

    def _incident_of(self, fires: Alert) -> str | None:
        """Return the id of the incident that an alert belongs to as it fires."""
        if not belongs(fires.severity):
            return None
        if self._incident is None:
            records = (one.alert for one in self._states.values() if one.alert is not None)
            self._incident = under_way(records, fires.updated_at_ms) or incident_id(fires)
        return self._incident

    def _inactive(self, state: State, place: Place, present: Present) -> Alert | None:
        """Decide about an open alert whose condition is not true any more."""
        alert, rule = state.alert, self._rules.get(state.rule_id)
        assert alert is not None, "an open alert was published"
        if rule is None or state.fingerprint in self._orphans:
            return self._end(state, place, "rule_removed")
        if alert.status is Status.FIRING and self._kept(state, rule, place.t_ms):
            return None
        inputs = present(rule, state.labels)
        if inputs or inputs is Inputs.REMOVED:
            return self._end(state, place, "" if inputs else "target_removed")
        if alert.status is Status.FIRING:
            return self._publish(state, place, status=Status.UNKNOWN)
        over = place.t_ms - alert.updated_at_ms >= UNKNOWN_MS
        return self._end(state, place, "inputs_gone") if over else None

    def _kept(self, state: State, rule: AlertingRule, t_ms: int) -> bool:
        """Tell whether `keep_firing_for` still holds an alert."""
        since_ms = t_ms if state.kept_since_ms is None else state.kept_since_ms
        self._set(state, kept_since_ms=since_ms)
        return t_ms - since_ms < rule.keep_firing_for_ms

    def _end(self, state: State, place: Place, reason: str) -> Alert:
        self._set(state, active_at_ms=-1, kept_since_ms=None)
        return self._publish(
            state, place, status=Status.RESOLVED, reason=reason, ends_at_ms=place.t_ms
        )

    def _publish(self, state: State, place: Place, **changes: object) -> Alert:
        """Return the newest record of an alert with these changes, under the next number."""
        assert state.alert is not None, "only a published alert changes"
        seq = state.seq + 1
        record = msgspec.structs.replace(
            state.alert,
            seq=seq,
            event_id=place.event_id(state.fingerprint, seq),
            updated_at_ms=place.t_ms,
            watermark_ms=place.watermark_ms,
            cluster_info=place.cluster_info,
            **changes,
        )
        self._set(state, seq=seq, alert=record)
        return record

    def _drop_pending(self, state: State) -> None:
        self._set(state, active_at_ms=-1)
        if state.alert is None:
            del self._states[state.fingerprint]

    def _set(self, state: State, **fields: object) -> None:
        """Change a state: the one place that does, so that every change is known."""
        for name, value in fields.items():
            if getattr(state, name) != value:
                setattr(state, name, value)
                self._changed.add(state.fingerprint)

    def tombstones(self, t_ms: int) -> list[str]:
        """Forget the alerts resolved for 24 h; return their fingerprints."""
        ended = sorted(
            (state.alert.updated_at_ms, key)
            for key, state in self._states.items()
            if state.alert is not None and not state.alive
        )
        surplus = max(len(self._states) - STATES_MAX, 0)
        gone = [
            key for i, (at, key) in enumerate(ended) if i < surplus or t_ms - at >= TOMBSTONE_MS
        ]
        for key in gone:
            self._seq_floor = max(self._seq_floor, self._states.pop(key).seq)
        self._changed.update(gone)
        return gone

    def changes(self) -> Changes:
        """Return what changed since the last call."""
        floor = self._seq_floor if self._seq_floor != self._floor_saved else None
        states = {key: self._states.get(key) for key in sorted(self._changed)}
        self._changed, self._floor_saved = set(), self._seq_floor
        return Changes(floor, states)

    @classmethod
    def restore(
        cls,
        cluster: str,
        epoch: int,
        rules: RuleSet,
        *,
        states: Iterable[State],
        seq_floor: int,
        unsaved: Iterable[str] = (),
    ) -> "AlertBook":
        """Return the book of what was saved; alerts of rules that are gone end at once.

        unsaved: fingerprints that count as changed: perhaps not all of them are in their places.
        """
        book = cls(cluster, epoch)
        book._seq_floor = seq_floor
        book._changed = set(unsaved)
        book._floor_saved = 0 if book._changed else seq_floor
        book._states = {state.fingerprint: state for state in states}
        book._rules = {plan.rule.id: plan.rule for plan in rules.program.alerts}
        book._orphans = frozenset(
            key for key, state in book._states.items() if state.rule_id not in book._rules
        )
        return book

    def use(self, rules: RuleSet) -> None:
        """Keep the alerts of these rules; those of others end at the next update."""
        self._rules = {plan.rule.id: plan.rule for plan in rules.program.alerts}
        self._orphans = frozenset(
            key for key, state in self._states.items() if state.rule_id not in self._rules
        )

    def series(self) -> list[FactSample]:
        """Return ALERTS: 1 for each alert that is pending or firing, known or not, in one order."""
        return [
            FactSample(
                "ALERTS",
                {**state.labels, "alertstate": "firing" if state.open else "pending"},
                1.0,
            )
            for state in self.standing()
        ]

    def standing(self) -> list[State]:
        """Return the states of all alerts that are pending or firing, in one order."""
        return [state for _, state in sorted(self._states.items()) if state.alive]
