"""Run a template. In: its parts and a scope. Out: the text.

The rule this file owns: a run is bounded in steps and in text. A trial runs every branch and each
body once, so that a Mistake is found wherever it stands; what only fails on data is no matter then.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.core.gotemplate.printing import show
from streams.core.gotemplate.values import Failure, Mistake, Mixed, Texts, Value, truth, type_name

STEPS_MAX: Final = 20_000
TEXT_CHARS_MAX: Final = 100_000

Find = Callable[[int, str], Value]
"""(which call of the template, its text) -> what was found."""


@dataclass(slots=True)
class Scope:
    """What a run can see, and what it has written."""

    root: Value
    dot: Value
    find: Find
    trial: bool = False
    variables: list[tuple[str, Value]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    steps: int = 0
    chars: int = 0

    def get(self, name: str) -> Value:
        """Return the innermost variable of a name."""
        return next(value for known, value in reversed(self.variables) if known == name)

    def declare(self, name: str, value: Value) -> None:
        """Add a variable; it ends with its block."""
        self.variables.append((name, value))

    def assign(self, name: str, value: Value) -> None:
        """Change the innermost variable of a name."""
        at = max(i for i, (known, _) in enumerate(self.variables) if known == name)
        self.variables[at] = (name, value)

    def write(self, text: str) -> None:
        """Add to the text."""
        self.chars += len(text)
        if self.chars > TEXT_CHARS_MAX:
            raise Failure(f"longer than {TEXT_CHARS_MAX} characters")
        self.written.append(text)

    def step(self) -> None:
        """Count a step."""
        self.steps += 1
        if self.steps > STEPS_MAX:
            raise Failure(f"more than {STEPS_MAX} steps")


Expression = Callable[[Scope], Value]


class Leave(Exception):
    """`break`, or with `goes_on`, `continue`."""

    def __init__(self, *, goes_on: bool) -> None:
        self.goes_on = goes_on


@dataclass(frozen=True, slots=True)
class Text:
    """Text that stands as it is."""

    text: str

    def run(self, scope: Scope) -> None:
        """Write it."""
        scope.write(self.text)


@dataclass(frozen=True, slots=True)
class Pipe:
    """An expression whose value may be kept in a variable."""

    expression: Expression
    names: tuple[str, ...] = ()
    assigns: bool = False

    def value(self, scope: Scope) -> Value:
        """Return the value, after the variable has it."""
        value = self.expression(scope)
        for name in self.names:
            (scope.assign if self.assigns else scope.declare)(name, value)
        return value


@dataclass(frozen=True, slots=True)
class Show:
    """`{{ expression }}`."""

    pipe: Pipe

    def run(self, scope: Scope) -> None:
        """Write the value, unless a variable takes it."""
        value = self.pipe.value(scope)
        if not self.pipe.names:
            scope.write(show(value))


@dataclass(frozen=True, slots=True)
class Branch:
    """`{{ if e }}...{{ else }}...{{ end }}`; `with` also makes the value the dot."""

    pipe: Pipe
    then: "Parts"
    otherwise: "Parts"
    binds: bool

    def run(self, scope: Scope) -> None:
        """Run the branch that the value chooses."""
        mark, dot = len(scope.variables), scope.dot
        value = self.pipe.value(scope)
        try:
            if scope.trial or truth(value):
                scope.dot = value if self.binds else dot
                run(self.then, scope)
                scope.dot = dot
            if scope.trial or not truth(value):
                run(self.otherwise, scope)
        finally:
            scope.dot = dot
            del scope.variables[mark:]


@dataclass(frozen=True, slots=True)
class Loop:
    """`{{ range e }}...{{ else }}...{{ end }}`."""

    pipe: Pipe
    names: tuple[str, ...]  # of the value, or of key and value
    body: "Parts"
    otherwise: "Parts"

    def run(self, scope: Scope) -> None:
        """Run the body for each value, or what stands for none."""
        mark, dot, turns = len(scope.variables), scope.dot, 0
        for key, value in _items(self.pipe.value(scope)):
            if scope.trial and turns:
                break
            turns += 1
            inner = len(scope.variables)
            for name, one in zip(self.names, (key, value)[-len(self.names) :], strict=False):
                scope.declare(name, one)
            scope.dot = value
            try:
                run(self.body, scope)
            except Leave as leave:
                if not leave.goes_on and not scope.trial:
                    break
            finally:
                scope.dot = dot
                del scope.variables[inner:]
        if scope.trial or not turns:
            run(self.otherwise, scope)
        del scope.variables[mark:]


def _items(value: Value) -> Iterator[tuple[Value, Value]]:
    if isinstance(value, Texts | Mixed):
        return ((key, value[key]) for key in sorted(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return ((i, i) for i in range(value))
    if value is None:
        return iter(())
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise Mistake(f"range cannot go over {type_name(value)}")
    return enumerate(value)


@dataclass(frozen=True, slots=True)
class Jump:
    """`{{ break }}` and `{{ continue }}`."""

    goes_on: bool

    def run(self, scope: Scope) -> None:
        """Leave the body."""
        if not scope.trial:
            raise Leave(goes_on=self.goes_on)


Part = Text | Show | Branch | Loop | Jump
Parts = tuple[Part, ...]


def run(parts: Parts, scope: Scope) -> None:
    """Run parts one after the other."""
    for part in parts:
        scope.step()
        try:
            part.run(scope)
        except Failure:
            if not scope.trial:
                raise
            if isinstance(part, Show) and part.pipe.names:
                return  # what follows needs the variable
