"""Alerts of a cluster that belong together share an id, over restarts as well."""

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Alert, Status
from streams.core.evaluate import ActiveAlert, Inputs
from streams.core.rules.alerts import AlertBook, State
from streams.core.rules.files import load_rules
from streams.core.rules.incidents import LINGER_MS

NAMES = {"A": "critical", "B": "warning", "C": "page", "Info": "info", "Watchdog": "none"}
ENTRIES = ", ".join(
    f"{{alert: {name}, expr: x > 5, labels: {{severity: {severity}}}}}"
    for name, severity in NAMES.items()
)
RULES = load_rules(
    {"f.yaml": f"groups: [{{name: g, rules: [{ENTRIES}, {{alert: Bare, expr: x}}]}}]"}
)
PLANS = {plan.rule.alert: plan.rule for plan in RULES.program.alerts}


def active(name: str) -> ActiveAlert:
    rule = PLANS[name]
    labels = {**rule.labels, "alertname": name, "cluster": "c1"}
    return ActiveAlert(rule, labels, {}, 7.0, 1.0)


@dataclass
class Story:
    """A book that may be saved in parts, lost, and restored."""

    epoch: int = 77
    saved: dict[str, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.book = AlertBook("c1", self.epoch)

    def at(self, t_ms: int, names: str, *, keep: int | None = None, **more: Inputs) -> list[Alert]:
        """Evaluate; of what is to be saved keep the first `keep` alone."""
        inputs = more.get("inputs", Inputs.PRESENT)
        alerts = [active(name) for name in names.split()]
        found = self.book.update(
            alerts, t_ms, watermark_ms=t_ms, present=lambda rule, labels: inputs, cluster_info=None
        )
        changes = [*self.book.changes().states.items()]
        for key, state in changes[:keep]:
            self.saved.pop(key, None)
            if state is not None:
                self.saved[key] = msgspec.structs.replace(state)
        return found

    def ids(self, t_ms: int, names: str) -> dict[str, str | None]:
        return {one.labels["alertname"]: one.correlation_id for one in self.at(t_ms, names)}

    def restart(self) -> None:
        states = [msgspec.structs.replace(one) for one in self.saved.values()]
        self.book = AlertBook.restore("c1", self.epoch, RULES, states=states, seq_floor=0)


def test_alerts_that_fire_while_one_is_open_share_its_id() -> None:
    story = Story()
    first = story.ids(0, "A")["A"]
    assert first
    assert {"B": first} == story.ids(3_600_000, "A B")
    assert {"A": first} == story.ids(3_700_000, "B")  # resolved
    assert {"C": first} == story.ids(3_800_000, "B C")


def test_alerts_that_fire_at_once_share_one_id() -> None:
    found = Story().ids(0, "A B C")
    assert {"A", "B", "C"} == found.keys()
    assert 1 == len(set(found.values()))


@pytest.mark.parametrize(("after_ms", "same"), [(LINGER_MS, True), (LINGER_MS + 1, False)])
def test_an_incident_lingers_after_its_last_alert(after_ms: int, same: bool) -> None:
    story = Story()
    first = story.ids(0, "A")["A"]
    story.at(60_000, "")
    story.restart()
    again = story.ids(60_000 + after_ms, "B")["B"]
    assert again
    assert same == (first == again)


def test_the_linger_begins_with_the_end_of_the_last() -> None:
    story = Story()
    first = story.ids(0, "A B")["A"]
    story.at(1_000, "B")
    story.at(LINGER_MS, "")
    assert first == story.ids(LINGER_MS + 2_000, "A")["A"]


def test_an_alert_that_comes_again_later_is_of_another_incident() -> None:
    story = Story()
    first = story.ids(0, "A")["A"]
    story.at(1_000, "")
    assert first != story.ids(LINGER_MS + 2_000, "A")["A"]


def test_alerts_that_demand_nothing_belong_to_no_incident() -> None:
    story = Story()
    assert {"Watchdog": None, "Info": None, "Bare": None} == story.ids(0, "Watchdog Info Bare")
    first = story.ids(1_000, "Watchdog Info Bare A")["A"]
    assert first
    story.at(2_000, "Watchdog Info")
    assert first != story.ids(2_001 + LINGER_MS, "Watchdog Info A")["A"]


def test_an_unknown_alert_is_open_and_keeps_its_id() -> None:
    story = Story()
    first = story.ids(0, "A")["A"]
    (unknown,) = story.at(1_000, "", inputs=Inputs.GONE)
    assert (Status.UNKNOWN, first) == (unknown.status, unknown.correlation_id)
    story.restart()
    assert {"A": first, "B": first} == story.ids(600_000, "A B")


def test_ids_differ_by_cluster_and_epoch() -> None:
    assert Story().ids(0, "A") != Story(epoch=78).ids(0, "A")


STEPS = st.lists(
    st.tuples(st.integers(1, LINGER_MS), st.sets(st.sampled_from(sorted(NAMES)))), max_size=12
)


@given(STEPS, st.data())
def test_a_crash_anywhere_and_a_replay_give_the_same_ids(
    steps: list[tuple[int, set[str]]], data: st.DataObject
) -> None:
    crash, keep = data.draw(st.integers(0, len(steps))), data.draw(st.integers(0, 5))
    whole, cut, t_ms = Story(), Story(), 0
    for i, (passed_ms, names) in enumerate(steps):
        t_ms += passed_ms
        text = " ".join(sorted(names))
        expected = {one.event_id: one.correlation_id for one in whole.at(t_ms, text)}
        found: dict[str, str | None] = {}
        if i == crash:
            found = {one.event_id: one.correlation_id for one in cut.at(t_ms, text, keep=keep)}
            cut.restart()
        found |= {one.event_id: one.correlation_id for one in cut.at(t_ms, text)}
        assert expected == found
