"""Read YAML with lines. In: the text of a rule file. Out: entries that know where they stand.

The rule this file owns: a field that is unknown, there twice or of a wrong type is a problem with
its line, as in promtool; reading goes on, so that all problems are found at once.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import promql_parser
import yaml

from schemas.errors import RuleError

_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ZERO: Final = re.compile(r"0(?:ms|[smhdwy])?")
DURATION_MAX: Final = timedelta(days=365)


def parsed_ms(text: str) -> int:
    """Return a duration.

    Raises:
        ValueError: it is none, or longer than a year.
    """
    if _ZERO.fullmatch(text):
        return 0
    try:
        duration = promql_parser.parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no duration: {error}") from error
    if duration > DURATION_MAX:
        raise ValueError(f"{text} is longer than a year")
    return round(duration.total_seconds() * 1000)


class Problems:
    """What is wrong, in the order of reading."""

    def __init__(self) -> None:
        self.found: list[RuleError] = []

    def add(self, error: RuleError) -> None:
        """Note a problem."""
        self.found.append(error)


@dataclass(frozen=True, slots=True)
class Entry:
    """A mapping of a rule file."""

    file: str
    line: int
    fields: dict[str, yaml.Node]
    lines: dict[str, int]
    problems: Problems

    def problem(self, message: str, *, line: int = 0, expr: str = "") -> None:
        """Note a problem of this entry."""
        self.problems.add(RuleError(message, file=self.file, line=line or self.line, expr=expr))

    def only(self, known: Collection[str]) -> None:
        """Note the fields that are not known."""
        for name in self.fields:
            if name not in known:
                fields = ", ".join(known)
                self.problem(f"unknown field {name}; known are {fields}", line=self.lines[name])

    def has(self, name: str) -> bool:
        """Tell whether the field is there."""
        return name in self.fields

    def line_of(self, name: str) -> int:
        """Return the line of a field, or of the entry where it lacks."""
        return self.lines.get(name, self.line)

    def text(self, name: str, *, required: bool = False) -> str:
        """Return a text; "" where it lacks."""
        node = self.fields.get(name)
        if node is None:
            if required:
                self.problem(f"{name} is missing")
            return ""
        if not isinstance(node, yaml.ScalarNode):
            self.problem(f"{name} must be a text", line=self.lines[name])
            return ""
        return str(node.value).strip()

    def whole(self, name: str) -> int:
        """Return a number from 0 up; 0 where it lacks."""
        text = self.text(name) or "0"
        if not text.isdecimal():
            self.problem(f"{name} must be a whole number, not {text!r}", line=self.lines[name])
            return 0
        return int(text)

    def duration_ms(self, name: str) -> int:
        """Return a duration; 0 where it lacks."""
        try:
            return parsed_ms(self.text(name) or "0")
        except ValueError as error:
            self.problem(f"{name}: {error}", line=self.lines[name])
            return 0

    def texts(self, name: str) -> dict[str, str]:
        """Return a mapping of texts; empty where it lacks."""
        node = self.fields.get(name)
        if node is None or _is_null(node):
            return {}
        inner = _entry(self.file, node, self.problems)
        return {} if inner is None else {each: inner.text(each) for each in inner.fields}

    def label_texts(self, name: str) -> dict[str, str]:
        """Return a mapping whose keys are label names."""
        found = self.texts(name)
        for label in found:
            if not _LABEL.fullmatch(label) or label == "__name__":
                self.problem(f"{name}: {label!r} is no label name", line=self.lines[name])
        return found

    def check_metric_name(self, name: str) -> None:
        """Note a name that no series can have."""
        if not _METRIC.fullmatch(name):
            self.problem(f"{name!r} is no metric name")

    def entries(self, name: str) -> list["Entry"]:
        """Return a list of mappings; empty where it lacks."""
        node = self.fields.get(name)
        if node is None or _is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.problem(f"{name} must be a list", line=self.lines[name])
            return []
        found = (_entry(self.file, each, self.problems) for each in node.value)
        return [entry for entry in found if entry is not None]


def read(file: str, text: str, problems: Problems) -> Entry | None:
    """Return the mapping that a file is; None where it is none or empty."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = 0 if mark is None else mark.line + 1
        reason = getattr(error, "problem", None) or str(error)
        problems.add(RuleError(f"not YAML: {reason}", file=file, line=line))
        return None
    except RecursionError:
        problems.add(RuleError("not YAML: nested too deep", file=file))
        return None
    return None if root is None or _is_null(root) else _entry(file, root, problems)


def _entry(file: str, node: yaml.Node, problems: Problems) -> Entry | None:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        problems.add(RuleError("expected a mapping", file=file, line=line))
        return None
    fields: dict[str, yaml.Node] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in fields:
            message = f"{name} is there twice"
            problems.add(RuleError(message, file=file, line=key.start_mark.line + 1))
        fields[name], lines[name] = value, key.start_mark.line + 1
    return Entry(file, line, fields, lines, problems)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
