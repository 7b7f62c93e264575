"""Ask both engines and compare. In: a world, expressions, instants. Out: what each of them said,
and where they differ.

Rules: our engine is asked as a worker asks it, by an aligned evaluation of recording rules once all
targets are past the instant; Prometheus by instant queries. Results are equal if they have the same
label sets and values within 1e-9 (of the value, or of 1), NaN equal to NaN, an error equal to an
error. A recording rule renames its results and `cluster` is on all of ours, so neither the name nor
`cluster` is compared (expressions with label_replace look at names).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import yaml

from schemas.arrow import SCRAPE_SCHEMA, empty_rows
from schemas.records import Outcome
from schemas.series import CORE_LABELS, parse_labels
from streams.core.evaluate import Evaluator, GroupResult
from streams.core.rules.files import RuleErrors, RuleSet, load_rules
from streams.core.rules.program import compile_rules
from streams.core.samples import Scrape
from tests.differential.world import BASE_MS, STEP_MS, Endpoint, Poll, World, exposition
from tests.scrapes import CLUSTER, Body, read, scrape
from tests.services.prometheus import LabelSet, Prometheus, QueryError

TOLERANCE: Final = 1e-9
NOT_COMPARED: Final = ("__name__", "cluster")
NOTHING: Final = Body(empty_rows(SCRAPE_SCHEMA), 0, 0, 0, "")
DURATION_MS: Final = 40
"""Of every scrape; tests/differential/world.py says the same to Prometheus."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine said to one expression at one instant."""

    results: Mapping[LabelSet, float]
    error: str = ""


Answers = dict[tuple[str, int], Answer]
"""By expression and instant in ms."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A difference that a reader can look into."""

    expr: str
    t_ms: int
    ours: str
    prometheus: str

    def __str__(self) -> str:
        at_s = (self.t_ms - BASE_MS) / 1000
        return "\n  ".join(
            (
                self.expr,
                f"at {at_s:g} s",
                f"ours:       {self.ours}",
                f"Prometheus: {self.prometheus}",
            )
        )


def at(*seconds: float) -> tuple[int, ...]:
    """Return instants in ms of the world's time, ascending."""
    return tuple(BASE_MS + round(each * 1000) for each in sorted(seconds))


def rules_for(expressions: Sequence[str], *, extrapolated: bool = False) -> RuleSet:
    """Return rules that record expression i as r:i:x, and as r:i:nan which results are no numbers:
    these are not published, but later rules see them.

    extrapolated: whether rates are those of Prometheus (`rate_semantics: prometheus`).
    """
    rules = [{"record": f"r:{i}:x", "expr": expr} for i, expr in enumerate(expressions)]
    rules += [
        {"record": f"r:{i}:nan", "expr": f"r:{i}:x != bool r:{i}:x"} for i in range(len(rules))
    ]
    groups = [{"name": "g", "interval": "15s", "rules": rules}]
    found = load_rules({"test.yaml": yaml.safe_dump({"groups": groups})})
    if not extrapolated:
        return found
    program, errors = compile_rules(found.groups, extrapolated=True)
    assert not errors, errors
    return replace(found, program=program)


def refusals(expressions: Iterable[str]) -> dict[str, str]:
    """Return the expressions that our planner refuses, with its reasons."""
    found = {}
    for expr in expressions:
        try:
            rules_for([expr])
        except RuleErrors as errors:
            found[expr] = errors.errors[0].message
    return found


def ours(
    world: World, expressions: Sequence[str], instants: Sequence[int], *, extrapolated: bool = False
) -> Answers:
    """Return what our engine says at the instants."""
    rules = rules_for(expressions, extrapolated=extrapolated)
    evaluator, found = Evaluator(rules, CLUSTER), Answers()
    waiting = list(instants)
    for now_ms, scraped in accepted(world):
        # All targets are polled within one step: a later poll means that all are past the instant.
        while waiting and now_ms > waiting[0] + STEP_MS:
            t_ms = waiting.pop(0)
            group = evaluator.evaluate_records(rules.groups[0], t_ms)
            found |= answers(group, expressions, t_ms)
        evaluator.accept(scraped)
    assert not waiting, "the world ends too early"
    return found


def accepted(world: World) -> Iterator[tuple[int, Scrape]]:
    """Yield all scrapes as our engine takes them, with their times."""
    bodies: dict[str, Body] = {}
    for endpoint, poll in world.polls():
        yield poll.t_ms, _scrape(endpoint, poll, bodies)


def _scrape(endpoint: Endpoint, poll: Poll, bodies: dict[str, Body]) -> Scrape:
    body, outcome = NOTHING, Outcome.SKIPPED if poll.skipped else Outcome.TIMEOUT
    if poll.values is not None:
        outcome, text = Outcome.OK, exposition(poll.values)
        body = bodies.get(text) or bodies.setdefault(text, read(text))
    return scrape(
        body,
        poll.t_ms,
        job=endpoint.job,
        instance=endpoint.instance,
        outcome=outcome,
        interval_ms=STEP_MS,
        labels={"zone": endpoint.zone},
        duration_ms=DURATION_MS,
    )


def answers(group: GroupResult, expressions: Sequence[str], t_ms: int) -> Answers:
    """Return what an evaluation of `rules_for` recorded."""
    found: dict[str, dict[LabelSet, float]] = {}
    for row in group.rows.to_pylist():
        labels = {name: row[name] for name in CORE_LABELS if row[name]} | parse_labels(
            row["labels"]
        )
        found.setdefault(row["metric"], {})[_label_set(labels)] = row["value"]
    errors = dict(group.failures)
    told = Answers()
    for i, expr in enumerate(expressions):
        results = found.get(f"r:{i}:x", {})
        nans = {labels for labels, flag in found.get(f"r:{i}:nan", {}).items() if flag}
        told[expr, t_ms] = Answer(
            {**dict.fromkeys(nans, math.nan), **results}, errors.get(f"r:{i}:x", "")
        )
    return told


def prometheus(server: Prometheus, expressions: Sequence[str], instants: Sequence[int]) -> Answers:
    """Return what Prometheus says at the instants."""
    return {(expr, t_ms): _asked(server, expr, t_ms) for expr in expressions for t_ms in instants}


def _asked(server: Prometheus, expr: str, t_ms: int) -> Answer:
    try:
        found = server.query(expr, t_ms)
    except QueryError as error:
        return Answer({}, str(error))
    results = {_label_set(dict(labels)): value for labels, value in found.items()}
    if len(results) < len(found):
        return Answer({}, "as results of a recording rule, two would have the same labels")
    return Answer(results)


def _label_set(labels: Mapping[str, str]) -> LabelSet:
    return frozenset((name, text) for name, text in labels.items() if name not in NOT_COMPARED)


def near(a: float, b: float) -> bool:
    """Tell whether two values are the same to 1e-9."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or abs(a - b) <= TOLERANCE * max(1.0, abs(a), abs(b))


def mismatches(ours: Answers, theirs: Answers) -> list[Mismatch]:
    """Return the differences: the first of each expression, in its order."""
    found: dict[str, Mismatch] = {}
    for (expr, t_ms), expected in theirs.items():
        if expr in found:
            continue
        difference = _difference(ours[expr, t_ms], expected)
        if difference is not None:
            found[expr] = Mismatch(expr, t_ms, *difference)
    return list(found.values())


def _difference(got: Answer, expected: Answer) -> tuple[str, str] | None:
    if got.error or expected.error:
        both = bool(got.error) and bool(expected.error)
        return None if both else (_told(got), _told(expected))
    for labels in sorted({*got.results, *expected.results}, key=sorted):
        a, b = got.results.get(labels), expected.results.get(labels)
        if a is None or b is None or not near(a, b):
            shown = text_of(labels)
            return (
                f"{shown} {_value(a)} ({len(got.results)} results)",
                f"{shown} {_value(b)} ({len(expected.results)} results)",
            )
    return None


def _told(answer: Answer) -> str:
    return f"error: {answer.error}" if answer.error else f"{len(answer.results)} results"


def _value(value: float | None) -> str:
    return "has no result" if value is None else repr(value)


def text_of(labels: LabelSet) -> str:
    """Return a label set as PromQL writes it."""
    return "{" + ", ".join(f'{name}="{text}"' for name, text in sorted(labels)) + "}"
