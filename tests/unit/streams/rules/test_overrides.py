"""Overrides change the rules of some clusters, share what they make, and are told where wrong."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.settings import RuleOverride
from streams.core.rules.files import AlertingRule, RuleSet, load_rules
from streams.core.rules.overrides import RuleSets

FILE = """\
groups:
  - name: disk
    rules:
      - {record: "disk:used", expr: "a / b"}
      - {record: "disk:seen", expr: "count(a)"}
      - alert: DiskFull
        expr: disk:used > 0.9
        for: 5m
        labels: {severity: warning}
        annotations: {summary: "{{ $value }}"}
      - {alert: DiskSlow, expr: "a > 5 and b > 6", labels: {severity: info}}
      - {alert: DiskGone, expr: "absent(a)", labels: {severity: info}}
  - name: other
    rules:
      - {alert: DiskFull, expr: "c > 3", labels: {severity: critical}}
"""
RULES = load_rules({"f.yaml": FILE})
LABELS = {"prod-1": {"environment": "prod"}, "prod-2": {"environment": "prod"}, "dev": {}}


def sets(*overrides: Mapping[str, Any], labels: Mapping[str, dict[str, str]] = LABELS) -> RuleSets:
    return RuleSets(RULES, [RuleOverride.model_validate(one) for one in overrides], labels)


def alert(rules: RuleSet, rule_id: str) -> AlertingRule:
    (found,) = (plan.rule for plan in rules.program.alerts if plan.rule.id == rule_id)
    return found


def names(rules: RuleSet) -> list[str]:
    return [f"{group.name}/{rule.name}" for group in rules.groups for rule in group.rules]


def problems(*overrides: Mapping[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        sets(*overrides)
    return {one.path: one.message for one in caught.value.problems}


def test_each_setting_changes_its_part_of_the_rule() -> None:
    given_ = {"threshold": 0.8, "for": "90s", "keep_firing_for": "1m", "severity": "critical"}
    made = sets({"rule": "disk/DiskFull", **given_}).of("dev")

    before, after = alert(RULES, "disk/DiskFull"), alert(made, "disk/DiskFull")

    assert ("disk:used > 0.8", 90_000, 60_000) == (
        after.expr,
        after.for_ms,
        after.keep_firing_for_ms,
    )
    assert ({"severity": "critical"}, 0.8) == (after.labels, after.judged.threshold)
    assert "critical" == after.templates["labels.severity"].render({}, 1.0)
    assert (before.id, before.annotations) == (after.id, after.annotations)
    assert before.version != after.version
    assert RULES.hash != made.hash


def test_what_is_disabled_is_not_evaluated() -> None:
    made = sets({"rule": "other/*", "enabled": False}).of("dev")

    assert [one for one in names(RULES) if one != "other/DiskFull"] == names(made)
    assert "other/DiskFull" not in {plan.rule.id for plan in made.program.alerts}


def test_the_later_override_counts() -> None:
    made = sets(
        {"rule": "Disk*", "enabled": False, "for": "1m"},
        {"rule": "DiskFull", "enabled": True},
        {"rule": "disk/DiskFull", "for": "2m"},
    ).of("dev")

    alerts = {plan.rule.id: plan.rule.for_ms for plan in made.program.alerts}

    assert {"disk/DiskFull": 120_000, "other/DiskFull": 60_000} == alerts


@pytest.mark.parametrize(
    ("selector", "changed"),
    [
        ({}, {"prod-1", "prod-2", "dev", "unknown"}),
        ({"clusters": ["prod-1"]}, {"prod-1"}),
        ({"clusters": ["prod-*", "unknown"]}, {"prod-1", "prod-2", "unknown"}),
        ({"cluster_labels": {"environment": "prod"}}, {"prod-1", "prod-2"}),
        ({"cluster_labels": {"environment": "p*"}, "clusters": ["*-2", "dev"]}, {"prod-2"}),
        ({"cluster_labels": {"environment": ""}}, {"dev", "unknown"}),
    ],
)
def test_a_cluster_is_selected_by_id_and_labels(
    selector: dict[str, Any], changed: set[str]
) -> None:
    made = sets({"rule": "disk/DiskFull", "for": "1s", **selector})

    found = {
        cluster
        for cluster in ("prod-1", "prod-2", "dev", "unknown")
        if alert(made.of(cluster), "disk/DiskFull").for_ms == 1_000
    }

    assert changed == found


def test_clusters_with_the_same_overrides_share_one_program() -> None:
    made = sets(
        {"rule": "disk/DiskFull", "for": "1s", "cluster_labels": {"environment": "prod"}},
        {"rule": "disk/DiskFull", "for": "5m", "clusters": ["dev"]},  # as it was
    )

    assert made.of("prod-1") is made.of("prod-2")
    assert made.of("prod-1") is not made.of("unknown")
    assert made.of("dev") is made.of("unknown") is RULES


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        (
            {"rule": "DiskFul", "enabled": False},
            "rules.overrides.0.rule",
            "no rule is called DiskFul; did you mean DiskFull or ",
        ),
        (
            {"rule": "disk/Diskfull", "enabled": False},
            "rules.overrides.0.rule",
            "did you mean disk/DiskFull",
        ),
        (
            {"rule": "zzz", "enabled": False},
            "rules.overrides.0.rule",
            "no rule is called zzz; see planewatch rules list",
        ),
        (
            {"rule": "disk:seen", "for": "5m"},
            "rules.overrides.0.for",
            "disk:seen records a series: only alerts have this",
        ),
        (
            {"rule": "DiskFull", "for": "2y"},
            "rules.overrides.0.for",
            "2y is longer than a year",
        ),
        (
            {"rule": "DiskSlow", "threshold": 5},
            "rules.overrides.0.threshold",
            "disk/DiskSlow has several comparisons with a number (> 5, > 6): disable it, and",
        ),
        (
            {"rule": "DiskGone", "threshold": 5},
            "rules.overrides.0.threshold",
            "disk/DiskGone compares nothing with a number on the right side: disable it, and",
        ),
        (
            {"rule": "DiskFull", "for": "1m", "cluster_labels": {"environment": "prd"}},
            "rules.overrides.0.cluster_labels",
            "no configured cluster has environment=prd",
        ),
        (
            {"rule": "disk:used", "enabled": False},
            "rules.overrides",
            "disk:used is disabled, but DiskFull reads it: disable both, or none",
        ),
        (
            {"rule": "disk:used", "enabled": False, "clusters": ["dev"]},
            "rules.overrides",
            "disk:used is disabled in dev, but DiskFull reads it",
        ),
    ],
)
def test_what_cannot_be_done_is_told_by_its_path(
    override: dict[str, Any], path: str, message: str
) -> None:
    found = problems(override)

    assert message in found[path]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        {"rule": "nothing", "enabled": False},
        {"rule": "DiskGone", "threshold": 1},
        {"rule": "DiskFull", "for": "1m"},
    )

    assert {"rules.overrides.0.rule", "rules.overrides.1.threshold"} == found.keys()


def test_a_record_may_be_disabled_with_its_readers() -> None:
    made = sets({"rule": "disk:used", "enabled": False}, {"rule": "DiskFull", "enabled": False})

    assert ["disk/disk:seen", "disk/DiskSlow", "disk/DiskGone"] == names(made.of("dev"))


OVERRIDES = st.fixed_dictionaries(
    {"rule": st.sampled_from(["Disk*", "DiskFull", "disk/Disk*", "other/DiskFull"])},
    optional={
        "clusters": st.lists(st.sampled_from(["prod-1", "dev", "prod-*"]), max_size=2),
        "enabled": st.booleans(),
        "for": st.sampled_from(["0", "1m", "5m"]),
        "severity": st.sampled_from(["info", "warning"]),
    },
).filter(lambda one: len(one.keys() - {"rule", "clusters"}) > 0)


MATCHED = {
    "disk/DiskFull": {"Disk*", "DiskFull", "disk/Disk*"},
    "disk/DiskSlow": {"Disk*", "disk/Disk*"},
    "disk/DiskGone": {"Disk*", "disk/Disk*"},
    "other/DiskFull": {"Disk*", "DiskFull", "other/DiskFull"},
}
SELECTED = {"prod-1": {"prod-1", "prod-*"}, "prod-2": {"prod-*"}, "dev": {"dev"}}


@given(st.lists(OVERRIDES, max_size=4), st.sampled_from([*SELECTED]))
def test_what_is_selected_changes_and_nothing_else(
    given_: list[dict[str, Any]], cluster: str
) -> None:
    rules = sets(*given_).of(cluster)
    found = {plan.rule.id: plan.rule for plan in rules.program.alerts}
    for rule_id, patterns in MATCHED.items():
        before = alert(RULES, rule_id)
        wanted = {"enabled": True, "for": "", "severity": before.labels["severity"]}
        for one in given_:
            chosen = not one.get("clusters") or SELECTED[cluster] & set(one["clusters"])
            if chosen and one["rule"] in patterns:
                wanted |= one
        if not wanted["enabled"]:
            assert rule_id not in found
            continue
        times = {"": before.for_ms, "0": 0, "1m": 60_000, "5m": 300_000}
        rule = found[rule_id]
        shown = (rule.for_ms, rule.labels["severity"], rule.expr)
        assert (times[str(wanted["for"])], wanted["severity"], before.expr) == shown


@given(st.sampled_from(["prod-1", "prod-2", "dev", "unknown"]))
def test_without_overrides_the_rules_are_those_of_the_files(cluster: str) -> None:
    assert sets().of(cluster) is RULES
    assert load_rules({"f.yaml": FILE}).hash == sets(labels={}).of(cluster).hash
