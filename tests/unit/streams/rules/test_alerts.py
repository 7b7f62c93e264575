"""States of alerts in event time: what is published, when, and under which number."""

from collections.abc import Mapping

import msgspec
import pytest

from schemas.records import Alert, ClusterInfo, Status
from streams.core.evaluate import ActiveAlert, Inputs
from streams.core.rules.alerts import TOMBSTONE_MS, UNKNOWN_MS, AlertBook, Changes, Present, State
from streams.core.rules.files import AlertingRule, RuleSet, load_rules
from streams.core.rules.fingerprint import fingerprint

RULES = """\
groups:
  - name: g
    rules:
      - {alert: Now, expr: x > 5, labels: {severity: critical}}
      - {alert: Later, expr: x > 5, for: 10s, labels: {severity: warning}}
      - {alert: Kept, expr: x > 5, keep_firing_for: 30s}
"""
LABELS = {"instance": "a"}


def rule_set(text: str = RULES) -> RuleSet:
    return load_rules({"f.yaml": text})


def rule_of(name: str, rules: RuleSet | None = None) -> AlertingRule:
    plans = (rules or rule_set()).program.alerts
    return next(plan.rule for plan in plans if plan.rule.alert == name)


def active(name: str, *, rules: RuleSet | None = None, value: float = 7.0) -> ActiveAlert:
    rule = rule_of(name, rules)
    labels = {**LABELS, **rule.labels, "alertname": name, "cluster": "c1"}
    annotations = {"summary": f"x is {value}", "first_action": "look"}
    return ActiveAlert(rule, labels, annotations, value, 1.0)


def answer(found: Inputs | bool) -> Present:
    return lambda rule, labels: found


class Saved:
    """What a table would hold."""

    def __init__(self) -> None:
        self.seq_floor = 0
        self.states: dict[str, State] = {}

    def take(self, book: AlertBook) -> None:
        changes = book.changes()
        self.seq_floor = self.seq_floor if changes.seq_floor is None else changes.seq_floor
        for key, state in changes.states.items():
            self.states.pop(key, None)
            if state:
                self.states[key] = msgspec.structs.replace(state)

    def book(self, rules: RuleSet) -> AlertBook:
        states = map(msgspec.structs.replace, self.states.values())
        return AlertBook.restore("c1", 77, rules, states=states, seq_floor=self.seq_floor)


class Story:
    """A book and its time; every step returns what was published."""

    def __init__(self) -> None:
        self.book = AlertBook("c1", epoch=77)

    def at(
        self, t_ms: int, *alerts: ActiveAlert, inputs: Inputs | bool = Inputs.PRESENT
    ) -> list[Alert]:
        return self.book.update(
            alerts, t_ms, watermark_ms=t_ms - 1, present=answer(inputs), cluster_info=None
        )

    def said(
        self, t_ms: int, *alerts: ActiveAlert, **more: Inputs
    ) -> list[tuple[Status, str, int]]:
        return [(one.status, one.reason, one.seq) for one in self.at(t_ms, *alerts, **more)]


def test_an_alert_without_for_fires_at_once_and_is_resolved_once() -> None:
    story = Story()
    assert story.said(1_000, active("Now")) == [(Status.FIRING, "", 1)]
    assert story.said(2_000, active("Now")) == []
    assert story.said(3_000) == [(Status.RESOLVED, "", 2)]
    assert story.said(4_000) == []


def test_the_record_says_everything_about_a_firing_alert() -> None:
    (record,) = AlertBook("c1", epoch=77).update(
        [active("Now")],
        5_000,
        watermark_ms=4_000,
        present=answer(True),
        cluster_info=ClusterInfo(name="blue"),
    )
    labels = {"alertname": "Now", "cluster": "c1", "instance": "a", "severity": "critical"}
    assert record.labels == labels
    assert record.fingerprint == fingerprint(labels)
    assert record.dedup_key == f"planewatch:c1:{record.fingerprint}"
    assert (record.epoch, record.seq, record.rule_id) == (77, 1, "g/Now")
    assert record.rule_version == rule_of("Now").version
    assert (record.severity, record.severity_number) == ("critical", 21)
    assert (record.active_at_ms, record.starts_at_ms, record.ends_at_ms) == (5_000, 5_000, None)
    assert (record.updated_at_ms, record.watermark_ms) == (5_000, 4_000)
    assert record.indicator is not None
    assert (record.indicator.id, record.indicator.value) == ("x", 7.0)
    assert (record.indicator.operator, record.indicator.threshold) == (">", 5.0)
    assert record.actions == ["look"]
    assert record.cluster_info == ClusterInfo(name="blue")


def test_pending_lives_in_the_series_alerts_and_fires_after_for() -> None:
    story = Story()
    assert story.said(0, active("Later")) == []
    labels = {"alertname": "Later", "cluster": "c1", "severity": "warning", **LABELS}
    (sample,) = story.book.series()
    assert (sample.metric, sample.value) == ("ALERTS", 1.0)
    assert sample.labels == {**labels, "alertstate": "pending"}
    assert story.said(9_999, active("Later")) == []
    (record,) = story.at(10_000, active("Later"))
    assert (record.status, record.active_at_ms, record.starts_at_ms) == (Status.FIRING, 0, 10_000)
    assert [sample.labels["alertstate"] for sample in story.book.series()] == ["firing"]


def test_a_condition_that_pauses_starts_for_again() -> None:
    story = Story()
    story.at(0, active("Later"))
    assert story.said(5_000) == []
    assert story.book.series() == []
    assert story.said(9_000, active("Later")) == []
    assert story.said(18_000, active("Later")) == []
    assert story.said(19_000, active("Later")) == [(Status.FIRING, "", 1)]


def test_keep_firing_for_holds_an_alert_and_a_relapse_restarts_it() -> None:
    story = Story()
    story.at(0, active("Kept"))
    assert story.said(10_000) == []
    assert story.said(20_000, active("Kept")) == []
    assert story.said(30_000) == []
    assert story.said(59_999) == []
    assert story.said(60_000) == [(Status.RESOLVED, "", 2)]


def test_an_alert_whose_inputs_vanished_is_unknown_and_ends_after_15_minutes() -> None:
    story = Story()
    story.at(0, active("Now"))
    assert story.said(5_000, inputs=Inputs.GONE) == [(Status.UNKNOWN, "", 2)]
    assert [sample.labels["alertstate"] for sample in story.book.series()] == ["firing"]
    assert story.said(5_000 + UNKNOWN_MS - 1, inputs=Inputs.GONE) == []
    (ended,) = story.at(5_000 + UNKNOWN_MS, inputs=Inputs.GONE)
    assert (ended.status, ended.reason, ended.seq) == (Status.RESOLVED, "inputs_gone", 3)
    assert ended.ends_at_ms == 5_000 + UNKNOWN_MS


@pytest.mark.parametrize(
    "inputs, alerts, said",
    [
        pytest.param(Inputs.PRESENT, 1, (Status.FIRING, "", 3), id="still true"),
        pytest.param(Inputs.PRESENT, 0, (Status.RESOLVED, "", 3), id="no longer true"),
        pytest.param(Inputs.REMOVED, 0, (Status.RESOLVED, "target_removed", 3), id="removed"),
    ],
)
def test_unknown_ends_when_data_returns(
    inputs: Inputs, alerts: int, said: tuple[Status, str, int]
) -> None:
    story = Story()
    story.at(1_000, active("Now"))
    story.at(2_000, inputs=Inputs.GONE)
    assert story.said(3_000, *[active("Now")] * alerts, inputs=inputs) == [said]


def test_a_returned_alert_keeps_the_time_when_it_began() -> None:
    story = Story()
    story.at(1_000, active("Now"))
    story.at(2_000, inputs=Inputs.GONE)
    (record,) = story.at(3_000, active("Now"))
    assert (record.active_at_ms, record.starts_at_ms) == (1_000, 1_000)


def test_an_alert_ends_with_its_target() -> None:
    story = Story()
    story.at(0, active("Now"))
    assert story.said(1_000, inputs=Inputs.REMOVED) == [(Status.RESOLVED, "target_removed", 2)]


def test_numbers_and_event_ids_never_repeat_also_after_a_tombstone() -> None:
    story = Story()
    records = story.at(0, active("Now")) + story.at(1_000)
    assert story.book.tombstones(1_000 + TOMBSTONE_MS - 1) == []
    assert story.book.tombstones(1_000 + TOMBSTONE_MS) == [records[0].fingerprint]
    assert story.book.tombstones(1_000 + TOMBSTONE_MS) == []
    records += story.at(2_000 + TOMBSTONE_MS, active("Now"))
    assert [record.seq for record in records] == [1, 2, 3]
    assert len({record.event_id for record in records}) == 3


def test_an_alert_that_fires_has_no_tombstone() -> None:
    story = Story()
    story.at(0, active("Now"))
    assert story.book.tombstones(10 * TOMBSTONE_MS) == []


def test_a_second_alert_with_the_same_labels_is_the_same_alert() -> None:
    story = Story()
    (record,) = story.at(0, active("Now", value=1.0), active("Now", value=2.0))
    assert record.annotations["summary"] == "x is 1.0"


def test_a_changed_rule_is_published_again_at_most_once_a_minute() -> None:
    changed = rule_set(RULES.replace("x > 5, labels: {severity: c", "x > 6, labels: {severity: c"))
    story = Story()
    story.at(0, active("Now"))
    assert story.said(59_999, active("Now", rules=changed)) == []
    (record,) = story.at(60_000, active("Now", rules=changed))
    assert (record.status, record.seq, record.starts_at_ms) == (Status.FIRING, 2, 0)
    assert record.rule_version == rule_of("Now", changed).version
    assert story.said(60_001, active("Now", rules=changed)) == []


def test_a_restored_book_goes_on_as_if_nothing_had_happened() -> None:
    def play(story: Story, *, restart: bool) -> list[Alert]:
        published, saved = [], Saved()
        for t_ms, names, inputs in (
            (0, ("Now", "Later"), Inputs.PRESENT),
            (10_000, ("Later", "Kept"), Inputs.GONE),
            (20_000, ("Kept",), Inputs.PRESENT),
            (30_000, (), Inputs.PRESENT),
            (60_000, ("Now",), Inputs.PRESENT),
        ):
            published += story.at(t_ms, *map(active, names), inputs=inputs)
            if restart:
                saved.take(story.book)
                story.book = saved.book(rule_set())
                assert Changes(None, {}) == story.book.changes()
        return published

    undisturbed = play(Story(), restart=False)
    assert undisturbed
    assert play(Story(), restart=True) == undisturbed


def test_alerts_of_a_rule_that_is_gone_end_at_the_next_update() -> None:
    story = Story()
    story.at(0, active("Now"), active("Kept"))
    less = rule_set(RULES.replace("alert: Now", "alert: Other"))
    saved = Saved()
    saved.take(story.book)
    story.book = saved.book(less)
    assert story.said(1_000, active("Kept")) == [(Status.RESOLVED, "rule_removed", 2)]


def test_only_what_changed_is_saved() -> None:
    story = Story()
    (record,) = story.at(0, active("Now"))
    story.at(0, active("Now"), active("Later"))
    changes = story.book.changes()
    assert changes.seq_floor is None
    assert {"Now", "Later"} == {one.labels["alertname"] for one in changes.states.values() if one}

    story.at(1_000, active("Now"), active("Later"))
    assert Changes(None, {}) == story.book.changes()

    story.at(2_000)
    assert {record.fingerprint} < story.book.changes().states.keys()  # resolved; the other is gone
    story.book.tombstones(2_000 + TOMBSTONE_MS)
    assert Changes(2, {record.fingerprint: None}) == story.book.changes()


@pytest.mark.parametrize(
    "labels, number",
    [
        # the vectors of prometheus/common, model/signature_test.go
        ({}, 14695981039346656037),
        ({"name": "garland, briggs", "fear": "love is not enough"}, 5799056148416392346),
    ],
)
def test_fingerprints_equal_those_of_prometheus(labels: Mapping[str, str], number: int) -> None:
    assert fingerprint(labels) == f"{number:016x}"
