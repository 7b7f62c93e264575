"""Tell which rules a story can make say something. In: rules and the names of series. Out: those
that can have a result.

The rule this file owns: only what is sure to be empty is left out: a rule all of whose selectors
name series that nobody gives, and that makes nothing of nothing (`absent`, `vector`, `time`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

import promql_parser as ast

from schemas.eras import current_name
from streams.core.promql.plan import PlanError, parse
from streams.core.rules.judged import parts_of
from streams.core.rules.model import AlertingRule, RecordingRule

OF_NOTHING: Final = frozenset({"absent", "absent_over_time", "vector", "scalar"})
ALERTS: Final = ("ALERTS", "ALERTS_FOR_STATE")

Rule = AlertingRule | RecordingRule


def awake(rules: Sequence[Rule], given: Iterable[str]) -> set[int]:
    """Return the positions of the rules that can have a result where series of these names are."""
    names = {current_name(name) for name in given}
    asleep = {i: needs for i, rule in enumerate(rules) if (needs := _needs(rule.expr)) is not None}
    names |= {name for i, rule in enumerate(rules) if i not in asleep for name in _makes(rule)}
    while woken := [i for i, needs in asleep.items() if needs & names]:
        for i in woken:
            del asleep[i]
            names.update(_makes(rules[i]))
    return set(range(len(rules))) - set(asleep)


def _makes(rule: Rule) -> tuple[str, ...]:
    return (current_name(rule.record),) if isinstance(rule, RecordingRule) else ALERTS


def _needs(text: str) -> frozenset[str] | None:
    """Return the names of which one must be there for a result; None where there may be others."""
    try:
        parts = list(parts_of(parse(text)))
    except PlanError:
        return None
    if any(isinstance(one, ast.Call) and _of_nothing(one) for one in parts):
        return None
    selectors = [one for one in parts if isinstance(one, ast.VectorSelector)]
    names = [one.name for one in selectors if one.name]
    if not names or len(names) < len(selectors):
        return None
    return frozenset(map(current_name, names))


def _of_nothing(call: ast.Call) -> bool:
    return call.func.name in OF_NOTHING or not list(call.args)
