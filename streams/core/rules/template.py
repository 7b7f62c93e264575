"""Fill in the texts of alerts. In: a template as Prometheus rules write it, the labels and the
value of a result. Out: the text.

The rule this file owns: the templates are those of Go as far as rules use them: `$labels.x`,
`$value`, pipes, `printf`, `with`, `if`, comparisons. Anything else is refused when rules are
loaded, so a text never fails when an alert fires.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streams.core.rules.humanize import FUNCTIONS, Argument, text_of, truth

_ACTION: Final = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)
    |(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
    |(?P<label>\$labels\.[A-Za-z_]\w*|\.Labels\.[A-Za-z_]\w*)
    |(?P<value>\$value\b|\.Value\b)
    |(?P<dot>\.(?!\w))
    |(?P<name>[A-Za-z_]\w*)
    |(?P<mark>[|()]))""",
    re.VERBOSE,
)
TEMPLATE_CHARS_MAX: Final = 10_000
DEPTH_MAX: Final = 20


class TemplateError(ValueError):
    """A template uses what planewatch does not know."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a template can see."""

    labels: Mapping[str, str]
    value: float
    dot: Argument = ""


Expression = Callable[[Scope], Argument]


@dataclass(frozen=True, slots=True)
class Text:
    """Text that stands as it is."""

    text: str

    def render(self, scope: Scope) -> str:
        """Return it."""
        return self.text


@dataclass(frozen=True, slots=True)
class Show:
    """`{{ expression }}`."""

    expression: Expression

    def render(self, scope: Scope) -> str:
        """Return the value as Go prints it."""
        return text_of(self.expression(scope))


@dataclass(frozen=True, slots=True)
class Branch:
    """`{{ if e }}...{{ else }}...{{ end }}`; `with` also makes the value the dot."""

    expression: Expression
    then: "tuple[Part, ...]"
    otherwise: "tuple[Part, ...]"
    binds: bool

    def render(self, scope: Scope) -> str:
        """Return the branch that the value chooses."""
        found = self.expression(scope)
        if truth(found) and self.binds:
            scope = Scope(scope.labels, scope.value, found)
        return _render(self.then if truth(found) else self.otherwise, scope)


Part = Text | Show | Branch


def _render(parts: Sequence[Part], scope: Scope) -> str:
    return "".join(part.render(scope) for part in parts)


class Template:
    """A text with actions, parsed once."""

    __slots__ = ("_parts", "source")

    def __init__(self, source: str) -> None:
        if len(source) > TEMPLATE_CHARS_MAX:
            raise TemplateError(f"longer than {TEMPLATE_CHARS_MAX} characters")
        self.source = source
        self._parts = _Reader(source).read()

    def render(self, labels: Mapping[str, str], value: float) -> str:
        """Return the text for one result."""
        return _render(self._parts, Scope(labels, value))


class _Reader:
    """Reads the pieces of a template: texts and actions in turn."""

    def __init__(self, source: str) -> None:
        self._pieces = _pieces(source)
        self._end = ""  # the action that ended the newest block

    def read(self) -> tuple[Part, ...]:
        parts = self._block(0)
        if self._end:
            raise TemplateError(f"{{{{ {self._end} }}}} without a beginning")
        return parts

    def _block(self, depth: int) -> tuple[Part, ...]:
        """Return the parts up to `else`, `end` or the end of the source."""
        if depth > DEPTH_MAX:
            raise TemplateError(f"nested deeper than {DEPTH_MAX}")
        parts: list[Part] = []
        for is_action, text in self._pieces:
            if not is_action:
                parts.append(Text(text))
                continue
            word, _, rest = text.partition(" ")
            if word in ("if", "with"):
                parts.append(self._branch(rest, depth, binds=word == "with"))
            elif word in ("else", "end"):
                self._end = text
                return tuple(parts)
            elif not (text.startswith("/*") and text.endswith("*/")):
                parts.append(Show(_expression(text)))
        self._end = ""
        return tuple(parts)

    def _branch(self, condition: str, depth: int, *, binds: bool) -> Branch:
        expression, then = _expression(condition), self._block(depth + 1)
        otherwise: tuple[Part, ...] = ()
        if self._end == "else":
            otherwise = self._block(depth + 1)
        elif self._end.startswith("else if "):
            otherwise = (self._branch(self._end.removeprefix("else if "), depth + 1, binds=False),)
        if self._end != "end":
            raise TemplateError("{{ if }} or {{ with }} without its {{ end }}")
        return Branch(expression, then, otherwise, binds)


def _pieces(source: str) -> Iterator[tuple[bool, str]]:
    """Yield (is it an action, its text); `{{-` and `-}}` trim the text beside them."""
    at, trim = 0, False
    for found in _ACTION.finditer(source):
        text = source[at : found.start()]
        text = text.lstrip() if trim else text
        yield False, text.rstrip() if found[1] else text
        yield True, " ".join(found[2].split()) if '"' not in found[2] else found[2]
        at, trim = found.end(), bool(found[3])
    rest = source[at:]
    if "{{" in rest:
        raise TemplateError("{{ without its }}")
    yield False, rest.lstrip() if trim else rest


def _expression(text: str) -> Expression:
    tokens = _tokens(text)
    expression = _pipeline(tokens)
    if tokens:
        raise TemplateError(f"cannot read {text!r}")
    return expression


def _tokens(text: str) -> list[tuple[str, str]]:
    """Return (kind, text) of each token, the first one last."""
    found, at = [], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise TemplateError(f"cannot read {text[at:]!r} of {text!r}")
        found.append((str(token.lastgroup), token[str(token.lastgroup)]))
        at = token.end()
    return found[::-1]


def _pipeline(tokens: list[tuple[str, str]]) -> Expression:
    """Read `a | f | g x`: each value is the last argument of the next function."""
    expression = _command(tokens, None)
    while tokens and tokens[-1] == ("mark", "|"):
        tokens.pop()
        expression = _command(tokens, expression)
    return expression


def _command(tokens: list[tuple[str, str]], piped: Expression | None) -> Expression:
    if not tokens:
        raise TemplateError("an empty action")
    if tokens[-1][0] != "name" or tokens[-1][1] in ("true", "false"):
        if piped is not None:
            raise TemplateError("after | comes a function")
        return _operand(tokens)
    name = tokens.pop()[1]
    if name not in FUNCTIONS:
        raise TemplateError(f"{name} is not known; functions are {', '.join(sorted(FUNCTIONS))}")
    arguments = []
    while tokens and tokens[-1] not in (("mark", "|"), ("mark", ")")):
        arguments.append(_operand(tokens))
    if piped is not None:
        arguments.append(piped)
    return _call(name, arguments)


def _call(name: str, arguments: Sequence[Expression]) -> Expression:
    function, least, most = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise TemplateError(f"{name} does not take {len(arguments)} arguments")
    return lambda scope: function(*(argument(scope) for argument in arguments))


def _operand(tokens: list[tuple[str, str]]) -> Expression:
    kind, text = tokens.pop()
    if kind == "label":
        name = text.rpartition(".")[2]
        return lambda scope: scope.labels.get(name, "")
    if kind == "value":
        return lambda scope: scope.value
    if kind == "dot":
        return lambda scope: scope.dot
    if kind in ("number", "string"):
        constant = float(text) if kind == "number" else _unquoted(text)
        return lambda scope: constant
    if (kind, text) == ("mark", "("):
        inner = _pipeline(tokens)
        if not tokens or tokens.pop() != ("mark", ")"):
            raise TemplateError("( without its )")
        return inner
    raise TemplateError(f"cannot read {text!r} here")


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    escapes = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
    return re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[0]), text[1:-1])
