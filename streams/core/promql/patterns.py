"""Regular expressions of users. In: patterns and replacements. Out: what finds and rewrites texts.

The rule this file owns: they are RE2, which no pattern can make slow; `$1` and `${name}` are
expanded as Go's regexp does.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

Expand = Callable[[Sequence[str | None], Mapping[str, int]], str]

_REFERENCE: Final = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")


def compile_pattern(pattern: str, written: str) -> Any:
    """Return a regular expression of RE2, or raise ValueError that shows what its author wrote."""
    options = re2.Options()
    options.log_errors = False  # else the library writes to the standard error
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        (reason,) = error.args
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise ValueError(f"wrong regular expression {written!r}: {text}") from error


def rewriter(pattern: str, replacement: str) -> Callable[[str], str | None]:
    """Return what rewrites a text that matches as a whole; others give None.

    Raises ValueError for a wrong regular expression.
    """
    compiled, expand = compile_pattern(f"^(?s:{pattern})$", pattern), expander(replacement)

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
