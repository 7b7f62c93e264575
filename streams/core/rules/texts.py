"""The functions that Prometheus adds to Go's templates. In: values. Out: values.

The rule this file owns: a name that Prometheus knows and planewatch does not is refused with its
reason. Regular expressions are RE2.
"""

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from streams.core.gotemplate import builtins
from streams.core.gotemplate.values import (
    Failure,
    Mistake,
    Mixed,
    Struct,
    Texts,
    Value,
    text_of,
    type_name,
)
from streams.core.gotemplate.vocabulary import Function, Vocabulary
from streams.core.promql.patterns import compile_pattern, expander
from streams.core.rules.humanize import (
    humanize,
    humanize1024,
    humanize_duration,
    humanize_percentage,
    humanize_timestamp,
    parse_duration,
)

Results = Sequence[Struct]


def sample(labels: Texts, value: float) -> Struct:
    """Return a result of a query."""
    return Struct({"Labels": labels, "Value": value})


def _results(value: Value, function: str) -> Results:
    if isinstance(value, str | Texts | Mixed) or not isinstance(value, Sequence):
        raise Mistake(f"{function} takes the results of a query, not {type_name(value)}")
    return value


def _result(value: Value, function: str) -> Struct:
    if not isinstance(value, Struct) or "Value" not in value.fields:
        raise Mistake(f"{function} takes one result of a query, not {type_name(value)}")
    return value


def _labels(result: Struct) -> Texts:
    labels = result.fields["Labels"]
    assert isinstance(labels, Texts), "a result has labels"
    return labels


def _first(results: Value) -> Value:
    found = _results(results, "first")
    if not found:
        raise Failure("the query found nothing")
    return found[0]


def _sort_by_label(name: Value, results: Value) -> Value:
    label = text_of(name, "sortByLabel")
    found = _results(results, "sortByLabel")
    return sorted(found, key=lambda one: _labels(one).get(label, ""))


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> Any:
    try:
        return compile_pattern(pattern, pattern)
    except ValueError as error:
        raise Mistake(str(error)) from error


def _match(pattern: Value, text: Value) -> bool:
    found = _pattern(text_of(pattern, "match")).search(text_of(text, "match"))
    return found is not None


def _replace_all(pattern: Value, replacement: Value, text: Value) -> str:
    """Replace as Go does: a match of nothing right behind another match does not count."""
    compiled = _pattern(text_of(pattern, "reReplaceAll"))
    expand = expander(text_of(replacement, "reReplaceAll"))
    source, parts, done = text_of(text, "reReplaceAll"), list[str](), 0
    for found in compiled.finditer(source):
        begin, end = found.span()
        parts.append(source[done:begin])
        if end > done or begin == 0:
            parts.append(expand((found[0], *found.groups()), compiled.groupindex))
        done = end
    return "".join([*parts, source[done:]])


def _title(text: str) -> str:
    """Begin each word with a capital, as Go's strings.Title."""
    return "".join(
        char.upper() if _separates(before) and len(char.upper()) == 1 else char
        for before, char in zip(f" {text}", text, strict=False)
    )


def _separates(char: str) -> bool:
    if char.isascii():
        return not (char.isalnum() or char == "_")
    return char.isspace()


def _split_port(address: str) -> tuple[str, str] | None:
    """Return host and port, or None where the text is no host with a port."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return None
    if host.startswith("["):
        return (host[1:-1], port) if host.endswith("]") and "[" not in host[1:] else None
    return None if any(mark in host for mark in ":[]") else (host, port)


def _strip_port(address: str) -> str:
    found = _split_port(address)
    return address if found is None else found[0]


def _strip_domain(address: str) -> str:
    host, port = _split_port(address) or (address, "")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        name = host.split(".")[0]
        return f"{name}:{port}" if port else name
    return address


def _of_text(name: str, apply: Callable[[str], str]) -> Function:
    return Function(lambda value: apply(text_of(value, name)))


FUNCTIONS: Final[dict[str, Function]] = {
    **builtins.BUILTINS,
    "args": Function(
        lambda *values: Mixed({f"arg{i}": one for i, one in enumerate(values)}), 0, builtins.MANY
    ),
    "first": Function(_first),
    "humanize": Function(humanize),
    "humanize1024": Function(humanize1024),
    "humanizeDuration": Function(humanize_duration),
    "humanizePercentage": Function(humanize_percentage),
    "humanizeTimestamp": Function(humanize_timestamp),
    "label": Function(
        lambda name, one: _labels(_result(one, "label")).get(text_of(name, "label"), ""), 2, 2
    ),
    "match": Function(_match, 2, 2),
    "parseDuration": Function(parse_duration),
    "query": Function(lambda text: text, finds=True),
    "reReplaceAll": Function(_replace_all, 3, 3),
    "safeHtml": _of_text("safeHtml", str),
    "sortByLabel": Function(_sort_by_label, 2, 2),
    "stripDomain": _of_text("stripDomain", _strip_domain),
    "stripPort": _of_text("stripPort", _strip_port),
    "strvalue": Function(lambda one: _labels(_result(one, "strvalue")).get("__value__", "")),
    "title": _of_text("title", _title),
    "toLower": _of_text("toLower", str.lower),
    "toUpper": _of_text("toUpper", str.upper),
    "value": Function(lambda one: _result(one, "value").fields["Value"]),
}
_NO_INTERFACE: Final = "there is no user interface of Prometheus to link to"
REFUSED: Final[dict[str, str]] = {
    **builtins.REFUSED,
    "externalURL": _NO_INTERFACE,
    "graphLink": _NO_INTERFACE,
    "pathPrefix": _NO_INTERFACE,
    "tableLink": _NO_INTERFACE,
    "tmpl": "an alert's text is one template",
    "toTime": "times are shown by humanizeTimestamp",
}
VOCABULARY: Final = Vocabulary(FUNCTIONS, REFUSED, ("$", "$labels", "$externalLabels", "$value"))
