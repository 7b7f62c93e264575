"""Rule files: what loads, and that everything wrong is told at once, with its line."""

import pytest

from streams.core.rules.files import AlertingRule, RecordingRule, RuleErrors, RuleSet, load_rules
from streams.core.rules.judged import judged

GOOD = """\
groups:
  - name: one
    interval: 30s
    limit: 5
    labels: {team: a}
    rules:
      - record: a:b:c_5m
        expr: sum(rate(x_total[5m]))
        labels: {kept: "yes"}
      - alert: Hot
        expr: |
          a:b:c_5m > 10
        for: 1m
        keep_firing_for: 0s
        labels: {severity: warning}
        annotations:
          summary: "{{ $value }}"
      - alert: Hot
        expr: up == 0
  - name: two
    rules: []
"""


def problems(**files: str) -> list[str]:
    with pytest.raises(RuleErrors) as caught:
        load_rules({name.replace("_", "."): text for name, text in files.items()})
    return [f"{one.file}:{one.line} {one.message}" for one in caught.value.errors]


def rule(body: str) -> str:
    indented = "".join(f"        {line}\n" for line in body.splitlines()).lstrip()
    return f"groups:\n  - name: g\n    rules:\n      - {indented}"


def test_a_file_becomes_groups_of_rules() -> None:
    one, two = load_rules({"f.yaml": GOOD}).groups
    assert (one.name, one.file, one.interval_ms, one.limit) == ("one", "f.yaml", 30_000, 5)
    assert (two.interval_ms, two.rules) == (15_000, ())
    record, hot, again = one.rules
    assert isinstance(record, RecordingRule)
    assert (record.record, record.line, dict(record.labels)) == (
        "a:b:c_5m",
        8,
        {"team": "a", "kept": "yes"},
    )
    assert isinstance(hot, AlertingRule)
    assert isinstance(again, AlertingRule)
    assert (hot.for_ms, hot.keep_firing_for_ms, hot.line) == (60_000, 0, 11)
    assert dict(hot.labels) == {"team": "a", "severity": "warning"}
    assert (hot.id, again.id) == ("one/Hot", "one/Hot#2")


def test_a_rule_keeps_its_id_and_gets_another_version_when_it_changes() -> None:
    before, after = _hot(GOOD), _hot(GOOD.replace("> 10", "> 11"))
    assert before.id == after.id
    assert before.version != after.version
    assert before.version == _hot(GOOD.replace("groups:", "# a remark\ngroups:")).version


def _hot(text: str) -> AlertingRule:
    found = load_rules({"f.yaml": text}).groups[0].rules[1]
    assert isinstance(found, AlertingRule)
    return found


@pytest.mark.parametrize(
    "old, new",
    [("30s", "1m"), ("> 10", "> 11"), ("1m", "2m"), ("{{ $value }}", "x"), ("yes", "no")],
)
def test_the_hash_covers_everything_that_matters(old: str, new: str) -> None:
    changed = load_rules({"f.yaml": GOOD.replace(old, new)})
    assert load_rules({"f.yaml": GOOD}).hash != changed.hash


def test_the_hash_ignores_remarks_and_file_names() -> None:
    assert load_rules({"f.yaml": GOOD}).hash == load_rules({"g.yaml": "# x\n" + GOOD}).hash


def test_groups_of_one_name_in_two_files_are_told_apart() -> None:
    rules = load_rules({"a.yaml": GOOD, "b.yaml": GOOD})
    assert [group.name for group in rules.groups] == [
        "one@a.yaml",
        "two@a.yaml",
        "one@b.yaml",
        "two@b.yaml",
    ]
    ids = [plan.rule.id for plan in rules.program.alerts]
    assert ids == ["one@a.yaml/Hot", "one@a.yaml/Hot#2", "one@b.yaml/Hot", "one@b.yaml/Hot#2"]


@pytest.mark.parametrize("text", ["", "groups: []", "groups:", "# nothing"])
def test_a_file_may_be_empty(text: str) -> None:
    assert load_rules({"f.yaml": text}) == RuleSet((), load_rules({}).hash, load_rules({}).program)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("groups: [", "f.yaml:1 not YAML"),
        ("- a", "f.yaml:1 expected a mapping"),
        ("groups: 5", "f.yaml:1 groups must be a list"),
        ("grous: []", "f.yaml:1 unknown field grous"),
        ("groups:\n  - rules: []", "f.yaml:2 name is missing"),
        ("groups:\n  - name: a\n  - name: a", "f.yaml:3 the group a is there twice"),
        ("groups:\n  - name: a\n    interval: 5q", "f.yaml:3 interval: '5q' is no duration"),
        ("groups:\n  - name: a\n    limit: -1", "f.yaml:3 limit must be a whole number"),
        ("groups:\n  - name: a\n    query_offset: 1m", "f.yaml:2 query_offset is not supported"),
        (rule("expr: up"), "f.yaml:4 a rule has either `record` or `alert`"),
        (rule("record: a\nalert: b\nexpr: up"), "f.yaml:4 a rule has either"),
        (rule("record: a"), "f.yaml:4 a rule needs `expr`"),
        (rule("record: a-b\nexpr: up"), "f.yaml:4 'a-b' is no metric name"),
        (rule("record: a\nexpr: up\nfor: 5m"), "f.yaml:4 for is for alerts"),
        (rule("alert: a\nexpr: up\nlabels: {a-b: c}"), "f.yaml:6 labels: 'a-b' is no label name"),
        (rule("alert: a\nexpr: up\nexpr: up"), "f.yaml:6 expr is there twice"),
        (rule("alert: a\nexpr: sum(rate(x[5m])"), "f.yaml:5 not PromQL"),
        (rule("alert: a\nexpr: |\n  limitk(1, up)"), "f.yaml:5 limitk is not supported"),
        (rule("alert: a\nexpr: up\nannotations: {s: '{{ boom }}'}"), "annotations.s: boom is not"),
        (
            rule("alert: a\nexpr: b\n") + "      - record: b\n        expr: b + 1",
            "depends on itself",
        ),
    ],
    ids=lambda text: text[:60].replace("\n", " "),
)
def test_problem(text: str, problem: str) -> None:
    (found,) = problems(f_yaml=text)
    assert problem in found


def test_all_problems_of_all_files_are_told_in_order() -> None:
    found = problems(
        b_yaml="groups: [",
        a_yaml=rule("alert: a\nexpr: limitk(1, up)\nfor: x\nnonsense: 1"),
        c_yaml=GOOD,
    )
    assert [one.split()[0] for one in found] == ["a.yaml:5", "a.yaml:6", "a.yaml:7", "b.yaml:1"]


def test_the_message_holds_the_expression() -> None:
    with pytest.raises(RuleErrors, match=r"f\.yaml:5: limitk is not .*\n    expr: limitk\(1, up\)"):
        load_rules({"f.yaml": rule("alert: a\nexpr: limitk(1, up)")})


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("a:b:c_1m > 5", ("a:b:c_1m", ">", 5.0, 0)),
        ("rate(x_total[5m]) >= -1 and on() y > 2", ("x_total", ">=", -1.0, 300_000)),
        ("x > (14.4 * 0.001) - 1 / 2", ("x", ">", 14.4 * 0.001 - 0.5, 0)),
        ("x > 1 / 0", ("x", "", None, 0)),
        ("absent(up)", ("up", "", None, 0)),
        ("a > b", ("a", "", None, 0)),
        ("vector(1)", ("", "", None, 0)),
    ],
)
def test_what_an_alert_judges(
    expression: str, expected: tuple[str, str, float | None, int]
) -> None:
    found = judged(expression)
    assert (found.indicator, found.operator, found.threshold, found.window_ms) == expected


def test_recorded_names_that_depend_on_each_other_are_told_with_the_chain() -> None:
    rules = [("a:b", "c:d + 1"), ("c:d", "rate(e:f[5m])"), ("e:f", "a:b offset 1m"), ("g:h", "g:h")]
    text = "".join(f"  - {{record: '{name}', expr: '{expr}'}}\n" for name, expr in rules)
    found = problems(a_yaml="groups:\n- name: g\n  rules:\n" + text)
    assert found == [
        "a.yaml:4 the recorded name a:b depends on itself: a:b -> c:d -> e:f -> a:b",
        "a.yaml:5 the recorded name c:d depends on itself: c:d -> e:f -> a:b -> c:d",
        "a.yaml:6 the recorded name e:f depends on itself: e:f -> a:b -> c:d -> e:f",
        "a.yaml:7 the recorded name g:h depends on itself: g:h -> g:h",
    ]
