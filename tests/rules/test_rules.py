"""Shipped rules say what they should: to Prometheus' own tool, and to our engine.

The stories are in `*.yaml` beside this file, in the format of `promtool test rules`. Our engine
runs them twice: as `planewatch rules test` does, and with the rates of a worker, whose numbers
differ a little, so that texts are left out.
"""

import re
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.records import Outcome
from streams.core.evaluate import Evaluator
from streams.core.rules.alerts import AlertBook
from streams.core.rules.entries import Problems
from streams.core.rules.files import RuleSet, load_rules
from streams.core.rules.unittests.model import AlertCheck, Story, TestFile
from streams.core.rules.unittests.run import RateSemantics, run_file
from streams.core.rules.unittests.testfile import parse
from tests.scrapes import CLUSTER, rule_folder, scrape

HERE = Path(__file__).parent
STORIES = sorted(HERE.glob("*.yaml"))
NEVER_SILENT = {"Watchdog"}


def shipped() -> RuleSet:
    return load_rules({file.name: file.read_text() for file in rule_folder().glob("*.yaml")})


def stories() -> list[dict[str, Any]]:
    return [one for file in STORIES for one in yaml.safe_load(file.read_text())["tests"]]


def test_promtool_accepts_the_shipped_rule_files(promtool: Path) -> None:
    files = sorted(rule_folder().glob("*.yaml"))
    assert files
    done = subprocess.run(
        [promtool, "check", "rules", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_agrees_with_the_stories(promtool: Path) -> None:
    done = subprocess.run(
        [promtool, "test", "rules", *STORIES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_firing_and_a_silent_story() -> None:
    told: dict[bool, set[str]] = {True: set(), False: set()}
    for story in stories():
        for check in story.get("alert_rule_test", []):
            told[bool(check["exp_alerts"])].add(check["alertname"])
    alerts = {plan.rule.alert for plan in shipped().program.alerts}
    assert alerts == told[True]
    assert alerts - NEVER_SILENT <= told[False]


def test_every_indicator_has_a_value_that_was_worked_out() -> None:
    """Asked for by its name, or read by another that is."""
    asked = " ".join(
        check["expr"] for story in stories() for check in story.get("promql_expr_test", [])
    )
    records = [rule for rules in shipped().program.records.values() for rule, _ in rules]
    told = {rule.record for rule in records if _names(rule.record, asked)}
    told |= {
        rule.record
        for rule in records
        if any(_names(rule.record, one.expr) for one in records if one.record in told)
    }
    assert {rule.record for rule in records} == told


def _names(record: str, text: str) -> bool:
    return re.search(rf"(?<![\w:]){record}(?![\w:])", text) is not None


def test_every_alert_says_what_to_do() -> None:
    anchors = {
        line.removeprefix("## ").strip().lower()
        for line in (rule_folder() / "RUNBOOK.md").read_text().splitlines()
        if line.startswith("## ")
    }
    for plan in shipped().program.alerts:
        rule = plan.rule
        assert rule.labels["severity"] in {"none", "info", "warning", "critical"}
        assert "$value" in rule.annotations["summary"], rule.alert
        assert rule.annotations["description"] and rule.annotations["first_action"]
        url = rule.annotations["runbook_url"]
        assert url == f"streams/rules/RUNBOOK.md#{rule.alert.lower()}"
        assert rule.alert.lower() in anchors


def test_indicators_are_named_component_subject_what() -> None:
    for group in shipped().groups:
        for rule in shipped().program.records[group.name]:
            assert rule[0].record.count(":") == 2


@pytest.mark.parametrize("semantics", RateSemantics)
@pytest.mark.parametrize("file", STORIES, ids=lambda file: file.name)
def test_our_engine_agrees_with_the_stories(file: Path, semantics: RateSemantics) -> None:
    problems = Problems()
    test = parse(file.name, file.read_text(), problems)
    assert test is not None and not problems.found, problems.found
    rules = {name: (file.parent / name).resolve().read_text() for name in test.rule_files}
    if semantics is RateSemantics.LINEAR:
        test, rules = without_texts(test), {k: without_annotations(v) for k, v in rules.items()}
    told = [str(failure) for failure in run_file(test, rules, semantics)]
    assert not told, "\n".join(told)


def without_texts(test: TestFile) -> TestFile:
    """Return what a file says of labels alone."""
    return replace(
        test, stories=tuple(replace(one, alerts=bare(one), exprs=()) for one in test.stories)
    )


def bare(story: Story) -> tuple[AlertCheck, ...]:
    return tuple(
        replace(check, expected=tuple(replace(one, annotations={}) for one in check.expected))
        for check in story.alerts
    )


def without_annotations(text: str) -> str:
    root = yaml.safe_load(text)
    for group in root["groups"]:
        for rule in group["rules"]:
            rule.pop("annotations", None)
    return yaml.safe_dump(root)


def test_a_skipped_tick_of_a_healthy_member_fires_nothing() -> None:
    """Skipped ticks have no word in the language of promtool, so this story is told here."""
    rules = shipped()
    evaluator, book = Evaluator(rules, CLUSTER), AlertBook(CLUSTER, epoch=1)
    body, interval_ms = "etcd_server_has_leader 1\netcd_server_is_leader 1\n", 15_000
    for t_ms in range(0, 300_000, 5_000):
        if t_ms % interval_ms == 0:
            tried = t_ms != 10 * interval_ms
            evaluator.accept(
                scrape(
                    body if tried else "",
                    t_ms,
                    job="etcd",
                    outcome=Outcome.OK if tried else Outcome.SKIPPED,
                    interval_ms=interval_ms,
                )
            )
        book.update(
            evaluator.evaluate_alerts(t_ms),
            t_ms,
            watermark_ms=t_ms,
            present=partial(evaluator.inputs_present, t_ms=t_ms),
        )
        states = {one.labels["alertname"] for one in book.series()}
        assert "EtcdMemberDown" not in states, t_ms
