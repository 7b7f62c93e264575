"""Compile a rule set. In: groups of rules. Out: a plan for each rule, and what the plans read.

The rule this file owns: a recording rule reads recorded names as their last results; an alerting
rule waits for nothing, so a recorded name in it stands for its expression.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.errors import RuleError
from streams.core.promql.attempts import FRESH_INTERVALS
from streams.core.promql.nodes import Node, walk
from streams.core.promql.plan import PlanError, Planner
from streams.core.promql.refusals import CycleError
from streams.core.promql.selectors import Selector
from streams.core.promql.wanted import Wanted, wanted
from streams.core.rules.model import AlertingRule, Group, RecordingRule

LATE_MS: Final = 15_000
"""How long an aligned evaluation waits for a lagging target, where its group's interval is less."""


@dataclass(frozen=True, slots=True)
class AlertPlan:
    """An alerting rule, its plan, and the selectors without which its alerts are unknown."""

    rule: AlertingRule
    node: Node
    inputs: tuple[Selector, ...]
    queries: Mapping[str, Node]  # of its texts, by expression


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled rule set. It holds no state: one program serves all clusters."""

    records: Mapping[str, tuple[tuple[RecordingRule, Node], ...]]  # by group, in file order
    alerts: tuple[AlertPlan, ...]
    limits: Mapping[str, int]  # results by rule id of an alert, by group of a record
    wanted: Wanted
    read: frozenset[str]  # recorded names whose results rules read
    judged: frozenset[str]  # those whose results alerting rules read


def compile_rules(
    groups: tuple[Group, ...],
    *,
    live: bool = True,
    extrapolated: bool = False,
    given: Iterable[str] = (),
) -> tuple[Program, list[RuleError]]:
    """Return the program of all rules that can be planned, and what is wrong with the others.

    live: whether alerts wait for no record; extrapolated: whether rates are those of Prometheus;
    given: names that are recorded by other than rules.
    """
    recorded: dict[str, list[RecordingRule]] = {name: [] for name in given}
    for group in groups:
        for rule in group.rules:
            if isinstance(rule, RecordingRule):
                recorded.setdefault(rule.record, []).append(rule)
    aligned, judging = (
        Planner(recorded, live=one, extrapolated=extrapolated) for one in (False, live)
    )
    records: dict[str, tuple[tuple[RecordingRule, Node], ...]] = {}
    alerts: list[AlertPlan] = []
    limits: dict[str, int] = {}
    errors: list[RuleError] = []
    for group in groups:
        own: list[tuple[RecordingRule, Node]] = []
        limits[group.name] = group.limit
        for rule in group.rules:
            try:
                if isinstance(rule, RecordingRule):
                    own.append((rule, aligned.plan(rule.expr)))
                    continue
                alerts.append(_alert(rule, judging))
                limits[rule.id] = group.limit
            except CycleError:
                continue  # told of the recording rules
            except PlanError as error:
                errors.append(
                    RuleError(str(error), file=group.file, line=rule.line, expr=rule.expr)
                )
        records[group.name] = tuple(own)
    errors += _cycles(groups, records)
    nodes = [node for own_rules in records.values() for _, node in own_rules]
    told = [node for alert in alerts for node in (alert.node, *alert.queries.values())]
    program = Program(
        records,
        tuple(alerts),
        limits,
        _wanted([*nodes, *told], groups),
        read=_read([*nodes, *told]),
        judged=_read(told),
    )
    return program, errors


def _read(nodes: Iterable[Node]) -> frozenset[str]:
    """Return the recorded names whose results these plans read."""
    return frozenset(name for node in nodes for below in walk(node) for name in below.recorded)


def _cycles(
    groups: tuple[Group, ...], records: Mapping[str, tuple[tuple[RecordingRule, Node], ...]]
) -> list[RuleError]:
    """Return an error for each rule whose result depends on itself."""
    files = {group.name: group.file for group in groups}
    rules = [(files[name], *one) for name, own in records.items() for one in own]
    reads: dict[str, set[str]] = {}
    for _, rule, node in rules:
        names = {name for below in walk(node) for name in below.recorded}
        reads.setdefault(rule.record, set()).update(names)
    return [
        RuleError(
            f"the recorded name {rule.record} depends on itself: {' -> '.join(chain)}",
            file=file,
            line=rule.line,
            expr=rule.expr,
        )
        for file, rule, _ in rules
        if (chain := _chain_to(rule.record, reads))
    ]


def _chain_to(name: str, reads: Mapping[str, set[str]]) -> list[str]:
    """Return how a name is read by what it reads, from and to itself; empty where it is not."""
    before: dict[str, str] = {}
    open_ = [name]
    while open_:
        reader = open_.pop()
        for read in sorted(reads.get(reader, ())):
            if read == name:
                chain = [name, reader]
                while chain[-1] != name:
                    chain.append(before[chain[-1]])
                return chain[::-1]
            if read not in before:
                before[read] = reader
                open_.append(read)
    return []


def _alert(rule: AlertingRule, planner: Planner) -> AlertPlan:
    node = planner.plan(rule.expr)
    inputs = {one: None for below in walk(node, needed=True) for one in below.selectors}
    queries: dict[str, Node] = {}
    for name, template in rule.templates.items():
        for expr in template.queries:
            try:
                queries[expr] = planner.plan(expr)
            except PlanError as error:
                raise PlanError(f"{name}: query {expr!r}: {error}") from error
    return AlertPlan(rule, node, tuple(inputs), queries)


def _wanted(nodes: list[Node], groups: tuple[Group, ...]) -> Wanted:
    every = {below: None for node in nodes for below in walk(node)}
    slowest_ms = max([group.interval_ms for group in groups], default=0)
    late_ms = round(FRESH_INTERVALS * max(slowest_ms, LATE_MS))
    return wanted((node.need for node in every), late_ms)
