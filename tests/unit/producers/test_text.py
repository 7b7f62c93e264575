"""Bodies that differ by values are compared, others are read strictly, and nobody can tell."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.core import text
from producers.core.exposition import parse, parse_strictly
from producers.core.keys import Keys
from producers.core.text import TextReader
from tests import fixtures

SAMPLES_MAX = 100_000
BODY = b"""# HELP h how long
# TYPE h histogram
h_bucket{verb="GET",le="0.1"} 1
h_bucket{verb="GET",le="1"} 3
h_bucket{verb="GET",le="+Inf"} 4
h_sum{verb="GET"} 2.5
h_count{verb="GET"} 4
# TYPE q summary
q{quantile="0.5"} NaN
q_sum 0
q_count 0
# TYPE g gauge
g{name="a b"} -1.5e-07
g{name="} 5"} +Inf
# TYPE c_total counter
c_total 9.007199254740992e+15
plain 3
"""


def assert_same(reader: TextReader, body: bytes, keys: Keys) -> None:
    """Compare with a strict reading."""
    found = reader.read(body, keys, samples_max=SAMPLES_MAX)
    wanted = parse(body, keys, samples_max=SAMPLES_MAX)
    assert str(wanted.rows) == str(found.rows)  # NaN is equal to NaN
    said = (found.samples, found.duplicates, found.unreadable, found.example, found.negative)
    assert said == (
        *(wanted.samples, wanted.duplicates, wanted.unreadable, wanted.example, wanted.negative),
    )
    assert (wanted.cut, wanted.plausible, wanted.more) == (found.cut, found.plausible, found.more)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note the bodies that are read strictly."""
    strictly: list[bytes] = []

    def noted(body: bytes, keys: Keys, *, samples_max: int, whole: bool = True) -> object:
        strictly.append(body)
        return parse_strictly(body, keys, samples_max=samples_max, whole=whole)

    monkeypatch.setattr(text, "parse_strictly", noted)
    return strictly


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b'le="0.1"} 1', b'le="0.1"} 2'),
        (b'g{name="a b"} -1.5e-07', b'g{name="a b"} 123456789'),
        (b"} +Inf", b"} -Inf"),
        (b"} NaN", b"} 0.25"),
        (b"plain 3", b"plain +3"),
        (b'le="1"} 3', b'le="1"} 0'),  # a falling bucket
    ],
)
def test_another_value_is_no_reason_to_read_the_keys(
    was: bytes, now: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, keys = TextReader(), Keys(1000)
    assert_same(reader, BODY, keys)
    strictly = counted(monkeypatch)

    assert_same(reader, BODY.replace(was, now), keys)
    assert_same(reader, BODY, keys)

    assert [] == strictly


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b"plain 3", b"plain three"),
        (b"plain 3", b"plain 1_0"),
        (b"plain 3", b"plain 1e999"),
        (b"plain 3", b"plain -nan"),
        (b"plain 3", b"plain 0x1p4"),
        (b"plain 3", b"plain 3 1700000000000"),
        (b"plain 3\n", b"plain 3"),
        (b"plain 3\n", b"plain 3\r\n"),
        (b"plain 3", b"plain \xff"),
        (b'h_count{verb="GET"} 4', b'h_count{verb="GET"} -4'),
        (b'le="+Inf"} 4', b'le="+Inf"} NaN'),
        (b'le="+Inf"} 4', b'le="+Inf"} 9223372036854775808'),
        (b"plain 3\n", b"plain 3\nnew 1\n"),
        (b"plain 3\n", b""),
        (b"plain 3\n", b"other 3\n"),
        (b"# HELP h how long", b"# HELP h how far!"),
        (b"# TYPE c_total counter", b"# TYPE c_total untyped"),
        (b"plain 3\n", b"plain 3\n\n"),
        (BODY, b""),
    ],
)
def test_all_else_is_read_strictly(was: bytes, now: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, keys = TextReader(), Keys(1000)
    assert_same(reader, BODY, keys)
    strictly = counted(monkeypatch)

    assert_same(reader, BODY.replace(was, now), keys)

    assert [BODY.replace(was, now)] == strictly
    assert_same(reader, BODY, keys)


def test_the_rows_of_a_body_with_other_values_are_the_same_objects() -> None:
    reader, keys = TextReader(), Keys(1000)
    first = reader.read(BODY, keys, samples_max=SAMPLES_MAX)

    again = reader.read(BODY.replace(b"plain 3", b"plain 4"), keys, samples_max=SAMPLES_MAX)

    assert first.columns.layout is again.columns.layout
    assert (3.0, 4.0) == (first.columns.value("plain"), again.columns.value("plain"))


def test_a_body_that_was_cut_by_us_is_no_measure_for_the_next() -> None:
    reader, keys = TextReader(), Keys(1000)
    reader.read(BODY, keys, samples_max=SAMPLES_MAX, whole=False)

    assert_same(reader, BODY, keys)


LINES = BODY.splitlines(keepends=True)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["drop", "twice", "swap", "byte", "cut", "value"]),
        st.integers(0, 10_000),
        st.binary(min_size=1, max_size=2),
    ),
    max_size=3,
)


def edited(body: bytes, kind: str, at: int, piece: bytes) -> bytes:
    """Return a body with one thing changed."""
    every = body.splitlines(keepends=True) or [b"\n"]
    line = at % len(every)
    if kind == "drop":
        del every[line]
    elif kind == "twice":
        every.insert(line, every[line])
    elif kind == "swap":
        other = at // 7 % len(every)
        every[line], every[other] = every[other], every[line]
    elif kind == "value":
        key, blank, _ = every[line].rpartition(b" ")
        every[line] = key + blank + str(at).encode() + b"\n"
    whole = b"".join(every)
    if kind == "byte":
        spot = at % (len(whole) + 1)
        return whole[:spot] + piece + whole[spot + 1 :]
    return whole[: at % (len(whole) + 1)] if kind == "cut" else whole


@settings(deadline=None, max_examples=600)
@given(st.lists(EDITS, min_size=1, max_size=6))
def test_whatever_comes_is_read_as_if_it_were_the_first(
    bodies: list[list[tuple[str, int, bytes]]],
) -> None:
    reader, keys = TextReader(), Keys(1000)
    assert_same(reader, BODY, keys)
    for edits in bodies:
        body = BODY
        for kind, at, piece in edits:
            body = edited(body, kind, at, piece)
        assert_same(reader, body, keys)


def test_a_small_body_cut_at_every_byte() -> None:
    keys = Keys(1000)
    for end in range(len(BODY)):
        reader = TextReader()
        assert_same(reader, BODY, keys)
        assert_same(reader, BODY[:end], keys)
        assert_same(reader, BODY, keys)


@pytest.mark.parametrize("name", ["1_35-api-server", "1_35-etcd"])
def test_captures_that_advance_are_compared_only(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = fixtures.metrics(name)
    reader, keys, dice = TextReader(), Keys(1_000_000), random.Random(3)
    assert_same(reader, body, keys)
    strictly = counted(monkeypatch)
    for _ in range(3):
        body = b"\n".join(advanced(line, dice) for line in body.split(b"\n"))
        assert_same(reader, body, keys)
    assert [] == strictly


def advanced(line: bytes, dice: random.Random) -> bytes:
    """Return a sample with another value, now and then."""
    key, _, value = line.rpartition(b" ")
    if line[:1] == b"#" or not value.isdigit() or dice.random() < 0.5:
        return line
    return key + b" " + str(int(value) + dice.randrange(100)).encode()
