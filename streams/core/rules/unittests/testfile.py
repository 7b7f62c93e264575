"""Read files of rule tests. In: a name and YAML text. Out: stories, or what is wrong with them.

The rule this file owns: the format is promtool's. A field that is unknown, missing or of a wrong
type is a problem with file and line, and all problems are told at once.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeVar

import promql_parser
import yaml

from streams.core.rules.entries import Entry, Problems, read
from streams.core.rules.unittests import notation
from streams.core.rules.unittests.model import (
    AlertCheck,
    ExpectedAlert,
    ExprCheck,
    InputSeries,
    Sample,
    Story,
    TestFile,
)

EVALUATION_MS: Final = 60_000
"""Of files that state no interval."""
FILE_CHARS_MAX: Final = 20_000_000
STORIES_MAX: Final = 10_000

_FILE_FIELDS: Final = (
    "rule_files",
    "evaluation_interval",
    "group_eval_order",
    "fuzzy_compare",
    "start_timestamp",
    "tests",
)
_STORY_FIELDS: Final = (
    "name",
    "interval",
    "input_series",
    "alert_rule_test",
    "promql_expr_test",
    "external_labels",
    "external_url",
    "start_timestamp",
)

_ZERO: Final = re.compile(r"(?:0(?:ms|[smhdwy])?)*")
"""The parser takes zero for no duration."""

T = TypeVar("T")


def parse(file: str, text: str, problems: Problems) -> TestFile | None:
    """Return what a file says; None where it cannot be read. Problems are noted."""
    if len(text) > FILE_CHARS_MAX:
        Entry(file, 0, {}, {}, problems).problem(f"longer than {FILE_CHARS_MAX} characters")
        return None
    root = read(file, text, problems)
    if root is None:
        if not problems.found:
            Entry(file, 1, {}, {}, problems).problem("the file says nothing")
        return None
    root.only(_FILE_FIELDS)
    order = _texts(root, "group_eval_order")
    for name in sorted({name for name in order if order.count(name) > 1}):
        root.problem(f"group name repeated in evaluation order: {name}")
    evaluation_ms = _duration_ms(root, "evaluation_interval") or EVALUATION_MS
    entries = root.entries("tests")
    if len(entries) > STORIES_MAX:
        root.problem(f"{len(entries)} tests; at most {STORIES_MAX} are run")
        return None
    start_ms = _time_ms(root, "start_timestamp")
    stories = tuple(_story(each, evaluation_ms, start_ms) for each in entries)
    return TestFile(file, _texts(root, "rule_files"), evaluation_ms, order, stories)


def _story(entry: Entry, evaluation_ms: int, start_ms: int) -> Story:
    entry.only(_STORY_FIELDS)
    series, wrong = {}, Problems()
    for each in entry.entries("input_series"):
        one = _series(each, wrong)
        series[tuple(sorted(one.labels.items()))] = one  # of two the last counts, as in promtool
    return Story(
        entry.text("name"),
        entry.line,
        _duration_ms(entry, "interval") or evaluation_ms,
        _time_ms(entry, "start_timestamp") if entry.has("start_timestamp") else start_ms,
        tuple(series.values()),
        tuple(_alert_check(each) for each in entry.entries("alert_rule_test")),
        tuple(_expr_check(each) for each in entry.entries("promql_expr_test")),
        entry.texts("external_labels"),
        entry.text("external_url"),
        tuple(map(str, wrong.found)),
    )


def _series(entry: Entry, wrong: Problems) -> InputSeries:
    """Return a series; one that is not written as it should be spoils its story alone."""
    entry.only(("series", "values"))
    entry = replace(entry, problems=wrong)
    nothing: dict[str, str] = {}
    labels = _noted(entry, "series", notation.metric, nothing)
    return InputSeries(labels, _noted(entry, "values", notation.points, ()))


def _alert_check(entry: Entry) -> AlertCheck:
    entry.only(("eval_time", "alertname", "exp_alerts"))
    name = entry.text("alertname", required=True)
    expected = []
    for each in entry.entries("exp_alerts"):
        each.only(("exp_labels", "exp_annotations"))
        labels = {**each.texts("exp_labels"), "alertname": name}
        expected.append(ExpectedAlert(labels, each.texts("exp_annotations")))
    return AlertCheck(_duration_ms(entry, "eval_time"), name, tuple(expected))


def _expr_check(entry: Entry) -> ExprCheck:
    entry.only(("expr", "eval_time", "exp_samples"))
    expr, wrong = entry.text("expr", required=True), Problems()
    expected = tuple(_sample(each, wrong) for each in entry.entries("exp_samples"))
    return ExprCheck(_duration_ms(entry, "eval_time"), expr, expected, tuple(map(str, wrong.found)))


def _sample(entry: Entry, wrong: Problems) -> Sample:
    """Return a sample; one that is not written as it should be spoils its check alone."""
    entry.only(("labels", "value", "histogram"))
    entry = replace(entry, problems=wrong)
    if entry.has("histogram"):
        entry.problem("native histograms are not supported", line=entry.line_of("histogram"))
    nothing: dict[str, str] = {}
    labels = _noted(entry, "labels", _labels, nothing)
    return Sample(labels, _noted(entry, "value", _number, 0.0))


def _labels(text: str) -> dict[str, str]:
    return {} if text in ("", "{}") else notation.metric(text)


def _number(text: str) -> float:
    special = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
    return float(special.get(text.lower(), text or "0"))


def _noted(entry: Entry, name: str, make: Callable[[str], T], otherwise: T) -> T:
    """Return what `make` makes of a field; what it refuses is a problem of its line."""
    text = entry.text(name)
    try:
        return make(text)
    except ValueError as error:
        entry.problem(f"{name}: {error}", line=entry.line_of(name))
        return otherwise


def _texts(entry: Entry, name: str) -> tuple[str, ...]:
    """Return a list of texts; empty where it lacks."""
    node = entry.fields.get(name)
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return ()
    if not isinstance(node, yaml.SequenceNode) or not all(
        isinstance(each, yaml.ScalarNode) for each in node.value
    ):
        entry.problem(f"{name} must be a list of texts", line=entry.line_of(name))
        return ()
    return tuple(str(each.value) for each in node.value)


def _duration_ms(entry: Entry, name: str) -> int:
    """Return a duration, however long: stories may tell of centuries."""
    return _noted(entry, name, _parsed_ms, 0)


def _parsed_ms(text: str) -> int:
    if _ZERO.fullmatch(text):
        return 0
    try:
        return round(promql_parser.parse_duration(text).total_seconds() * 1000)
    except ValueError as error:
        raise ValueError(f"{text!r} is no duration: {error}") from error


def _time_ms(entry: Entry, name: str) -> int:
    """Return a time: seconds since 1970, or as RFC 3339 writes it; 0 where it lacks."""
    return _noted(entry, name, _parsed_time_ms, 0)


def _parsed_time_ms(text: str) -> int:
    try:
        return round(float(text or "0") * 1000)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is neither seconds since 1970 nor RFC 3339") from error
    return round(found.replace(tzinfo=found.tzinfo or UTC).timestamp() * 1000)
