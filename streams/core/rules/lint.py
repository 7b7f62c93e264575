"""Find what loads and is most likely a mistake. In: the groups of rule files. Out: problems.

The rule this file owns: two rules of a file that make the same name with the same labels, as the
lint of promtool finds them. A worker takes them (kubernetes-mixin has such, over other codes);
where their results have the same labels, they are in each other's way.
"""

from collections.abc import Iterable

from schemas.errors import RuleError
from streams.core.rules.model import AlertingRule, Group, RecordingRule

Key = tuple[str, str, tuple[tuple[str, str], ...]]


def duplicates(groups: Iterable[Group]) -> list[RuleError]:
    """Return a problem for each rule whose name and labels an earlier one of its file has."""
    first: dict[Key, int] = {}
    found = []
    for group in groups:
        for rule in group.rules:
            key = (group.file, rule.name, tuple(sorted(rule.labels.items())))
            if key not in first:
                first[key] = rule.line
                continue
            found.append(
                RuleError(
                    f"{_kind(rule)} {rule.name} is there twice with the same labels; "
                    f"the first is at line {first[key]}",
                    file=group.file,
                    line=rule.line,
                    expr=rule.expr,
                )
            )
    return found


def _kind(rule: AlertingRule | RecordingRule) -> str:
    return "the alert" if isinstance(rule, AlertingRule) else "the record"
