"""Replace the number that an alert compares with. In: its expression, a number. Out: the expression
with it, or why there is no such one.

The rule this file owns: the parsed expression says which number it is, the text keeps all else as
its author wrote it. Both are read side by side, number by number; where they disagree, or where
more than one comparison could be meant, nothing is replaced.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import promql_parser as ast

from streams.core.promql.operators import COMPARISONS
from streams.core.promql.plan import parse
from streams.core.rules.judged import judged, number_of

_STRING: Final = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`"
_NUMBER: Final = r"0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|nan)"
_TOKEN: Final = re.compile(
    rf"""(?P<blank>\s+|\#[^\n]*)
    |(?P<string>{_STRING})
    |(?P<within>\[[^\]]*\]|\{{(?:{_STRING}|[^}}\"'`])*\}}|@\s*[+-]?[\d.eE]+)
    |(?P<number>(?:{_NUMBER})(?![\w.:]))
    |(?P<word>[\w:.]+)
    |(?P<sign>[=!<>]=|=~|!~|.)""",
    re.VERBOSE | re.DOTALL,
)


class ThresholdError(ValueError):
    """The expression has no number that could be replaced; says why."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A comparison with a number, which is made of so many literals from `first` on."""

    what: tuple[str, str, float]  # of what, how, with what
    first: int
    literals: int


def with_threshold(text: str, threshold: float) -> str:
    """Return the expression with another number in the place of the one that it compares with.

    Raises:
        PlanError: it is no PromQL.
        ThresholdError: it has no such number, or several.
    """
    parsed = parse(text)
    found = list(_comparisons(parsed, 0))
    if not found:
        raise ThresholdError("compares nothing with a number on the right side")
    if len({one.what for one in found}) > 1:
        listed = ", ".join(f"{one.what[1]} {one.what[2]:g}" for one in found)
        raise ThresholdError(f"has several comparisons with a number ({listed})")
    tokens = [one for one in _tokens(text) if one.kind != "blank"]
    numbers = [i for i, one in enumerate(tokens) if one.kind == "number"]
    if len(numbers) != len(list(_literals(parsed))):
        raise ThresholdError("has numbers in places where they cannot be told from names")
    number = str(int(threshold)) if threshold == int(threshold) else repr(threshold)
    changed = text
    for one in sorted(found, key=lambda one: -one.first):
        last = numbers[one.first + one.literals - 1]
        start, end = _span(tokens, numbers[one.first], last)
        changed = changed[: tokens[start].start] + number + changed[tokens[end].end :]
    _check(text, changed, threshold)
    return changed


def _comparisons(expr: ast.Expr, first: int) -> Iterator[_Comparison]:
    """Yield the outermost comparisons with a number; `first` literals were before."""
    if isinstance(expr, ast.BinaryExpr) and str(expr.op) in COMPARISONS:
        number = number_of(expr.rhs)
        if number is not None:
            before = first + sum(1 for _ in _literals(expr.lhs))
            own = sum(1 for _ in _literals(expr.rhs))
            yield _Comparison((str(expr.lhs), str(expr.op), number), before, own)
            if _compares(expr.lhs):  # `x > 5 < 8`: both are limits of x
                yield from _comparisons(expr.lhs, first)
            return
    for part in _parts(expr):
        yield from _comparisons(part, first)
        first += sum(1 for _ in _literals(part))


def _compares(expr: ast.Expr) -> bool:
    while isinstance(expr, ast.ParenExpr):
        expr = expr.expr
    return isinstance(expr, ast.BinaryExpr) and str(expr.op) in COMPARISONS


def _literals(expr: ast.Expr) -> Iterator[float]:
    """Yield the numbers of an expression in the order of its text."""
    if isinstance(expr, ast.NumberLiteral):
        yield expr.val
    for part in _parts(expr):
        yield from _literals(part)


def _parts(expr: ast.Expr) -> tuple[ast.Expr, ...]:
    """Return the expressions right below, in the order of the text."""
    if isinstance(expr, ast.AggregateExpr):
        return (expr.expr,) if expr.param is None else (expr.param, expr.expr)
    if isinstance(expr, ast.ParenExpr | ast.UnaryExpr | ast.SubqueryExpr):
        return (expr.expr,)
    if isinstance(expr, ast.BinaryExpr):
        return (expr.lhs, expr.rhs)
    return tuple(expr.args) if isinstance(expr, ast.Call) else ()


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        yield _Token(found.lastgroup or "", found[0], found.start(), found.end())


def _span(tokens: list[_Token], first: int, last: int) -> tuple[int, int]:
    """Return the tokens of the right side of a comparison, whose literals are first to last."""
    start = first
    while tokens[start - 1].text not in COMPARISONS and tokens[start - 1].text != "bool":
        start -= 1
    opened = [one.text for one in tokens[start : last + 1]]
    return start, last + opened.count("(") - opened.count(")")


def _check(before: str, after: str, threshold: float) -> None:
    """See that the number is replaced, and nothing else is another."""
    old, new = judged(before), judged(after)
    same = (old.indicator, old.operator, old.window_ms) == (
        new.indicator,
        new.operator,
        new.window_ms,
    )
    if not same or new.threshold != threshold:
        raise ThresholdError("cannot be read well enough to replace its number")
