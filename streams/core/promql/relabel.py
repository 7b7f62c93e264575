"""Rewrite labels. In: a vector. Out: the same values under other labels.

The rule this file owns: `label_replace` and `label_join` work on the distinct texts of a column and
are remembered for each table.
"""

from typing import Final

import numpy as np

from streams.core.promql.labels import Codes, Labels, Strings, factorize
from streams.core.promql.nodes import Context, Node
from streams.core.promql.patterns import rewriter
from streams.core.promql.vector import EvaluationError, Value, refuse_duplicates

TEXTS_MAX: Final = 4_000_000
"""Texts of a cluster. Beyond it no rule makes new ones."""


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
        self.rewrite = rewriter(pattern, replacement)

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
