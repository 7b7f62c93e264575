"""Rewrite labels. In: a vector. Out: the same values under other labels.

The rule this file owns: `label_replace` and `label_join` work on the distinct texts of a column and
are remembered for each table; `$1` and `${name}` are expanded as Go's regexp does.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from streams.core.promql.labels import Codes, Labels, Strings, factorize
from streams.core.promql.nodes import Context, Node
from streams.core.promql.vector import EvaluationError, Value, refuse_duplicates

TEXTS_MAX: Final = 4_000_000
"""Texts of a cluster. Beyond it no rule makes new ones."""

Expand = Callable[[Sequence[str | None], Mapping[str, int]], str]

_REFERENCE: Final = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")


def code_of(strings: Strings, text: str) -> int:
    """Return the code of a text that a rule made."""
    if len(strings) > TEXTS_MAX:
        raise EvaluationError(f"more than {TEXTS_MAX} label values in this cluster")
    return strings.code(text)


class LabelReplace(Node):
    """`label_replace(v, target, replacement, origin, pattern)`.

    Raises ValueError for a wrong regular expression.
    """

    def __init__(
        self, source: Node, target: str, replacement: str, origin: str, pattern: str
    ) -> None:
        self.children, self.target, self.origin = (source,), target, origin
        self.rewrite = rewriter(f"^(?s:{pattern})$", replacement)

    def evaluate(self, context: Context) -> Value:
        source = context.vector(self.children[0])
        labels = source.labels.once(self, lambda: self._labels(source.labels, context.strings))
        result = source.relabel(labels)
        refuse_duplicates(result, "label_replace")
        return result

    def _labels(self, labels: Labels, strings: Strings) -> Labels:
        codes, inverse = np.unique(labels.column(self.origin), return_inverse=True)
        made = [self.rewrite(strings.text(int(code))) for code in codes]
        hits = np.array([text is not None for text in made], np.bool_)[inverse.reshape(-1)]
        found = np.fromiter((code_of(strings, text or "") for text in made), np.int32)
        return _with(
            labels,
            self.target,
            np.where(hits, found[inverse.reshape(-1)], labels.column(self.target)).astype(np.int32),
        )


class LabelJoin(Node):
    """`label_join(v, target, separator, origins...)`."""

    def __init__(self, source: Node, target: str, separator: str, *origins: str) -> None:
        self.children, self.target = (source,), target
        self.separator, self.origins = separator, origins

    def evaluate(self, context: Context) -> Value:
        source = context.vector(self.children[0])
        labels = source.labels.once(self, lambda: self._labels(source.labels, context.strings))
        result = source.relabel(labels)
        refuse_duplicates(result, "label_join")
        return result

    def _labels(self, labels: Labels, strings: Strings) -> Labels:
        columns = [labels.column(name) for name in self.origins]
        sets, first = factorize(columns, labels.n)
        joined = [
            self.separator.join(strings.text(int(column[row])) for column in columns)
            for row in first.tolist()
        ]
        codes = np.fromiter((code_of(strings, text) for text in joined), np.int32)
        return _with(labels, self.target, codes[sets])


def _with(labels: Labels, name: str, codes: Codes) -> Labels:
    columns = {**labels.columns, name: codes}
    if not codes.any():
        del columns[name]
    return Labels(columns, labels.n)


def compile_pattern(pattern: str) -> Any:
    """Return a regular expression of RE2, or raise ValueError."""
    options = re2.Options()
    options.log_errors = False  # else the library writes to the standard error
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        (reason,) = error.args
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise ValueError(f"wrong regular expression {pattern!r}: {text}") from error


def rewriter(pattern: str, replacement: str) -> Callable[[str], str | None]:
    """Return what rewrites a text that matches; others give None. The pattern is anchored.

    Raises ValueError for a wrong regular expression.
    """
    compiled = compile_pattern(pattern)
    expand = expander(replacement)

    def rewrite(text: str) -> str | None:
        found = compiled.search(text)
        if found is None:
            return None
        return expand((found[0], *found.groups()), compiled.groupindex)

    return rewrite


def expander(replacement: str) -> Expand:
    """Return what fills the groups of a match into `$1`, `${1}`, `$name`, `${name}`.

    A name is as long as it can be (`$1x` is the group "1x"), a group that is not there is empty,
    `$$` is a dollar, and a dollar that begins no name stands for itself.
    """

    def expand(groups: Sequence[str | None], names: Mapping[str, int]) -> str:
        def fill(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            if name is None:
                return "$"
            number = int(name) if _NUMBER.fullmatch(name) else names.get(name, -1)
            return (groups[number] or "") if 0 <= number < len(groups) else ""

        return _REFERENCE.sub(fill, replacement)

    return expand
