"""Select series. In: a name and matchers as a rule wrote them. Out: tests on texts and columns.

The rule this file owns: `x_bucket`, `x_count` and `x_sum` are views of the rows of histogram x;
`le` compares as a number; regular expressions are RE2, anchored, with a dot that matches
everything; a job answers to its aliases.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Final

import numpy as np

from schemas.identity import JOB_ALIASES
from streams.core.promql.labels import Labels, Mask, Strings
from streams.core.promql.patterns import compile_pattern

INFINITY: Final = "+Inf"


class Folded(Enum):
    """What a selector reads of a folded row (a histogram or a summary)."""

    BUCKET = "_bucket"
    COUNT = "_count"
    SUM = "_sum"


class Op(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCH = "=~"
    NOT_MATCH = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; "" is the absent label."""

    label: str
    op: Op
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.op}{self.value!r}"

    def test(self) -> Callable[[str], bool]:
        """Return the test of one text. Raises ValueError for a wrong regular expression."""
        return _test(self)


@lru_cache(maxsize=4096)
def _test(matcher: Matcher) -> Callable[[str], bool]:
    hit = _hit(matcher)
    if matcher.op in (Op.NOT_EQUAL, Op.NOT_MATCH):
        return lambda text: not hit(text)
    return hit


def _hit(matcher: Matcher) -> Callable[[str], bool]:
    spellings = _SPELLINGS.get(matcher.label, _as_written)
    if matcher.op in (Op.EQUAL, Op.NOT_EQUAL):
        wanted = frozenset(spellings(matcher.value))
        return lambda text: not wanted.isdisjoint(spellings(text))
    found = compile_pattern(f"(?s:{matcher.value})", matcher.value).fullmatch
    return lambda text: any(found(one) is not None for one in spellings(text))


def _as_written(text: str) -> tuple[str, ...]:
    return (text,)


def _number(text: str) -> tuple[str, ...]:
    """Return all spellings of a bound: 1, 1.0 and 1e0 are the same."""
    try:
        bound = float(text)
    except ValueError:
        return (text,)
    if np.isinf(bound):
        return (INFINITY,) if bound > 0 else ("-Inf",)
    plain = repr(bound)
    return tuple({text, plain, plain.removesuffix(".0")})


def _job(text: str) -> tuple[str, ...]:
    """Return all names of a job."""
    job = JOB_ALIASES.get(text, text)
    return (job, *(alias for alias, ours in JOB_ALIASES.items() if ours == job))


_SPELLINGS: Final = {"le": _number, "job": _job}


@dataclass(frozen=True, slots=True)
class Selector:
    """A vector selector. Two with the same text are the same."""

    name: str
    matchers: tuple[Matcher, ...]
    _hash: int = field(init=False, repr=False, compare=False)  # it is looked up very often

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.name, self.matchers)))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return f"{self.name}{{{','.join(map(str, self.matchers))}}}"

    @property
    def folded(self) -> tuple[str, Folded] | None:
        """Return the family and the view, if `name` can be a view of a folded row."""
        for view in Folded:
            if self.name.endswith(view.value) and self.name != view.value:
                return self.name.removesuffix(view.value), view
        return None

    def accepts(self, constants: Mapping[str, str]) -> bool:
        """Tell whether series with these labels, among others, can match."""
        return all(
            matcher.test()(constants[matcher.label])
            for matcher in self.matchers
            if matcher.label in constants
        )

    def mask(self, labels: Labels, strings: Strings, *, le: bool) -> Mask:
        """Return which rows match; conditions on `le` count only where `le` is asked for."""
        found = np.ones(labels.n, np.bool_)
        for matcher in self.matchers:
            if matcher.label == "le" and not le:
                continue
            codes, inverse = np.unique(labels.column(matcher.label), return_inverse=True)
            test = matcher.test()
            hits = np.fromiter((test(strings.text(int(code))) for code in codes), np.bool_)
            found &= hits[inverse.reshape(-1)]
        return found

    def bounds_mask(self, bounds: tuple[str, ...]) -> Mask:
        """Return which buckets of a histogram match the conditions on `le`."""
        tests = [matcher.test() for matcher in self.matchers if matcher.label == "le"]
        return np.fromiter((all(test(bound) for test in tests) for bound in bounds), np.bool_)
