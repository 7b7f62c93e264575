"""A worker that dies at any record goes on as if it had not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Status
from schemas.topics import TopicName
from streams.core import state
from streams.core.context import Context
from streams.core.rules.overrides import RuleSets
from tests.shards import Life, Log, live, requests, rules
from tests.stories import MINUTES, T0, assert_same, story

STORY = story()
UNDISTURBED = live(STORY)


def test_the_story_has_everything_that_a_crash_could_spoil() -> None:
    groups = {group for group, _ in UNDISTURBED.indicators()}
    alerts = {alert.labels["alertname"]: alert for alert in UNDISTURBED.alerts().values()}
    late = [one for out in UNDISTURBED.sent for one in out.counts if "late" in one.metric]

    assert {"g", "slow", "facts"} == groups
    assert {"Down", "Busy", "Errors"} == alerts.keys()
    assert late


CUTS = st.lists(st.integers(1, len(STORY)), min_size=1, max_size=3, unique=True)


@settings(max_examples=10)
@given(CUTS, st.booleans())
def test_a_crash_at_any_record_changes_nothing(cuts: list[int], lost: bool) -> None:
    assert_same(UNDISTURBED, crashed(cuts, saves=0 if lost else None))


@settings(max_examples=10)
@given(CUTS, st.integers(1, 3))
def test_a_crash_between_two_writes_to_the_table_changes_nothing(
    cuts: list[int], saves: int
) -> None:
    assert_same(UNDISTURBED, crashed(cuts, saves=saves))


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_a_crash_while_alerts_are_saved_changes_nothing(saves: int) -> None:
    life, cuts = Life(), []
    for number, entry in enumerate(STORY, 1):
        before = len(life.sent)
        life.take(entry)
        kinds = [kind for out in life.sent[before:] for kind in out.writes]
        if any(kind.startswith(state.alert_kind("")) for kind in kinds):
            cuts.append(number)
    assert len(cuts) > 4
    assert_same(UNDISTURBED, crashed(cuts, saves=saves))


def crashed(cuts: list[int], *, saves: int | None) -> Life:
    """Return a life that ended at these records, and after so many writes; None: after all."""
    life = Life()
    for number, entry in enumerate(STORY, 1):
        life.take(entry, saves=saves if number in cuts else None)
        if number in cuts:
            life.crash(STORY[:number], acknowledged=number - (saves is not None))
    return life


def test_a_window_longer_than_the_configured_rewind_is_whole_after_a_crash() -> None:
    rule = "{alert: Many, expr: 'sum(increase(requests_total[1h])) > 500'}"
    context = Context(RuleSets(rules(f"groups: [{{name: g, rules: [{rule}]}}]")), 660_000)
    log, life = Log(), Life(context)
    for n in range(80 * 4):  # 1,000 requests in the 20th minute, and no more
        log.scrape(requests([1_000 * (n > 80)], T0 + n * 15_000, interval_ms=15_000))
    for number, entry in enumerate(log.entries, 1):
        life.take(entry)
        if number in {150, 200, 290, 310}:
            life.crash(log.entries[:number])

    assert [Status.FIRING] == [one.status for one in life.alerts().values()]


def test_only_the_rewind_is_read_again() -> None:
    life = live(STORY)

    again = life.crash(STORY)

    scrapes = sum(one.topic is TopicName.SCRAPES for one in STORY)
    assert scrapes * 11 // MINUTES <= again <= scrapes * 13 // MINUTES


def test_records_that_faust_delivers_again_change_nothing() -> None:
    life = live(STORY[:500])
    for entry in STORY[300:500]:
        life.take(entry)
    for entry in STORY[500:]:
        life.take(entry)

    assert_same(UNDISTURBED, life)
