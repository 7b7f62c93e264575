"""Fill in the texts of alerts. In: a template as Prometheus rules write it; labels and value of a
result, and what the template's queries found. Out: the text.

The rule this file owns: the templates are those of Prometheus. What cannot work whatever the data
are is refused when rules are loaded; what fails on some data becomes a text that says so, so a text
never fails when an alert fires.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from streams.core.gotemplate.nodes import Scope, run
from streams.core.gotemplate.parse import Reader
from streams.core.gotemplate.values import Failure, Mistake, Struct, Texts, Value
from streams.core.rules.queries import Found, Query, QueryError, query_of
from streams.core.rules.texts import VOCABULARY, sample

TEMPLATE_CHARS_MAX: Final = 10_000


class TemplateError(ValueError):
    """A template uses what planewatch does not know."""


class Template:
    """A text with actions, parsed once."""

    __slots__ = ("_parts", "_queries", "source")

    def __init__(self, source: str) -> None:
        if len(source) > TEMPLATE_CHARS_MAX:
            raise TemplateError(f"longer than {TEMPLATE_CHARS_MAX} characters")
        self.source = source
        try:
            reader = Reader(source, VOCABULARY)
            self._parts = reader.read()
            self._queries = self._tried(reader.calls)
        except (Mistake, Failure, QueryError) as error:
            raise TemplateError(str(error)) from error

    @property
    def queries(self) -> tuple[str, ...]:
        """The expressions whose results rendering asks for."""
        return tuple(dict.fromkeys(query.expr for query in self._queries))

    def render(
        self,
        labels: Mapping[str, str],
        value: float,
        find: Callable[[str], Found] = lambda expr: (),
        external: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Return the text for one result; `find` returns what one of the queries found.

        external: the external labels of the story of a rule test; a worker has none.
        """

        def results(call: int, text: str) -> Value:
            found = self._queries[call].chosen(text, find)
            return [sample(Texts(of), number) for of, number in found]

        scope = _scope(Texts(labels), value, results, external=external)
        try:
            run(self._parts, scope)
        except ValueError as error:  # a Failure, a Mistake, or a QueryError
            return f"<error expanding template: {error}>"
        return "".join(scope.written)

    def _tried(self, calls: int) -> tuple[Query, ...]:
        """Run every branch with made-up data, and return what the queries are."""
        asked = [self._asked(labels, value) for labels, value in _DATA]
        if any(call not in texts for call in range(calls) for texts in asked):
            raise Mistake("query: its text must be known when the rules are loaded")
        return tuple(query_of(*(texts[call] for texts in asked)) for call in range(calls))

    def _asked(self, labels: Texts, value: float) -> dict[int, str]:
        """Return the text that each call of `query` got in a trial."""
        asked: dict[int, str] = {}

        def results(call: int, text: str) -> Value:
            asked[call] = text
            return [sample(labels, value)]

        run(self._parts, _scope(labels, value, results, trial=True))
        return asked


def _scope(
    labels: Texts,
    value: float,
    find: Callable[[int, str], Value],
    *,
    trial: bool = False,
    external: Mapping[str, str] = MappingProxyType({}),
) -> Scope:
    fields: dict[str, Value] = {"Labels": labels, "ExternalLabels": Texts(external), "Value": value}
    root = Struct(fields)
    variables = [
        ("$labels", fields["Labels"]),
        ("$externalLabels", fields["ExternalLabels"]),
        ("$value", value),
    ]
    return Scope(root, root, find, trial, variables)


class _Any(Texts):
    """Labels that are all there, with the same value."""

    def __init__(self, text: str) -> None:
        super().__init__(any=text)
        self._text = text

    def get(self, key: str, default: object = None) -> str:
        return self._text


_DATA: Final = ((_Any("1"), 1.0), (_Any("2"), 2.0))
