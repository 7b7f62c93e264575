"""Load Prometheus rule files. In: names and YAML texts. Out: one compiled rule set, or everything
that is wrong with them.

The rule this file owns: a file that loads here is a rule file to Prometheus too, and a rule that
loads never fails for what it says. All problems are told at once, with file, line and expression.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import xxhash

from schemas.errors import PlanewatchError, RuleError
from streams.core.promql.plan import PlanError
from streams.core.rules.entries import Entry, Problems, read
from streams.core.rules.judged import judged
from streams.core.rules.model import AlertingRule, Group, RecordingRule
from streams.core.rules.program import Program, compile_rules
from streams.core.rules.template import Template, TemplateError

__all__ = ["AlertingRule", "Group", "RecordingRule", "RuleErrors", "RuleSet", "load_rules"]

INTERVAL_MS: Final = 15_000
"""Of groups that state none."""
FILE_CHARS_MAX: Final = 5_000_000
RULES_MAX: Final = 10_000

_GROUP_FIELDS: Final = ("name", "interval", "limit", "rules", "labels", "query_offset")
_RULE_FIELDS: Final = (
    "record",
    "alert",
    "expr",
    "for",
    "keep_firing_for",
    "labels",
    "annotations",
)


class RuleErrors(PlanewatchError):
    """Rule files cannot be used. Their authors must mend every one of `errors`."""

    def __init__(self, errors: list[RuleError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in errors))


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a worker, compiled."""

    groups: tuple[Group, ...]
    hash: str  # xxh3 of everything that matters
    program: Program = field(compare=False, repr=False)

    @property
    def names(self) -> frozenset[str]:
        """What people call its rules."""
        return frozenset(rule.name for group in self.groups for rule in group.rules)

    extrapolated: bool = False  # whether rates are those of Prometheus


def load_rules(files: Mapping[str, str], *, extrapolated: bool = False) -> RuleSet:
    """Return the rules of `files` (name: YAML text), or raise RuleErrors with all problems.

    extrapolated: whether `rate` and `increase` are those of Prometheus, for who compares.
    """
    problems = Problems()
    groups = read_groups({name: files[name] for name in sorted(files)}, problems)
    count = sum(len(group.rules) for group in groups)
    if count > RULES_MAX:
        problems.add(RuleError(f"{count} rules; at most {RULES_MAX} are kept", file="all files"))
        raise RuleErrors(problems.found)
    program, errors = compile_rules(tuple(groups), extrapolated=extrapolated)
    for error in errors:
        problems.add(error)
    if problems.found:
        raise RuleErrors(sorted(problems.found, key=lambda error: (error.file, error.line)))
    return _rule_set(tuple(groups), program, extrapolated=extrapolated)


def read_groups(files: Mapping[str, str], problems: Problems) -> list[Group]:
    """Return the groups of `files` in their order, not compiled; what is wrong is noted."""
    return _unique([group for name in files for group in _file(name, files[name], problems)])


def recompiled(groups: tuple[Group, ...], *, extrapolated: bool) -> RuleSet:
    """Return the rule set of groups that were loaded before and changed since.

    Raises:
        RuleErrors: one cannot be used as it is now.
    """
    program, errors = compile_rules(groups, extrapolated=extrapolated)
    if errors:
        raise RuleErrors(errors)
    return _rule_set(groups, program, extrapolated=extrapolated)


def _rule_set(groups: tuple[Group, ...], program: Program, *, extrapolated: bool) -> RuleSet:
    content: list[object] = [_content(group) for group in groups]
    if extrapolated:
        content.append("extrapolated")
    return RuleSet(groups, _hash(content), program, extrapolated)


def revised(rule: AlertingRule) -> AlertingRule:
    """Return a rule that changed since it was loaded, with what follows from its texts."""
    templates = {f"labels.{name}": Template(text) for name, text in rule.labels.items()}
    templates |= {f"annotations.{name}": Template(text) for name, text in rule.annotations.items()}
    return replace(
        rule, version=_hash(_content_of(rule)), judged=judged(rule.expr), templates=templates
    )


def _file(name: str, text: str, problems: Problems) -> list[Group]:
    if len(text) > FILE_CHARS_MAX:
        problems.add(RuleError(f"longer than {FILE_CHARS_MAX} characters", file=name))
        return []
    root = read(name, text, problems)
    if root is None:
        return []
    root.only(("groups",))
    entries = root.entries("groups")
    groups = [_group(entry) for entry in entries]
    seen: set[str] = set()
    for entry, group in zip(entries, groups, strict=True):
        if group.name in seen:
            entry.problem(f"the group {group.name} is there twice")
        seen.add(group.name)
    return groups


def _group(entry: Entry) -> Group:
    entry.only(_GROUP_FIELDS)
    name = entry.text("name", required=True)
    if entry.duration_ms("query_offset"):
        entry.problem("query_offset is not supported: a stream waits for its data by itself")
    shared = entry.texts("labels")
    rules: list[RecordingRule | AlertingRule] = []
    alerts: dict[str, int] = {}
    for each in entry.entries("rules"):
        rule = _rule(each, name, shared, alerts)
        if rule is not None:
            rules.append(rule)
    return Group(
        name,
        entry.file,
        entry.duration_ms("interval") or INTERVAL_MS,
        entry.whole("limit"),
        tuple(rules),
    )


def _rule(
    entry: Entry, group: str, shared: Mapping[str, str], alerts: dict[str, int]
) -> RecordingRule | AlertingRule | None:
    entry.only(_RULE_FIELDS)
    record, alert, expr = entry.text("record"), entry.text("alert"), entry.text("expr")
    line = entry.line_of("expr")
    labels = {**shared, **entry.label_texts("labels")}
    if bool(record) == bool(alert):
        entry.problem("a rule has either `record` or `alert`")
        return None
    if not expr:
        entry.problem("a rule needs `expr`")
        return None
    if record:
        for name in ("for", "keep_firing_for", "annotations"):
            if entry.has(name):
                entry.problem(f"{name} is for alerts")
        entry.check_metric_name(record)
        return RecordingRule(record, expr, labels, line)
    alerts[alert] = alerts.get(alert, 0) + 1
    nth = f"#{alerts[alert]}" if alerts[alert] > 1 else ""
    return _alert(
        entry,
        AlertingRule(
            alert,
            expr,
            entry.duration_ms("for"),
            entry.duration_ms("keep_firing_for"),
            labels,
            entry.label_texts("annotations"),
            line,
            f"{group}/{alert}{nth}",
            "",
        ),
    )


def _alert(entry: Entry, rule: AlertingRule) -> AlertingRule:
    """Return the rule with what is computed from it."""
    templates: dict[str, Template] = {}
    for kind, texts in (("labels", rule.labels), ("annotations", rule.annotations)):
        for name, text in texts.items():
            try:
                templates[f"{kind}.{name}"] = Template(text)
            except TemplateError as error:
                entry.problem(f"{kind}.{name}: {error}", expr=text)
    try:
        compared = judged(rule.expr)
    except PlanError:
        compared = rule.judged  # the compiler says what is wrong
    return replace(rule, version=_hash(_content_of(rule)), judged=compared, templates=templates)


def _unique(groups: list[Group]) -> list[Group]:
    """Name the file too where two files have groups of one name: names are keys of records."""
    names = [group.name for group in groups]
    return [
        _renamed(group, f"{group.name}@{group.file}") if names.count(group.name) > 1 else group
        for group in groups
    ]


def _renamed(group: Group, name: str) -> Group:
    rules = tuple(
        replace(rule, id=name + rule.id.removeprefix(group.name))
        if isinstance(rule, AlertingRule)
        else rule
        for rule in group.rules
    )
    return replace(group, name=name, rules=rules)


def _content(group: Group) -> object:
    rules = [_content_of(rule) for rule in group.rules]
    return [group.name, group.interval_ms, group.limit, rules]


def _content_of(rule: RecordingRule | AlertingRule) -> object:
    """Return everything of a rule that decides or shows something."""
    labels = sorted(rule.labels.items())
    if isinstance(rule, RecordingRule):
        return [rule.record, rule.expr, labels]
    times = [rule.for_ms, rule.keep_firing_for_ms]
    return [rule.alert, rule.expr, times, labels, sorted(rule.annotations.items())]


def _hash(content: object) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(content).encode())
