"""Read what a browser asks for. In: names and query parameters. Out: a page, a query, typed values,
a range.

The rule this file owns: a parameter has the type that its query declares, and a range is limited;
what does not fit is refused with what would.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import QueryParams

from sinks.console.asking import Unanswered
from sinks.core.moments import moment_ms
from sinks.core.panels import Page, load_pages
from sinks.core.queries import Parameter, Query, Value, load_queries

RANGE_DEFAULT: Final = "1h"
RANGE_MS_MAX: Final = 31 * 86_400_000
POINTS_MAX: Final = 300
STEPS_S: Final = (15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400)
"""Indicators are evaluated every 15 s; a smaller step would show holes between them."""

_RANGE: Final = re.compile(r"\d{1,4}[smhd]")
_OF_RANGE: Final = frozenset({"range", "from_ms", "to_ms"})


@dataclass(frozen=True, slots=True)
class Range:
    """A range of event time, and into which steps curves divide it."""

    from_ms: int
    to_ms: int

    @property
    def step_s(self) -> int:
        """The smallest step that keeps a curve under POINTS_MAX points."""
        needed = (self.to_ms - self.from_ms) / 1000 / POINTS_MAX
        return next((step for step in STEPS_S if step >= needed), STEPS_S[-1])


def page_named(name: str) -> Page:
    """Return a page.

    Raises:
        Unanswered: there is none of that name.
    """
    pages = load_pages()
    if name not in pages:
        raise Unanswered("no such page", status=404, remedy=f"There are {', '.join(pages)}.")
    return pages[name]


def query_named(name: str) -> Query:
    """Return a query.

    Raises:
        Unanswered: there is none of that name.
    """
    queries = load_queries()
    if name not in queries:
        raise Unanswered("no such query", status=404, remedy=f"There are {', '.join(queries)}.")
    return queries[name]


def range_of(given: QueryParams, *, now_ms: int) -> Range:
    """Return the range that is asked for; a relative one ends now.

    Raises:
        Unanswered: it is none, or too long.
    """
    remedy = "Ask for range=1h, or for from_ms and to_ms in epoch milliseconds."
    try:
        if "from_ms" in given or "to_ms" in given:
            found = Range(int(given["from_ms"]), int(given["to_ms"]))
        else:
            text = given.get("range", RANGE_DEFAULT)
            if not _RANGE.fullmatch(text):
                raise ValueError(text)
            found = Range(moment_ms(f"-{text}", now_ms=now_ms), now_ms)
    except (ValueError, KeyError) as error:
        raise Unanswered(f"no range: {error}", status=400, remedy=remedy) from error
    if not 0 < found.to_ms - found.from_ms <= RANGE_MS_MAX or found.from_ms < 0:
        raise Unanswered("a range may have 1 ms to 31 days", status=400, remedy=remedy)
    return found


def typed(query: Query, given: QueryParams) -> Mapping[str, Value]:
    """Return the parameters of a query in the types that it declares.

    Raises:
        Unanswered: one does not have its type.
    """
    declared = {one.name: one for one in query.parameters}
    return {
        name: _value(declared.get(name), name, given) for name in given if name not in _OF_RANGE
    }


def _value(declared: Parameter | None, name: str, given: QueryParams) -> Value:
    kind = declared.type if declared else "String"  # binding refuses unknown names
    if kind.startswith("Array"):
        return [one for one in given.getlist(name) if one]
    text = given[name]
    try:
        if kind.startswith(("UInt", "Int")):
            return int(text)
        return float(text) if kind.startswith("Float") else text
    except ValueError as error:
        raise Unanswered(
            f"{name}={text[:40]!r} is no {kind}", status=400, remedy="Mend the address."
        ) from error
