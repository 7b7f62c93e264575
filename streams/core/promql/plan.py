"""Turn expressions into plans. In: PromQL text and the recording rules around it. Out: nodes, or
the reason why a stream cannot evaluate it.

The rule this file owns: what is not in the language of this engine is refused here, when rules are
loaded, never when they run. Equal sub-expressions become one node.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

import promql_parser as ast

from schemas import eras
from streams.core.promql import calls
from streams.core.promql.aggregations import Aggregate
from streams.core.promql.banks import REACH_MS_MAX
from streams.core.promql.functions import Absent
from streams.core.promql.labels import NAME
from streams.core.promql.leaves import (
    Increase,
    Instant,
    Named,
    Number,
    Record,
    Recorded,
    RecordedThen,
    When,
)
from streams.core.promql.nodes import Node
from streams.core.promql.operators import Negate
from streams.core.promql.over import EXTRAPOLATED, OVER, Function
from streams.core.promql.ranges import (
    DAYS,
    SAMPLES_MS_MAX,
    STEP_MS,
    STEPS_MAX,
    Days,
    Over,
    Recordings,
    Scraped,
    Source,
    Subquery,
    TimeNow,
    TimeOf,
)
from streams.core.promql.refusals import CycleError, PlanError
from streams.core.promql.selectors import Matcher, Op, Selector
from streams.core.promql.wanted import LOOKBACK_MS, SYNTHETIC

__all__ = ["PlanError", "Planner", "parse"]

EXPRESSION_CHARS_MAX: Final = 20_000
EXPRESSION_STEPS_MAX: Final = 500
"""Operators and brackets. The parser recurses, and too deep an expression would end the process."""
EXPRESSION_DEPTH_MAX: Final = 100

COUNTED: Final = tuple(EXTRAPOLATED)
"""Functions of counters."""

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|#[^\n]*')
_STEP: Final = re.compile(r"[-+*/%^<>=!(\[]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)


class Recording(Protocol):
    """A recording rule, as far as a plan is concerned."""

    @property
    def record(self) -> str: ...
    @property
    def expr(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


class Planner:
    """Plans for one way of evaluation: aligned, or live, where no recorded result is waited for.

    extrapolated: whether `rate` and `increase` are those of Prometheus (for who compares with it).
    """

    def __init__(
        self,
        recorded: Mapping[str, Sequence[Recording]],
        *,
        live: bool,
        extrapolated: bool = False,
    ) -> None:
        self._recorded, self._live, self._extrapolated = recorded, live, extrapolated
        self._nodes: dict[tuple[str, int], Node] = {}
        self._open: list[str] = []  # recorded names that are being expanded
        self._depth = 0
        self._inside_ms = 0  # how far back the subqueries around the present part go

    def plan(self, text: str) -> Node:
        """Return the plan of an expression, or raise PlanError."""
        return self.node(parse(text))

    def node(self, expr: ast.Expr) -> Node:
        """Return the plan of a part of an expression; equal parts have one."""
        key = expr.prettify(), self._inside_ms
        if key not in self._nodes:
            self._depth += 1
            if self._depth > EXPRESSION_DEPTH_MAX:
                raise PlanError(f"nested deeper than {EXPRESSION_DEPTH_MAX}")
            try:
                self._nodes[key] = self._build(expr)
            finally:
                self._depth -= 1
        return self._nodes[key]

    def _build(self, expr: ast.Expr) -> Node:
        build = _BUILDERS.get(type(expr))
        if build is None:
            raise PlanError(_REFUSED.get(type(expr), f"{type(expr).__name__} is not supported"))
        return build(self, expr)

    def inner(self, expr: ast.ParenExpr) -> Node:
        """Return the plan of what is in parentheses."""
        return self.node(expr.expr)

    def negated(self, expr: ast.UnaryExpr) -> Node:
        """Return the plan of `-x`."""
        return Negate(self.node(expr.expr))

    def instant(self, expr: ast.VectorSelector) -> Node:
        """Return the plan of a selector: scraped series, or a recorded name."""
        selector, when = selector_of(expr), self._when(expr)
        if selector.name not in self._recorded:
            return Instant(selector, when)
        if not when.now:
            return RecordedThen(selector, when)
        return self._named(selector) if self._live else Recorded(selector)

    def _named(self, selector: Selector) -> Node:
        name = selector.name
        if name in self._open:
            chain = " -> ".join([*self._open, name])
            raise CycleError(f"the recorded name {name} depends on itself: {chain}")
        self._open.append(name)
        try:
            rules = tuple(
                Record(name, tuple(sorted(rule.labels.items())), self.plan(rule.expr))
                for rule in self._recorded[name]
            )
        finally:
            self._open.pop()
        return Named(selector, rules)

    def aggregate(self, expr: ast.AggregateExpr) -> Node:
        """Return the plan of an aggregation; sums of increases are taken where they are counted."""
        made = calls.aggregate(self, expr)
        if isinstance(made, Aggregate) and str(expr.op) == "sum":
            (source,) = made.children
            if isinstance(source, Increase):
                return Aggregate("sum", source.summed(made.grouping), made.grouping)
        return made

    def call(self, expr: ast.Call) -> Node:
        """Return the plan of a function."""
        name = expr.func.name
        if name in COUNTED:
            return self._increase(expr)
        if name in OVER:
            return self._over(expr, OVER[name])
        if name == "absent_over_time":
            present = self._over(expr, OVER["present_over_time"])
            return Absent(present, calls.fixed_labels(_selected(expr.args[0])))
        if name == "timestamp":
            return self._timestamp(expr)
        return calls.call(self, expr, also=(*COUNTED, *OVER, "absent_over_time", "timestamp"))

    def _increase(self, expr: ast.Call) -> Node:
        """Return the plan of `rate` or `increase`."""
        window = _bare(expr.args[0])
        name = expr.func.name
        if isinstance(window, ast.MatrixSelector):
            selector = selector_of(window.vector_selector)
            if selector.name in SYNTHETIC:
                raise PlanError(f"{selector.name} is a gauge; {name} of it means nothing")
            width_ms, when = _width_ms(window.range), self._when(window.vector_selector)
            # Over days there are no samples to extrapolate from, nor much to extrapolate.
            counted = not self._extrapolated or width_ms + when.reach_ms > SAMPLES_MS_MAX
            if selector.name not in self._recorded and counted:
                _check_reach(width_ms + when.reach_ms, REACH_MS_MAX, name)
                return Increase(selector, when, width_ms, per_second=name == "rate")
        return self._over(expr, EXTRAPOLATED[name])

    def _over(self, expr: ast.Call, function: Function) -> Node:
        """Return the plan of a function of a range."""
        ranges = [
            one
            for one in map(_bare, expr.args)
            if isinstance(one, ast.MatrixSelector | ast.SubqueryExpr)
        ]
        number = None if function.number is None else self.node(expr.args[function.number])
        if not ranges:
            raise PlanError(f"{expr.func.name} needs a range, as in x[5m]")
        if isinstance(ranges[0], ast.MatrixSelector) and (days := self._days(expr, ranges[0])):
            return days
        return Over(function, self._source(ranges[0], expr.func.name), number)

    def _days(self, expr: ast.Call, window: ast.MatrixSelector) -> Node | None:
        """Return the plan of a window for which no samples are kept; None where they are."""
        selector, name = selector_of(window.vector_selector), expr.func.name
        width_ms, when = _width_ms(window.range), self._when(window.vector_selector)
        if width_ms + when.reach_ms <= SAMPLES_MS_MAX:
            return None
        if name not in DAYS:
            known = ", ".join([*COUNTED, *DAYS])
            raise PlanError(f"{name} sees 1 day at most; functions of more are {known}")
        _check_reach(width_ms + when.reach_ms, REACH_MS_MAX, name)
        recorded = selector.name in self._recorded
        return Days(DAYS[name], selector, width_ms, when, recorded=recorded)

    def _source(self, expr: ast.MatrixSelector | ast.SubqueryExpr, name: str) -> Source:
        if isinstance(expr, ast.SubqueryExpr):
            return self._subquery(expr)
        selector = selector_of(expr.vector_selector)
        width_ms, when = _width_ms(expr.range), self._when(expr.vector_selector)
        kind = Recordings if selector.name in self._recorded else Scraped
        return kind(selector, width_ms, when)

    def _subquery(self, expr: ast.SubqueryExpr) -> Source:
        assert expr.range is not None, "the parser wants one"
        width_ms = _width_ms(expr.range)
        step_ms = STEP_MS if expr.step is None else _ms(expr.step)
        if step_ms <= 0 or width_ms // step_ms > STEPS_MAX:
            raise PlanError(f"a subquery has at most {STEPS_MAX} steps; take a longer step")
        when = self._when(expr)
        before, self._inside_ms = self._inside_ms, when.reach_ms + width_ms + step_ms
        try:
            return Subquery(self.node(expr.expr), step_ms, width_ms, when)
        finally:
            self._inside_ms = before

    def _timestamp(self, expr: ast.Call) -> Node:
        source = _bare(expr.args[0])
        if not isinstance(source, ast.VectorSelector):
            return TimeNow(self.node(source))
        selector, when = selector_of(source), self._when(source)
        kind = Recordings if selector.name in self._recorded else Scraped
        return TimeOf(kind(selector, LOOKBACK_MS, when))

    def _when(self, expr: ast.VectorSelector | ast.SubqueryExpr) -> When:
        offset_ms = 0 if expr.offset is None else _ms(expr.offset)
        if offset_ms < 0:
            raise PlanError("a negative offset asks for the future")
        _check_reach(offset_ms, REACH_MS_MAX, "offset")
        if expr.at is None:
            return When(offset_ms, inside_ms=self._inside_ms)
        if expr.at.at is not None:
            raise PlanError("@ with a time is not supported: a stream keeps its own recent past")
        return When(offset_ms, pinned=True, inside_ms=self._inside_ms)


def parse(text: str) -> ast.Expr:
    """Return the syntax tree of an expression, or raise PlanError."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise PlanError(f"longer than {EXPRESSION_CHARS_MAX} characters")
    if len(_STEP.findall(_QUOTED.sub("", text))) > EXPRESSION_STEPS_MAX:
        raise PlanError(f"more than {EXPRESSION_STEPS_MAX} operators and brackets")
    try:
        return ast.parse(text)
    except ValueError as error:
        raise PlanError(f"not PromQL: {error}") from error


_BUILDERS: Final[dict[type[Any], Callable[[Planner, Any], Node]]] = {
    ast.ParenExpr: Planner.inner,
    ast.NumberLiteral: lambda planner, expr: Number(expr.val),
    ast.UnaryExpr: Planner.negated,
    ast.VectorSelector: Planner.instant,
    ast.AggregateExpr: Planner.aggregate,
    ast.BinaryExpr: calls.binary,
    ast.Call: Planner.call,
}

_REFUSED: Final[dict[type[Any], str]] = {
    ast.SubqueryExpr: "a range is no result; a function must read it",
    ast.MatrixSelector: "a range is no result; a function must read it",
    ast.StringLiteral: "a text is no result",
}


def _bare(expr: ast.Expr) -> ast.Expr:
    """Return what is in parentheses."""
    while isinstance(expr, ast.ParenExpr):
        expr = expr.expr
    return expr


def _selected(expr: ast.Expr) -> ast.Expr:
    """Return the selector of a range."""
    expr = _bare(expr)
    return expr.vector_selector if isinstance(expr, ast.MatrixSelector) else expr


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def _width_ms(duration: timedelta) -> int:
    width_ms = _ms(duration)
    if width_ms <= 0:
        raise PlanError("a range must be longer than 0")
    return width_ms


def _check_reach(reach_ms: int, most_ms: int, name: str) -> None:
    if reach_ms > most_ms:
        raise PlanError(
            f"{name} reaches back {reach_ms / 86_400_000:g} days; at most "
            f"{most_ms / 86_400_000:g} are kept"
        )


def selector_of(expr: ast.VectorSelector) -> Selector:
    """Return a selector under current names, or raise PlanError."""
    if expr.matchers.or_matchers:
        raise PlanError("`or` between matchers is not supported")
    name, matchers = expr.name, []
    for matcher in expr.matchers.matchers:
        if matcher.name != NAME:
            matchers.append(Matcher(matcher.name, _op(matcher.op), matcher.value))
        elif matcher.op == ast.MatchOp.Equal:
            name = matcher.value
        else:
            raise PlanError(f"{NAME} can only be compared with =")
    if not name:
        raise PlanError("a selector needs a metric name")
    _check_name(name, matchers)
    return Selector(eras.current_name(name), tuple(sorted(matchers, key=str)))


def _op(op: ast.MatchOp) -> Op:
    if op == ast.MatchOp.Equal:
        return Op.EQUAL
    if op == ast.MatchOp.NotEqual:
        return Op.NOT_EQUAL
    return Op.MATCH if op == ast.MatchOp.Re else Op.NOT_MATCH


def _check_name(name: str, matchers: Sequence[Matcher]) -> None:
    if reason := eras.refused(name):
        raise PlanError(f"{name}: {reason}")
    for matcher in matchers:
        if reason := eras.renamed_label(name, matcher.label):
            raise PlanError(f"{name}: {reason}")
        try:
            matcher.test()
        except ValueError as error:
            raise PlanError(str(error)) from error
