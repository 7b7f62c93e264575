"""Bytes of a growing file become whole lines, each once, however they come."""

from hypothesis import given
from hypothesis import strategies as st

from producers.core.tailing import Cut, cut


def test_a_line_counts_when_its_end_is_there() -> None:
    assert Cut([b"one", b"two"], 8, skipping=False) == cut(
        b"one\ntwo\nthr", skipping=False, line_bytes_max=100, ended=False
    )


def test_the_last_line_of_a_file_that_ended_needs_no_end() -> None:
    assert Cut([b"one", b"thr"], 7, skipping=False) == cut(
        b"one\nthr", skipping=False, line_bytes_max=100, ended=True
    )


def test_a_line_too_long_is_cut_and_its_rest_passed_over() -> None:
    first = cut(b"abcdefgh", skipping=False, line_bytes_max=4, ended=False)
    second = cut(b"ijkl", skipping=first.skipping, line_bytes_max=4, ended=False)
    third = cut(b"mn\nok\n", skipping=second.skipping, line_bytes_max=4, ended=False)

    assert [[b"abcd"], [], [b"ok"]] == [first.lines, second.lines, third.lines]
    assert 1 == first.too_long + second.too_long + third.too_long


def test_empty_lines_and_carriage_returns_are_none() -> None:
    found = cut(b"\r\none\r\n\n\n", skipping=False, line_bytes_max=100, ended=False)

    assert ([b"one"], 9) == (found.lines, found.consumed)


@given(
    lines=st.lists(st.binary(min_size=1, max_size=12).filter(lambda b: not set(b) & {10, 13})),
    sizes=st.lists(st.integers(1, 20), min_size=1),
)
def test_pieces_do_not_matter(lines: list[bytes], sizes: list[int]) -> None:
    """However a file grows and is read, its lines come once and in order."""
    data = b"".join(line + b"\n" for line in lines)
    found: list[bytes] = []
    offset = end = turn = 0
    while offset < len(data):
        end = min(len(data), end + sizes[turn % len(sizes)])
        turn += 1
        piece = cut(data[offset:end], skipping=False, line_bytes_max=100, ended=False)
        found += piece.lines
        offset += piece.consumed

    assert lines == found


@given(st.binary(max_size=200), st.integers(1, 30))
def test_no_line_is_longer_than_allowed(data: bytes, line_bytes_max: int) -> None:
    found = cut(data, skipping=False, line_bytes_max=line_bytes_max, ended=True)

    assert len(data) == found.consumed
    assert all(0 < len(line) <= line_bytes_max for line in found.lines)
