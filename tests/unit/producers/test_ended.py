"""A body that ends too early is noticed by what the one before had."""

import pytest

from producers.core.columns import Columns
from producers.core.ended import FAMILIES_MIN, Known, compared
from producers.core.exposition import parse
from producers.core.keys import Keys
from tests import fixtures

BODY = b"""\
# TYPE a counter
a{n="1"} 1
a{n="2"} 2
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 2
h_sum 3
h_count 2
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000
# TYPE r counter
r 4
# TYPE w gauge
w{name="x"} 1
w{name="y"} 2
"""
LINES = BODY.splitlines(keepends=True)
keys = Keys(1_000)


def read(body: bytes) -> Columns:
    return parse(body, keys, samples_max=1_000_000).columns


def after(*bodies: bytes) -> tuple[Known | None, list[str]]:
    """What is known after bodies, and what was wrong with each."""
    state: Known | None = None
    wrong = []
    for body in bodies:
        state, why = compared(state, read(body))
        wrong.append(why)
    return state, wrong


def test_the_same_again_and_the_first_are_well() -> None:
    assert ["", "", ""] == after(BODY, BODY, BODY.replace(b" 4", b" 5"))[1]


@pytest.mark.parametrize("count", range(1, len(LINES)))
def test_a_cut_at_any_line_is_noticed_where_two_families_are_gone(count: int) -> None:
    cut = b"".join(LINES[:count])
    there, left = (read(one).layout.first.keys() for one in (BODY, cut))
    assert bool(after(BODY, cut)[1][1]) == bool(left and len(there - left) >= FAMILIES_MIN)


def test_what_is_missing_is_named() -> None:
    cut = BODY[: BODY.index(b"# TYPE process")]
    assert (
        "it ends with h: process_start_time_seconds and 2 more are missing"
        == after(BODY, cut)[1][1]
    )


def test_a_body_that_comes_again_is_believed() -> None:
    cut = BODY[: BODY.index(b"# TYPE r")]
    state, wrong = after(BODY, cut, cut, cut, BODY, cut)
    assert [bool(one) for one in wrong] == [False, True, False, False, False, True]
    assert state and state.doubted


def test_a_whole_body_after_a_cut_one_is_well() -> None:
    cut, shorter = (BODY[: BODY.index(name)] for name in (b"# TYPE r", b"# TYPE process"))
    assert [False, True, False, True, True] == [
        bool(one) for one in after(BODY, cut, BODY, cut, shorter)[1]
    ]


def test_another_process_may_have_less() -> None:
    restarted = BODY[: BODY.index(b"# TYPE r")].replace(b" 1000", b" 2000")
    assert "" == after(BODY, restarted)[1][1]


def test_families_that_vanish_in_the_middle_or_the_last_one_alone_are_no_cut() -> None:
    for begin, end in ((b"# TYPE h", b"# TYPE r"), (b"# TYPE w", b"")):
        stop = BODY.index(end) if end else len(BODY)
        assert "" == after(BODY, BODY[: BODY.index(begin)] + BODY[stop:])[1][1]


def test_new_families_before_the_cut_do_not_hide_it() -> None:
    cut = b"# TYPE A gauge\nA 1\n" + BODY[: BODY.index(b"# TYPE r")]
    assert after(BODY, cut)[1][1]


@pytest.mark.parametrize("name", ["1_35-api-server", "1_35-etcd", "1_31-scheduler"])
def test_captures_cut_between_families(name: str) -> None:
    body = fixtures.metrics(name)
    state, _ = compared(None, read(body))
    starts = [at for at in range(len(body)) if body.startswith(b"\n# HELP ", at)]
    for at in starts[5:-2:40]:
        assert compared(state, read(body[: at + 1]))[1], body[at : at + 60]
