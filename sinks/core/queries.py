"""Read named queries. In: the SQL files of `sinks/queries/`. Out: one frozen Query per file.

The rule this file owns: a query says in its first comment lines what it is called, what question
it answers and which typed parameters it takes; command line, console and Grafana share the text:

    -- name: failed_scrapes
    -- what: Scrapes that did not answer, newest first
    -- parameters:
    --   cluster String = "": the cluster, or all of them
    --   limit UInt32 = 100: rows at most
    SELECT ... WHERE $__timeFilter_ms(ts) AND ({cluster:String} = '' OR cluster = {cluster:String})

A parameter without a default (JSON after `=`) must be given. Time comes through macros only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from schemas.errors import SinkRefused

Value = str | int | float | bool | list[str] | None

_HEADER: Final = re.compile(r"-- (name|what): (.+)")
_PARAMETER: Final = re.compile(r"--   (\w+) ([A-Z]\w*(?:\(\w+\))?)(?: = (.+?))?: (.+)")
_USED: Final = re.compile(r"\{(\w+):([^}]+)\}")
_ARRAY: Final = re.compile(r"Array\((.+)\)")
_INTEGER: Final = re.compile(r"(U?Int)(8|16|32|64|128|256)")
_DIGITS: Final = re.compile(r"-?[0-9]{1,80}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `{name:Type}` of a query. `default` is None where a value must be given."""

    name: str
    type: str
    what: str
    default: Value = None


@dataclass(frozen=True, slots=True)
class Query:
    """A named query."""

    name: str
    what: str
    parameters: tuple[Parameter, ...]
    sql: str

    def bind(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Return the value of every parameter.

        Raises:
            SinkRefused: a parameter is unknown or missing, or a value does not have its type.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        if unknown := sorted(set(given) - set(known)):
            names = ", ".join(known) or "none"
            raise SinkRefused(f"{self.name} has no parameter {', '.join(unknown)}; it has: {names}")
        bound = {name: given.get(name, one.default) for name, one in known.items()}
        if missing := sorted(name for name, value in bound.items() if value is None):
            raise SinkRefused(f"{self.name} needs a value for {', '.join(missing)}")
        for name, value in bound.items():
            if why := misfit(value, known[name].type):
                raise SinkRefused(f"{self.name}: {name}={str(value)[:60]!r} {why}")
        return bound


def misfit(value: Value, kind: str) -> str | None:
    """Return why `value` is none of ClickHouse's type `kind`, or None; unknown types take all."""
    if array := _ARRAY.fullmatch(kind):
        if not isinstance(value, list):
            return f"is no {kind}"
        return next((why for one in value if (why := misfit(one, array[1]))), None)
    if isinstance(value, list):
        return f"is a list, not a {kind}"
    if whole := _INTEGER.fullmatch(kind):
        return _no_integer(str(value), kind, signed=whole[1] == "Int", bits=int(whole[2]))
    if kind == "Bool" and str(value).lower() not in {"true", "false", "0", "1"}:
        return "is no Bool (true or false)"
    wrong = kind.startswith("Float") and not _is_number(value)
    return f"is no {kind} (a number, nan, inf or -inf)" if wrong else None


def _no_integer(text: str, kind: str, *, signed: bool, bits: int) -> str | None:
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if _DIGITS.fullmatch(text) and least <= int(text) <= most:
        return None
    return f"is no {kind} (a whole number from {least} to {most})"


def _is_number(value: Value) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def free_query(sql: str) -> Query:
    """Return SQL that somebody wrote as a query whose parameters must all be given.

    Raises:
        SinkRefused: it uses a parameter in two types.
    """
    used = dict.fromkeys(_USED.findall(sql))
    if len({name for name, _ in used}) < len(used):
        raise SinkRefused("a parameter has one type: " + ", ".join(f"{n}:{t}" for n, t in used))
    return Query("--sql", "", tuple(Parameter(name, kind, "") for name, kind in used), sql)


@cache
def load_queries() -> Mapping[str, Query]:
    """Return the shipped queries by name, sorted."""
    found = sorted(
        (one for one in files("sinks").joinpath("queries").iterdir() if one.name.endswith(".sql")),
        key=lambda one: one.name,
    )
    queries = [parse_query(one.name, one.read_text(encoding="utf-8")) for one in found]
    return MappingProxyType({query.name: query for query in queries})


def parse_query(file: str, text: str) -> Query:
    """Return the query of a file; `file` must be its name with .sql.

    Raises:
        ValueError: the header and the SQL do not belong together.
    """
    header: dict[str, str] = {}
    parameters: list[Parameter] = []
    for line in text.splitlines():
        if found := _HEADER.fullmatch(line):
            header[found[1]] = found[2]
        elif found := _PARAMETER.fullmatch(line):
            default = json.loads(found[3]) if found[3] else None
            parameters.append(Parameter(found[1], found[2], found[4], default))
        elif not line.startswith("--"):
            break
    if set(header) != {"name", "what"} or f"{header['name']}.sql" != file:
        raise ValueError(f"{file} must begin with `-- name: {file[:-4]}` and `-- what: ...`")
    sql = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
    declared = {(one.name, one.type) for one in parameters}
    used = set(_USED.findall(sql))
    if declared != used:
        raise ValueError(f"{file}: declares {sorted(declared)} and uses {sorted(used)}")
    return Query(header["name"], header["what"], tuple(parameters), sql)
