"""What a template may name. In: nothing. Out: types for functions and variables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams.core.gotemplate.values import Value


@dataclass(frozen=True, slots=True)
class Function:
    """A function: what it does, and the fewest and most arguments."""

    apply: Callable[..., Value]
    least: int = 1
    most: int = 1
    lazy: bool = False  # it takes the arguments unevaluated
    finds: bool = False  # it asks the scope for what its text finds


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a template may name."""

    functions: Mapping[str, Function]
    refused: Mapping[str, str]  # known to Prometheus or Go, and why not here
    variables: tuple[str, ...] = ("$",)
