"""Judge free SQL. In: what the engine's parser says about a text, and its canonical form. Out: why
it may not run, or None.

The rule this file owns: three guards, none of which is enough alone. The parser must call the text
one reading statement (that stops INTO OUTFILE, SET, SYSTEM, which a read-only session allows); the
session is sealed with readonly=1 (that stops writing and changing settings); and no function may
reach beyond the tables (a read-only chDB 4.4 still runs `file('/etc/passwd')` and `python(x)`),
called or only named, as in `arrayMap(file, ...)` and `* APPLY file`.
"""

import re
from collections.abc import Collection
from typing import Final

TABLE_FUNCTIONS_ALLOWED: Final = frozenset(
    {
        "dictionary",
        "format",
        "generate_series",
        "generateseries",
        "null",
        "numbers",
        "numbers_mt",
        "primes",
        "sqlstandardvalues",
        "values",
        "view",
        "viewifpermitted",
        "zeros",
        "zeros_mt",
    }
)
"""Table functions that read tables or make rows; all others reach files, networks or processes."""

FUNCTIONS_REFUSED: Final = frozenset({"catboostevaluate", "evalmlmethod", "file", "logtrace"})
TABLES_REFUSED: Final = frozenset({"stack_trace"})  # reading it stops every thread for a moment
AI_PREFIX: Final = "ai"  # aiGenerate and its like ask another host

_CALLED: Final = re.compile(r"(\w+)[`\"]?\s*\(")
_SETS: Final = re.compile(r"\bSETTINGS\s+[`\"]?\w+[`\"]?\s*=", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*' | `(?P<back>(?:[^`\\]|\\.)*)` | "(?P<double>(?:[^"\\]|\\.)*)" |
    (?P<bare>\w+)""",
    re.VERBOSE | re.DOTALL,
)


def refusal(
    canonical: str, *, query_class: str, statements: int, table_functions: Collection[str]
) -> str | None:
    """Return why a statement may not run, or None.

    `canonical`: the text as the engine formats it, without comments and escapes. `query_class`:
    READ_ONLY, MUTATING, CONTROL, UNKNOWN. `table_functions`: all that the engine knows.
    """
    if statements != 1:
        return f"expected one statement, found {statements}"
    if query_class != "READ_ONLY":
        return "only reading statements are allowed here"
    closed = {name.lower() for name in table_functions} - TABLE_FUNCTIONS_ALLOWED
    called = {name.lower() for name in _CALLED.findall(canonical)}
    refused = {one for one in called if one in closed} | {
        one for one in called | _named(canonical) if _reaches_out(one)
    }
    if refused:
        names = ", ".join(f"{name}()" for name in sorted(refused))
        return f"{names} may not be used here; a text that contains it goes into a parameter"
    if tables := sorted(_named(canonical) & TABLES_REFUSED):
        return f"{', '.join(tables)} may not be read here"
    if _SETS.search(canonical):
        return "SETTINGS may not be used here; a client sends settings beside its statement"
    return None


def _reaches_out(name: str) -> bool:
    return name in FUNCTIONS_REFUSED or name.startswith(AI_PREFIX)


def _named(canonical: str) -> set[str]:
    """Return every name in a text, in lower case; what stands within quotes of texts is none."""
    found = (
        token["back"] or token["double"] or token["bare"] for token in _TOKEN.finditer(canonical)
    )
    return {name.lower() for name in found if name}
