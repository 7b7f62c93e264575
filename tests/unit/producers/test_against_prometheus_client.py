"""Our parser agrees with the Python client of Prometheus, sample by sample."""

import dataclasses
import math
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.core.exposition import Exposition, parse
from producers.core.keys import Keys
from tests.exposition import samples_of, samples_of_the_client

SAMPLES_MAX = 1_000_000

label_names = st.sampled_from(["a", "b", "verb", "code", "_x", "instance"])
characters = st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])
label_values = st.text(characters, max_size=8)
label_sets = st.dictionaries(label_names, label_values.filter(bool), max_size=3)
counts = st.integers(0, 2**50)
values = st.floats(allow_nan=True, width=64)
blanks = st.sampled_from([" ", "  ", "\t", " \t "])
times = st.sampled_from(["", " 1700000000000", " 5"])


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _identity(labels: dict[str, str]) -> str:
    return str(sorted(labels.items()))


@st.composite
def lines(draw: st.DrawFn, name: str, labels: dict[str, str], value: float | int) -> str:
    pairs = [f'{label}="{_escape(text)}"' for label, text in labels.items()]
    comma = draw(st.sampled_from([",", " , "])).join(pairs)
    block = "{" + comma + draw(st.sampled_from(["", ","])) + "}" if pairs else ""
    return f"{name}{block}{draw(blanks)}{_number(value)}{draw(times)}\n"


def _number(value: float | int) -> str:
    text = repr(value)
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(text, text)


@st.composite
def simple(draw: st.DrawFn, name: str) -> str:
    kind = draw(st.sampled_from(["counter", "gauge", "untyped", ""]))
    sets = draw(st.lists(label_sets, min_size=1, max_size=3, unique_by=_identity))
    head = f"# HELP {name} a \\n b\n# TYPE {name} {kind}\n" if kind else ""
    return head + "".join(draw(lines(name, labels, draw(values))) for labels in sets)


@st.composite
def histogram(draw: st.DrawFn, name: str) -> str:
    labels = draw(label_sets)
    bounds = draw(st.lists(st.sampled_from([0.005, 0.1, 1.0, 2.5, 60.0, 1e6]), unique=True))
    text, total = f"# TYPE {name} histogram\n", 0
    for bound in [*sorted(bounds), math.inf]:
        total += draw(counts)
        text += draw(lines(f"{name}_bucket", labels | {"le": _number(bound)}, total))
    return (
        text
        + draw(lines(f"{name}_sum", labels, draw(values)))
        + draw(lines(f"{name}_count", labels, total))
    )


@st.composite
def summary(draw: st.DrawFn, name: str) -> str:
    labels = draw(label_sets)
    text = f"# TYPE {name} summary\n"
    for quantile in ("0.5", "0.99"):
        text += draw(lines(name, labels | {"quantile": quantile}, draw(values)))
    return (
        text
        + draw(lines(f"{name}_sum", labels, draw(values)))
        + draw(lines(f"{name}_count", labels, draw(counts)))
    )


@st.composite
def expositions(draw: st.DrawFn) -> str:
    kinds: list[Callable[[str], st.SearchStrategy[str]]] = [simple, histogram, summary]
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))
    return "".join(draw(kind(f"m{number}_x")) for number, kind in enumerate(chosen))


@settings(deadline=None)  # the machine may be busy
@given(expositions())
def test_any_exposition_gives_the_samples_that_the_client_finds(text: str) -> None:
    keys = Keys(10_000)
    expected = sorted(samples_of_the_client(text))
    for _ in range(2):  # cold, then from memory
        found = parse(text.encode(), keys, samples_max=SAMPLES_MAX)
        assert (0, 0, False) == (found.unreadable, found.duplicates, found.cut)
        assert expected == sorted(samples_of(found.rows))


@settings(deadline=None)  # the machine may be busy
@given(expositions(), st.data())
def test_no_mutation_makes_the_parser_fail(text: str, data: st.DataObject) -> None:
    body = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    keys = Keys(10_000)
    parse(text.encode(), keys, samples_max=SAMPLES_MAX)
    warm = parse(bytes(body), keys, samples_max=SAMPLES_MAX)
    cold = parse(bytes(body), Keys(10_000), samples_max=SAMPLES_MAX)
    assert _without_words(cold) == _without_words(warm)


def _without_words(found: Exposition) -> str:
    """All but the example, which quotes a line from where it was found to be bad."""
    return repr(dataclasses.replace(found, example=""))
