"""Rules that change while a worker runs: the rest goes on, and wrong ones change nothing."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.metrics import Metric
from schemas.records import Alert, Status
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from streams.core.rules.overrides import RuleSets
from streams.reload import Reload
from streams.rulefiles import configured_rule_sets
from tests.shards import RULES, Life, live, rules
from tests.stories import assert_same, story

STORY = story()
UNDISTURBED = live(STORY)
AFTER = RULES.replace("- alert: Errors", "- alert: Seen").replace("[1m])) > 5", "[1m])) > 6")


@settings(max_examples=6)
@given(st.integers(1, len(STORY)))
def test_what_did_not_change_goes_on(cut: int) -> None:
    life = reloaded(cut, AFTER)

    mine, theirs = UNDISTURBED.indicators(), life.indicators()
    for key in mine.keys() | theirs.keys():
        if key[0] != "facts":  # ALERTS is there, too
            rows = [(row["metric"], row["labels"]) for row in mine[key]]
            assert rows == [(row["metric"], row["labels"]) for row in theirs[key]]
            values = [row["value"] for row in mine[key]]
            assert values == pytest.approx([row["value"] for row in theirs[key]], rel=1e-9)
    assert of("Down", UNDISTURBED) == of("Down", life)


def test_an_alert_whose_rule_is_gone_ends_and_a_new_one_fires() -> None:
    cut = fired("Errors")

    life = reloaded(cut, AFTER)

    before, after = of("Errors", live(STORY[:cut])), of("Errors", life)
    assert before == after[:-1]
    assert (Status.RESOLVED, "rule_removed") == (after[-1].status, after[-1].reason)
    assert after[-1].seq == before[-1].seq + 1
    assert Status.FIRING is of("Seen", life)[0].status


def test_a_changed_rule_keeps_its_alert() -> None:
    life = reloaded(fired("Busy"), AFTER)

    first, second = of("Busy", life)[:2]
    assert (first.seq, first.status, second.seq, second.status) == (1, "firing", 2, "firing")
    assert first.starts_at_ms == second.starts_at_ms
    assert first.rule_version != second.rule_version


@settings(max_examples=6)
@given(st.integers(1, len(STORY)))
def test_rules_that_read_nothing_new_need_no_replay(cut: int) -> None:
    expected, found = reloaded(cut, AFTER), reloaded(cut, AFTER, replay=False)

    assert_same(expected, found)
    engine = found.shard.engines["c1"]
    assert rules(AFTER).hash == engine.rules.hash
    found.crash(STORY)  # it has saved what the other rules need
    assert_same(expected, found)


@pytest.mark.parametrize(
    ("old", "new", "takes"),
    [
        ("up == 0", "up == 1", True),
        ("for: 20s", "for: 30s", True),
        ("severity: info", "severity: page", True),
        ("- alert: Down", "- alert: More\n        expr: up == 0\n      - alert: Down", True),
        ("  - name: a", "  - name: b", True),
        ("increase(planewatch_log_lines_total", "rate(planewatch_log_lines_total", True),
        ("[1m])) > 5", "[2m])) > 5", False),  # a longer window
        ("sum by (instance) (rate", "sum by (job) (rate", False),  # another sum
        ("up == 0", "down == 0", False),  # a series that was not kept
        ("requests:slow", "requests:fast", False),
        ("interval: 30s", "interval: 15s", False),
    ],
)
def test_what_needs_a_replay(old: str, new: str, takes: bool) -> None:
    life = live(STORY[:20])
    assert old in RULES

    assert takes == life.shard.takes(RuleSets(rules(RULES.replace(old, new))))


def test_who_replays_takes_no_other_rules() -> None:
    life = live(STORY)
    shard = life.shard
    assert shard.takes(life.context.rules)
    life.restart(STORY)
    assert not life.shard.takes(life.context.rules)


def fired(name: str) -> int:
    """Return after how many records an alert fires for the first time."""
    life = Life()
    for number, entry in enumerate(STORY, 1):
        life.take(entry)
        if any(one.labels["alertname"] == name for out in life.sent[-1:] for one in out.alerts):
            return number
    raise AssertionError(f"{name} never fires")


def reloaded(cut: int, text: str, *, replay: bool = True) -> Life:
    """Return a life whose rules changed after so many records."""
    life = Life()
    for number, entry in enumerate(STORY, 1):
        life.take(entry)
        if number == cut:
            life.context = replace(life.context, rules=RuleSets(rules(text)))
            if replay:
                life.crash(STORY[:number])
            else:
                assert life.shard.takes(life.context.rules)
                life.shard.use(life.context)
    return life


def of(name: str, life: Life) -> list[Alert]:
    """Return the records of an alert; what else fires decides with which it belongs together."""
    found = [one for one in life.alerts().values() if one.labels["alertname"] == name]
    return [msgspec.structs.replace(one, correlation_id=None) for one in found]


class Watched:
    """A worker's rule files, and what is put in force."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "mine.yaml"
        self.file.write_text(RULES)
        override = {"rule": "Busy", "for": "1m", "cluster_labels": {"environment": "prod"}}
        tree = {
            "rules": {"paths": [str(folder)], "shipped": False, "overrides": [override]},
            "clusters": [{"id": "c1", "labels": {"environment": "prod"}}],
        }
        made = Settings.model_validate(tree)
        self.telemetry = Telemetry("streams")
        self.used: list[RuleSets] = []
        self.reload = Reload(made, configured_rule_sets(made), self._use, self.telemetry)

    async def _use(self, found: RuleSets) -> None:
        self.used.append(found)

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            asyncio.run(self.reload.look())

    @property
    def problems(self) -> float:
        return self.telemetry.value(Metric.RULE_PROBLEMS)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    yield Watched(tmp_path)


def test_files_that_did_not_change_are_left_alone(watched: Watched) -> None:
    watched.look(4)
    watched.file.write_text("# a remark\n" + RULES)
    watched.look(3)

    assert ([], 0) == (watched.used, watched.problems)


def test_a_changed_file_is_used_once_it_has_settled(watched: Watched) -> None:
    watched.look(2)
    for length in (900, 1_000):  # whole YAML, both
        watched.file.write_text(RULES[:length] + "\n")
        watched.look()
    assert [] == watched.used
    watched.file.write_text(AFTER)
    watched.look(3)

    (used,) = watched.used
    assert rules(AFTER).hash == used.loaded.hash
    assert used.of("c1") is not used.loaded
    assert 1 == watched.telemetry.value(Metric.RULE_RELOADS, outcome="applied")


def test_wrong_rules_are_told_once_and_change_nothing(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.file.write_text(RULES.replace("up == 0", "up ==").replace("sum by", "summ by"))
    watched.look(5)

    assert ([], 4) == (watched.used, watched.problems)
    (line,) = caplog.messages
    assert "the rules stay as they were" in line
    assert f"{watched.file}:18: not PromQL" in line
    assert 1 == watched.telemetry.value(Metric.RULE_RELOADS, outcome="refused")

    watched.file.write_text(AFTER)
    watched.look(2)
    assert (1, 0) == (len(watched.used), watched.problems)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (RULES.replace("Busy", "Bussy"), "rules.overrides.0.rule: no rule is called Busy; did you"),
        (None, "rules.paths: cannot read"),
    ],
)
def test_what_the_configuration_cannot_have_changes_nothing(
    watched: Watched, text: str | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    if text is None:
        watched.file.write_bytes(b"\xff")
    else:
        watched.file.write_text(text)
    watched.look(3)

    assert ([], 1) == (watched.used, watched.problems)
    assert why in caplog.text


def test_a_file_beside_the_others_is_taken_and_left_again(watched: Watched) -> None:
    more = watched.file.with_name("more.yml")
    more.write_text("groups: [{name: new, rules: [{alert: New, expr: up}]}]")
    watched.look(2)
    more.unlink()
    watched.look(2)

    counts = [len(one.loaded.program.alerts) for one in watched.used]
    assert [4, 3] == counts
