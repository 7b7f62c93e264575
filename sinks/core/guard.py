"""Judge free SQL. In: what the engine's parser says about a text, and its canonical form. Out: why
it may not run, or None.

The rule this file owns: three guards, none of which is enough alone. The parser must call the text
one reading statement (that stops INTO OUTFILE, SET, SYSTEM, which a read-only session allows); the
session is sealed with readonly=1 (that stops writing and changing settings); and no function may
reach beyond the tables (a read-only chDB 4.4 still runs `file('/etc/passwd')` and `python(x)`).
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
        "merge",
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

FUNCTIONS_REFUSED: Final = frozenset({"catboostevaluate", "evalmlmethod", "file"})
AI_PREFIX: Final = "ai"  # aiGenerate and its like ask another host

_CALLED: Final = re.compile(r"(\w+)[`\"]?\s*\(")


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
    refused = {one for one in called if one in closed | FUNCTIONS_REFUSED or one[:2] == AI_PREFIX}
    if refused:
        names = ", ".join(f"{name}()" for name in sorted(refused))
        return f"{names} may not be used here; a text that contains it goes into a parameter"
    return None
