"""Find rules that read what is not there. In: the rules of a cluster, its targets. Out: a series
for each rule some of whose selectors match nothing.

The rules this file owns:
- A selector is judged by the targets that answer and that it can be about. Where there is none,
  nothing is known, and nothing is said. Facts are no target: they come when something happens.
- What need not be there is not missed: below `absent`, on the right of `unless`, and on that side
  of an `or` that lacks more. Recorded names are the business of the rules that record them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Final

from streams.core.promql.nodes import Node
from streams.core.promql.operators import Sets
from streams.core.promql.selectors import Selector
from streams.core.promql.target import Target
from streams.core.rules.files import AlertingRule, RuleSet
from streams.core.samples import FactSample

METRIC: Final = "planewatch_rule_inputs_missing"
EVERY_MS: Final = 60_000
"""Judged at the minutes of event time, said with each step of facts."""
SERIES_MAX: Final = 1_000

OF_FACTS: Final = ("planewatch_", "ALERTS")

Selectors = frozenset[Selector]
NOTHING: Final[Selectors] = frozenset()


def missing_inputs(rules: RuleSet, targets: Sequence[Target], t_ms: int) -> list[FactSample]:
    """Return how many selectors of each rule match nothing, of rules for which there are any."""
    answering = [one for one in targets if one.answers(t_ms)]

    @cache
    def missed(selector: Selector) -> bool:
        if selector.name.startswith(OF_FACTS):
            return False
        asked = [one for one in answering if selector.accepts(one.labels)]
        return bool(asked) and not any(one.has_series(selector) for one in asked)

    found: dict[tuple[str, str], Selectors] = {}
    for key, node in _plans(rules):
        if lacking := _lacking(node, missed):
            found[key] = found.get(key, NOTHING) | lacking
    return [
        FactSample(METRIC, {"rule": rule, "group": group}, float(len(lacking)))
        for (group, rule), lacking in sorted(found.items())[:SERIES_MAX]
    ]


def _plans(rules: RuleSet) -> list[tuple[tuple[str, str], Node]]:
    """Return the plans of all rules by group and name."""
    program = rules.program
    groups: Mapping[str, str] = {
        rule.id: group.name
        for group in rules.groups
        for rule in group.rules
        if isinstance(rule, AlertingRule)
    }
    recorded = [
        ((group, rule.record), node) for group, own in program.records.items() for rule, node in own
    ]
    return recorded + [((groups[one.rule.id], one.rule.alert), one.node) for one in program.alerts]


def _lacking(node: Node, missed: Callable[[Selector], bool]) -> Selectors:
    if not node.inputs_needed:
        return NOTHING
    own = frozenset(one for one in node.selectors if missed(one))
    below = [_lacking(child, missed) for child in node.children]
    if isinstance(node, Sets) and node.op == "or":
        return own | min(below, key=len)
    if isinstance(node, Sets) and node.op == "unless":
        return own | below[0]
    return own.union(*below)
