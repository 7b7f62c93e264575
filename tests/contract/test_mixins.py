"""Other people's rule tests have the same verdicts in promtool and in `planewatch rules test`.

In: what the sources of etcd and Prometheus ship (Debian packages; nothing of it is in this
repository), stories in the manner of kubernetes-mixin, and a checkout of a mixin where
PLANEWATCH_TEST_MIXIN names one. The rule this file owns: each failure that promtool tells (story,
alert or expression, time) is told by us, and no other; what differs stands in EXCEPTIONS.

kubernetes-mixin itself is in no package of a registry that tests may ask, so its cases were written
anew in `mixins/`: they rest on the same joins, windows and recorded names. Its own tests run by
`PLANEWATCH_TEST_MIXIN=/path/to/kubernetes-mixin make test`.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import _jsonnet
import pytest
import yaml

from streams.core.rules.entries import Problems
from streams.core.rules.files import load_rules
from streams.core.rules.imports import imported
from streams.core.rules.unittests.compare import duration_text
from streams.core.rules.unittests.run import Failure, RateSemantics, run_file
from streams.core.rules.unittests.testfile import parse

FOLDER: Final = Path(__file__).parent / "mixins"
OWN: Final = ("kubernetes", "states")
CHECKOUT: Final = os.environ.get("PLANEWATCH_TEST_MIXIN")
SHARE_MAX: Final = 0.05
"""Of the checks of a mixin that may be on a list of exceptions."""

EXCEPTIONS: Final = {
    "unittest.yml": "native histograms have no classic buckets",
    "at-modifier-test.yml": "@ with a time is refused: a stream keeps its own recent past",
    "negative-offset-test.yml": "a negative offset asks for the future",
    "rules_run_fuzzy.yml": "numbers are equal to 1e-9 here, in promtool to the last bit",
    "rules_run_no_fuzzy.yml": "numbers are equal to 1e-9 here, in promtool to the last bit",
}
"""Tests that Prometheus ships whose verdicts differ, and why."""

_TOLD: Final = re.compile(
    r"^ *(?:name: (?P<name>.*?),?\n *)?"
    r"(?:alertname: (?P<alert>\S+), time: (?P<time>\w+)"
    r'|expr: (?P<expr>"(?:[^"\\]|\\.)*"), time: (?P<at>\w+))',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Verdict:
    """What a program says of a test file."""

    succeeds: bool
    told: Counter[tuple[str, str]]  # (alert or expression, time) of each check that fails


def by_promtool(promtool: Path, file: Path) -> Verdict:
    done = subprocess.run(
        [promtool, "test", "rules", file.name],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    told: Counter[tuple[str, str]] = Counter()
    for found in _TOLD.finditer(done.stderr):
        told[found["alert"] or unquoted(found["expr"]), found["time"] or found["at"]] += 1
    return Verdict(done.returncode == 0, told)


def unquoted(text: str) -> str:
    return str(yaml.safe_load(text))


def by_us(file: Path) -> Verdict:
    failures = our_failures(file)
    told = Counter(
        (one.what.partition(": ")[2].strip('"'), duration_text(one.t_ms))
        for one in failures
        if one.t_ms is not None and not one.what.startswith("rule: ")
    )
    return Verdict(not failures, told)


def our_failures(file: Path) -> list[Failure]:
    """Return what we tell of a file; one that cannot be read fails as a whole."""
    problems = Problems()
    test = parse(file.name, file.read_text(), problems)
    if test is None or problems.found:
        return [Failure("", "", str(error)) for error in problems.found]
    rules = {
        str(found): found.read_text()
        for pattern in test.rule_files
        for found in sorted(file.parent.glob(pattern))
    }
    return run_file(test, rules, RateSemantics.PROMETHEUS)


def checks_in(file: Path) -> int:
    kinds = ("alert_rule_test", "promql_expr_test")
    tests = yaml.safe_load(file.read_text())["tests"]
    return sum(len(one.get(kind) or ()) for one in tests for kind in kinds)


def rendered(mixin: Path) -> dict[str, str]:
    """Return the rule files that a mixin makes, as JSON, by their name."""
    source = "local m = import 'mixin.libsonnet'; {[n]: m[n] for n in %s if std.objectHasAll(m, n)}"
    names = {"prometheusAlerts": "prometheus_alerts", "prometheusRules": "prometheus_rules"}
    snippet = source % list(names)
    made = yaml.safe_load(_jsonnet.evaluate_snippet(str(mixin / "planewatch.jsonnet"), snippet))
    return {names[name]: yaml.safe_dump(found) for name, found in made.items()}


@pytest.mark.parametrize("name", OWN)
def test_our_own_stories_succeed_in_both(name: str, promtool: Path) -> None:
    """Those in the manner of kubernetes-mixin, and others on the states of alerts."""
    file = FOLDER / f"{name}.yaml"
    assert by_promtool(promtool, file) == by_us(file) == Verdict(True, Counter())
    assert checks_in(file) > 20


@pytest.mark.parametrize("name", OWN)
def test_stories_that_are_wrong_fail_in_both(name: str, promtool: Path, tmp_path: Path) -> None:
    """Each check of our stories, turned into its opposite, is told: none passes by chance."""
    shutil.copy(FOLDER / f"{name}-rules.yaml", tmp_path)
    file = FOLDER / f"{name}.yaml"
    root = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # 0x9 is no number here
    root["fuzzy_compare"] = True
    for story in root["tests"]:
        for check in story.get("alert_rule_test", []):
            check["exp_alerts"] = [] if check.get("exp_alerts") else [{"exp_labels": {"x": "y"}}]
        for check in story.get("promql_expr_test", []):
            check["exp_samples"] = [{"labels": "nothing", "value": 1}]
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(root))
    theirs, ours = by_promtool(promtool, wrong), by_us(wrong)
    assert theirs == ours
    assert ours.told.total() == checks_in(file)


def test_what_prometheus_ships_for_promtool(promtool: Path, prometheus_sources: Path) -> None:
    folder = prometheus_sources / "cmd" / "promtool" / "testdata"
    files = [one for one in sorted(folder.glob("*.yml")) if "tests:" in one.read_text().split("\n")]
    assert len(files) > 10
    different = {one.name for one in files if by_promtool(promtool, one) != by_us(one)}
    assert different == EXCEPTIONS.keys() & {one.name for one in files}


@pytest.mark.parametrize("package", ["etcd", "prometheus"])
def test_a_mixin_is_imported_whole(
    package: str, etcd_sources: Path, prometheus_sources: Path
) -> None:
    mixin = {
        "etcd": etcd_sources / "contrib" / "mixin",
        "prometheus": prometheus_sources / "documentation" / "prometheus-mixin",
    }[package]
    found = [one for name, text in rendered(mixin).items() for one in imported(name, text)]
    assert not [refusal for one in found for refusal in one.refused]
    assert len(load_rules({one.name: one.text for one in found}).program.alerts) > 10


@dataclass(frozen=True)
class Compared:
    """One test file of a mixin, and what the two programs say of it."""

    checks: int
    theirs: Verdict
    ours: Verdict

    @property
    def different(self) -> int:
        """Checks of which only one of them tells a failure."""
        return ((self.theirs.told - self.ours.told) + (self.ours.told - self.theirs.told)).total()


def compared(promtool: Path, mixin: Path, folder: Path) -> Iterator[tuple[str, Compared]]:
    """Yield each test file of a checkout, run over its rules in a copy of it."""
    copy = folder / "mixin"
    shutil.copytree(mixin, copy)
    for name, text in rendered(mixin).items():
        (copy / f"{name}.yaml").write_text(text)
    shutil.copy(copy / "prometheus_alerts.yaml", copy / "mixin.yaml")  # as etcd calls it
    for file in sorted({*copy.glob("test*.yaml"), *copy.glob("tests/*.yaml")}):
        yield file.name, Compared(checks_in(file), by_promtool(promtool, file), by_us(file))


@pytest.mark.parametrize("mixin", ["etcd", *([CHECKOUT] if CHECKOUT else [])])
def test_a_mixin_says_the_same(
    mixin: str, promtool: Path, etcd_sources: Path, tmp_path: Path
) -> None:
    source = etcd_sources / "contrib" / "mixin" if mixin == "etcd" else Path(mixin)
    files = dict(compared(promtool, source, tmp_path))
    checks = sum(one.checks for one in files.values())
    told = [(name, one.theirs, one.ours) for name, one in files.items() if one.different]
    assert checks > 10
    assert sum(one.different for one in files.values()) <= SHARE_MAX * checks, told
