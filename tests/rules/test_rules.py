"""Shipped rules say what they should: to Prometheus' own tool, and to our engine.

The stories are in `*.yaml` beside this file, in the format of `promtool test rules`. Annotations
are compared by promtool; our engine is compared by labels, since its rates are not extrapolated.
"""

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from schemas.records import Outcome
from streams.core.evaluate import Evaluator
from streams.core.rules.alerts import AlertBook
from streams.core.rules.files import RuleSet, load_rules
from tests.scrapes import CLUSTER, failed, rule_folder, scrape

HERE = Path(__file__).parent
STORIES = sorted(HERE.glob("*.yaml"))
NEVER_SILENT = {"Watchdog"}

Sample = tuple[str, dict[str, str], float]


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
        for check in story["alert_rule_test"]:
            told[bool(check["exp_alerts"])].add(check["alertname"])
    alerts = {plan.rule.alert for plan in shipped().program.alerts}
    assert alerts == told[True]
    assert alerts - NEVER_SILENT <= told[False]


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


@pytest.mark.parametrize("story", [pytest.param(one, id=one["name"]) for one in stories()])
def test_our_engine_agrees_with_the_story(story: dict[str, Any]) -> None:
    interval_ms = _ms(story["interval"])
    series = [_series(one) for one in story.get("input_series", [])]
    checks = {_ms(check["eval_time"]): check for check in story["alert_rule_test"]}
    rules = shipped()
    evaluator, book = Evaluator(rules, CLUSTER), AlertBook(CLUSTER, epoch=1)
    for step in range(max(checks) // interval_ms + 1):
        t_ms = step * interval_ms
        _feed(evaluator, series, step, interval_ms)
        book.update(
            evaluator.evaluate_alerts(t_ms),
            t_ms,
            watermark_ms=t_ms,
            present=partial(evaluator.inputs_present, t_ms=t_ms),
        )
        if t_ms in checks:
            expected = [
                {**alert["exp_labels"], "alertname": checks[t_ms]["alertname"]}
                for alert in checks[t_ms]["exp_alerts"]
            ]
            assert _firing(book, checks[t_ms]["alertname"]) == expected


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


def _firing(book: AlertBook, name: str) -> list[dict[str, str]]:
    return [
        {k: v for k, v in one.labels.items() if k not in ("cluster", "alertstate")}
        for one in book.series()
        if one.labels["alertname"] == name and one.labels["alertstate"] == "firing"
    ]


def _feed(
    evaluator: Evaluator,
    series: list[tuple[str, dict[str, str], list[float]]],
    step: int,
    interval_ms: int,
) -> None:
    """Give the evaluator one scrape of each target of the series."""
    targets: dict[tuple[str, str], list[Sample]] = {}
    for name, labels, values in series:
        rest = dict(labels)
        target = (rest.pop("job"), rest.pop("instance"))
        targets.setdefault(target, [])
        if step < len(values):
            targets[target].append((name, rest, values[step]))
    for (job, instance), samples in targets.items():
        up = next((value for name, _, value in samples if name == "up"), 1.0)
        t_ms = step * interval_ms
        if not up:
            evaluator.accept(failed(t_ms, Outcome.REFUSED, job=job, instance=instance))
            continue
        text = _exposition([one for one in samples if one[0] != "up"])
        evaluator.accept(scrape(text, t_ms, job=job, instance=instance, interval_ms=interval_ms))


def _exposition(samples: list[Sample]) -> str:
    lines = ["# TYPE anything_else gauge", "anything_else 1"]
    for name, labels, value in sorted(samples, key=lambda sample: sample[0]):
        family = name.removesuffix("_bucket").removesuffix("_count")
        if family != name:
            lines.append(f"# TYPE {family} histogram")
        inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value}")
        if labels.get("le") == "+Inf":
            rest = ",".join(f'{k}="{text}"' for k, text in labels.items() if k != "le")
            lines += [f"{family}_sum{{{rest}}} 0", f"{family}_count{{{rest}}} {value}"]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _series(one: dict[str, str]) -> tuple[str, dict[str, str], list[float]]:
    selector = promql.parse(one["series"])
    assert isinstance(selector, promql.VectorSelector)
    labels = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
    return str(selector.name), labels, list(_values(str(one["values"])))


def _values(text: str) -> Iterator[float]:
    """Read promtool's notation: `1`, `1x3` (1 1 1 1), `1+2x3` (1 3 5 7)."""
    for word in text.split():
        begin, _, times = word.partition("x")
        first, _, step = begin.partition("+")
        yield from (float(first) + float(step or 0) * i for i in range(int(times or 0) + 1))


def _ms(duration: str) -> int:
    return round(promql.parse_duration(duration).total_seconds() * 1000)
