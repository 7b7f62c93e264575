"""Objects and mixins become rule files; nothing is dropped without a word."""

import json
from typing import Any

import pytest
import yaml

from streams.core.rules.files import load_rules
from streams.core.rules.imports import Imported, imported

GOOD = {"record": "a:b:c", "expr": "sum(x)"}


def an_object(*rules: dict[str, Any], name: str = "k", **group: Any) -> dict[str, Any]:
    groups = [{"name": "g", "rules": list(rules), **group}]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name, "namespace": "n", "labels": {"x": "y"}},
        "spec": {"groups": groups},
    }


def one(data: object) -> Imported:
    (found,) = imported("file", yaml.safe_dump(data))
    return found


def test_an_object_becomes_a_rule_file_of_its_name() -> None:
    alert = {
        "alert": "A",
        "expr": "x > 1\n  or y",
        "for": "5m",
        "labels": {"severity": "yes"},
        "annotations": {"s": "{{ $labels.x }}\n"},
    }
    found = one(an_object(alert, GOOD, interval="30s", limit=5, labels={"team": "a"}))
    assert (found.name, found.rules, found.refused, found.notes) == ("n-k", 2, [], [])
    (group,) = load_rules({"f": found.text}).groups
    first = group.rules[0]
    assert (group.interval_ms, group.limit) == (30_000, 5)
    assert first.expr == "x > 1\n  or y"
    assert first.labels == {"team": "a", "severity": "yes"}


@pytest.mark.parametrize("data", [[an_object(GOOD), an_object(GOOD, name="l")]])
def test_lists_and_several_documents(data: list[dict[str, Any]]) -> None:
    as_list = {"kind": "List", "apiVersion": "v1", "items": data}
    for text in (yaml.safe_dump(as_list), yaml.safe_dump_all(data), json.dumps(as_list)):
        assert [found.name for found in imported("file", text)] == ["n-k", "n-l"]


def test_rendered_mixins() -> None:
    text = json.dumps({"groups": [{"name": "g", "rules": [GOOD]}]})
    (found,) = imported("mixin", text)
    assert (found.name, found.rules) == ("mixin", 1)
    first, second = imported("mixin", f"{text}\n---\n{text}")
    assert (first.name, second.name) == ("mixin", "mixin-2")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"record": "a:b:c", "expr": "sum("}, "not PromQL"),
        ({"record": "a:b:c", "expr": "nobody_knows(x)"}, "not PromQL"),
        ({"record": "a:b:c", "expr": "x @ 100"}, "@ with a time"),
        ({"alert": "A", "expr": "x", "annotations": {"s": "{{ nobody }}"}}, "nobody"),
        ({"alert": "A", "expr": "x", "for": "soon"}, "'soon' is no duration"),
        ({"alert": "A", "expr": "x", "action": "y"}, "unknown field action"),
        ({"expr": "x"}, "a rule has either"),
    ],
)
def test_a_rule_that_cannot_run_is_refused_alone(rule: dict[str, Any], why: str) -> None:
    found = one(an_object(GOOD, rule))
    assert found.rules == 1
    (refusal,) = found.refused
    assert why in refusal.why
    assert "group g" in refusal.what


def test_rules_of_a_cycle_are_refused_and_no_others() -> None:
    cycle = [{"record": "x:x:x", "expr": "y:y:y + 1"}, {"record": "y:y:y", "expr": "x:x:x"}]
    found = one(an_object(GOOD, *cycle))
    assert found.rules == 1
    assert {"group g, x:x:x", "group g, y:y:y"} == {each.what for each in found.refused}
    load_rules({"f": found.text})


def test_the_line_of_a_refusal_is_that_of_its_expr() -> None:
    text = "groups:\n- name: g\n  rules:\n  - record: a:b:c\n    expr: sum(\n"
    (found,) = imported("file", text)
    assert [each.line for each in found.refused] == [5]
    assert found.text == ""


@pytest.mark.parametrize(
    ("field", "value"), [("query_offset", "10s"), ("partial_response_strategy", "warn")]
)
def test_fields_of_groups_that_are_left_out_are_told(field: str, value: str) -> None:
    found = one(an_object(GOOD, **{field: value}))
    assert found.rules == 1
    assert [each.what for each in found.notes] == [f"group g, {field}"]


def test_templates_that_helm_escapes() -> None:
    text = yaml.safe_dump(an_object({"alert": "A", "expr": "x", "annotations": {"s": "HERE"}}))
    for escaped in ("{{`{{ $labels.x }}`}}", '{{ "{{" }} $labels.x {{ "}}" }}'):
        (found,) = imported("f", text.replace("HERE", f"'{escaped}'"))
        (plan,) = load_rules({"f": found.text}).program.alerts
        assert plan.rule.annotations == {"s": "{{ $labels.x }}"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there are no rules in it"),
        ("kind: ConfigMap\napiVersion: v1\n", "v1 ConfigMap is not imported"),
        ("kind: PrometheusRule\napiVersion: other/v1\n", "other/v1 PrometheusRule is not"),
        ("a: [", "not YAML"),
        ("{{- if .Values.on }}\na: [\n{{- end }}\n", "render it first"),
        ("groups: 5\n", "there are no groups"),
        ("x" * 20_000_001, "longer than 20000000 characters"),
    ],
)
def test_what_is_no_rule_is_told(text: str, why: str) -> None:
    (found,) = imported("file", text)
    assert found.text == ""
    assert why in found.refused[0].why


def test_a_group_that_is_there_twice() -> None:
    data = an_object(GOOD)
    data["spec"]["groups"] *= 2
    found = one(yaml.safe_load(json.dumps(data)))
    assert (found.rules, len(found.refused)) == (1, 1)
    assert "there twice" in found.refused[0].why
