"""Read a template. In: its source, and the functions it may call. Out: parts that can be run.

The rule this file owns: names that are not known, and blocks that do not end, are Mistakes here.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from streams.core.gotemplate import values
from streams.core.gotemplate.nodes import (
    TEXT_CHARS_MAX,
    Branch,
    Expression,
    Jump,
    Loop,
    Part,
    Parts,
    Pipe,
    Scope,
    Show,
    Text,
)
from streams.core.gotemplate.tokens import Action, Token, number, pieces, unquoted
from streams.core.gotemplate.values import Failure, Mistake, Value, text_of
from streams.core.gotemplate.vocabulary import Function, Vocabulary

DEPTH_MAX: Final = 20
STEPS_MAX: Final = 100
"""Brackets, pipes and fields of one action: each is a call within a call."""


class Reader:
    """Reads one template."""

    def __init__(self, source: str, known: Vocabulary) -> None:
        self.calls = 0  # of functions that find
        self._known = known
        self._pieces = pieces(source)
        self._variables = list(known.variables)
        self._loops = 0
        self._end: tuple[Token, ...] = ()  # the action that ended the newest block
        self._tokens: list[Token] = []  # of the action at hand, the first one last
        self._action = ""

    def read(self) -> Parts:
        """Return the whole template."""
        parts = self._block(0)
        if self._end:
            raise Mistake(f"{{{{ {self._end[0].text} }}}} without a beginning")
        return parts

    def _block(self, depth: int) -> Parts:
        """Return the parts up to `else`, `end` or the end of the source."""
        if depth > DEPTH_MAX:
            raise Mistake(f"nested deeper than {DEPTH_MAX}")
        mark, parts = len(self._variables), list[Part]()
        for piece in self._pieces:
            if isinstance(piece, str):
                parts.append(Text(piece))
                continue
            self._open(piece)
            word = piece.tokens[0].text if piece.tokens else ""
            if word in ("else", "end"):
                self._end = piece.tokens
                break
            parts.append(self._part(word, depth))
        else:
            self._end = ()
        del self._variables[mark:]
        return tuple(parts)

    def _open(self, action: Action) -> None:
        if sum(token.kind == "field" or token.text in "(|" for token in action.tokens) > STEPS_MAX:
            raise Mistake(f"more than {STEPS_MAX} brackets, pipes and fields in one action")
        self._tokens, self._action = list(action.tokens[::-1]), action.source

    def _part(self, word: str, depth: int) -> Part:
        if word in ("if", "with", "range", "break", "continue"):
            self._tokens.pop()
        if word in ("break", "continue"):
            if not self._loops or self._tokens:
                raise Mistake(f"{{{{ {word} }}}} outside of {{{{ range }}}}")
            return Jump(goes_on=word == "continue")
        if word in ("if", "with"):
            return self._branch(depth, binds=word == "with")
        if word == "range":
            return self._loop(depth)
        if word in ("define", "template", "block"):
            raise Mistake(f"{word} is not supported: an alert's text is one template")
        return Show(self._whole_pipe())

    def _branch(self, depth: int, *, binds: bool) -> Branch:
        word, mark = "with" if binds else "if", len(self._variables)
        pipe, then = self._whole_pipe(), self._block(depth + 1)
        otherwise: Parts = ()
        following = [token.text for token in self._end]
        if following[:1] == ["else"] and following[1:2] in (["if"], ["with"]):
            del self._tokens[-2:]
            otherwise = (self._branch(depth + 1, binds=following[1] == "with"),)
        elif following == ["else"]:
            otherwise = self._block(depth + 1)
        self._must_end(word)
        del self._variables[mark:]
        return Branch(pipe, then, otherwise, binds)

    def _loop(self, depth: int) -> Loop:
        mark, names = len(self._variables), self._loop_names()
        pipe = Pipe(self._rest(self._pipeline()))
        self._variables += names
        self._loops += 1
        body = self._block(depth + 1)
        self._loops -= 1
        del self._variables[mark:]
        otherwise = self._block(depth + 1) if [t.text for t in self._end] == ["else"] else ()
        self._must_end("range")
        return Loop(pipe, names, body, otherwise)

    def _must_end(self, word: str) -> None:
        if [token.text for token in self._end] != ["end"]:
            raise Mistake(f"{{{{ {word} }}}} without its {{{{ end }}}}")

    def _loop_names(self) -> tuple[str, ...]:
        """Read `$x :=` or `$i, $x :=`."""
        names = []
        kinds = [token.kind if token.kind != "mark" else token.text for token in self._tokens[::-1]]
        for form in (["variable", ":="], ["variable", ",", "variable", ":="]):
            if kinds[: len(form)] == form:
                taken = [self._tokens.pop() for _ in form]
                names = [token.text for token in taken if token.kind == "variable"]
        return tuple(names)

    def _whole_pipe(self) -> Pipe:
        """Read a pipeline, with `$x :=` or `$x =` before it, up to the end of the action."""
        if not self._tokens:
            raise Mistake("an empty action")
        names: tuple[str, ...] = ()
        assigns = False
        if self._tokens[-1].kind == "variable" and self._marks(-2, ":=", "="):
            name, mark = self._tokens.pop().text, self._tokens.pop().text
            names, assigns = (name,), mark == "="
            if assigns:
                self._check_variable(name)
        pipe = Pipe(self._rest(self._pipeline()), names, assigns)
        self._variables += () if assigns else names
        return pipe

    def _rest(self, expression: Expression) -> Expression:
        if self._tokens:
            raise Mistake(f"cannot read {self._tokens[-1].text!r} in {self._action}")
        return expression

    def _marks(self, at: int, *texts: str) -> bool:
        """Tell whether a token, counted from the next one, is one of these marks."""
        if len(self._tokens) < -at:
            return False
        token = self._tokens[at]
        return token.kind == "mark" and token.text in texts

    def _pipeline(self) -> Expression:
        """Read `a | f | g x`: each value is the last argument of the next function."""
        expression = self._command(None)
        while self._marks(-1, "|"):
            self._tokens.pop()
            expression = self._command(expression)
        return expression

    def _command(self, piped: Expression | None) -> Expression:
        if not self._tokens:
            raise Mistake("an empty action")
        token = self._tokens[-1]
        if token.kind != "name" or token.text in _CONSTANTS:
            if piped is not None:
                raise Mistake("after | comes a function")
            if token.text == "nil":
                raise Mistake("nil is no action")
            return self._operand()
        name = self._tokens.pop().text
        arguments = list(self._arguments())
        return self._call(name, arguments if piped is None else [*arguments, piped])

    def _arguments(self) -> Iterator[Expression]:
        while self._tokens and not self._marks(-1, "|", ")"):
            yield self._operand()

    def _call(self, name: str, arguments: Sequence[Expression]) -> Expression:
        if name in self._known.refused:
            raise Mistake(f"{name} is not supported: {self._known.refused[name]}")
        function = self._known.functions.get(name)
        if function is None:
            functions = ", ".join(sorted(self._known.functions))
            raise Mistake(f"{name} is not known; functions are {functions}")
        if not function.least <= len(arguments) <= function.most:
            raise Mistake(f"{name} does not take {len(arguments)} arguments")
        if function.finds:
            call, self.calls = self.calls, self.calls + 1
            return lambda scope: scope.find(call, text_of(arguments[0](scope), name))
        if function.lazy:
            return lambda scope: function.apply(scope, arguments)
        return lambda scope: _applied(function, arguments, scope)

    def _operand(self) -> Expression:
        """Read one value, and the fields behind it."""
        token = self._tokens.pop()
        expression = self._value(token)
        if token.kind in ("field", "variable", "dot") or token.text == "(":
            while self._tokens and self._tokens[-1].kind == "field" and not self._tokens[-1].apart:
                expression = _field(expression, self._tokens.pop().text[1:])
        return expression

    def _value(self, token: Token) -> Expression:
        kind, text = token.kind, token.text
        if kind == "variable":
            self._check_variable(text)
            return (lambda scope: scope.root) if text == "$" else lambda scope: scope.get(text)
        if kind in ("field", "dot"):
            return _field(_dot, text[1:]) if kind == "field" else _dot
        if kind in _LITERALS:
            constant = _LITERALS[kind](text)
            return lambda scope: constant
        if kind == "name" and text in _CONSTANTS:
            return lambda scope: _CONSTANTS[text]
        if kind == "name":
            return self._call(text, ())
        if text == "(":
            inner = self._pipeline()
            if not self._marks(-1, ")"):
                raise Mistake("( without its )")
            self._tokens.pop()
            return inner
        raise Mistake(f"cannot read {text!r} in {self._action}")

    def _check_variable(self, name: str) -> None:
        if name not in self._variables:
            raise Mistake(f"there is no variable {name}")


_CONSTANTS: Final[dict[str, Value]] = {"true": True, "false": False, "nil": None}
_LITERALS: Final[dict[str, Callable[[str], Value]]] = {
    "text": unquoted,
    "number": number,
    "char": lambda text: ord(unquoted(text)),
}


def _dot(scope: Scope) -> Value:
    return scope.dot


def _field(expression: Expression, name: str) -> Expression:
    return lambda scope: values.field(expression(scope), name)


def _applied(function: Function, arguments: Sequence[Expression], scope: Scope) -> Value:
    value = function.apply(*(argument(scope) for argument in arguments))
    if isinstance(value, str) and len(value) > TEXT_CHARS_MAX:
        raise Failure(f"a text of more than {TEXT_CHARS_MAX} characters")
    return value
