"""The pieces of a body are all of it; each sample is counted for the family that it is read as."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.core import pieces
from producers.core.bounded import counted, without
from producers.core.exposition import parse
from producers.core.keys import Keys
from producers.core.pieces import NO_FAMILY, Piece, protobuf_pieces, text_pieces
from producers.core.rows import Row
from schemas.records import Kind
from tests import fixtures
from tests.delimited import delimited
from tests.mutations import PIECES, TEXT_KINDS, mutated
from tests.unit.producers.test_mutations import TEXT

CAPTURES = ("1_35-api-server", "1_31-api-server", "1_35-etcd", "1_35-scheduler")
PLAIN = b'a 1\na_sum 2\nb{x="y"} 3\na 4\n'


def samples(rows: tuple[Row, ...]) -> Counter[str]:
    """How many samples the rows of each family were folded from."""
    found: Counter[str] = Counter()
    for row in rows:
        whole = row.series.kind in {Kind.HISTOGRAM, Kind.SUMMARY}
        found[row.series.metric] += 2 + len(row.buckets or ()) if whole else 1
    return found


def as_read(body: bytes) -> Counter[str]:
    return samples(parse(body, Keys(10**6), samples_max=10**6).rows)


def assert_whole(body: bytes, found: list[Piece]) -> None:
    places = [0, *(place for one in found for place in (one.start, one.stop)), len(body)]
    assert places == sorted(places)
    assert places[0::2] == places[1::2]
    assert all(one.samples == 0 for one in found if one.family == NO_FAMILY)


@pytest.mark.parametrize("name", CAPTURES)
def test_families_of_real_servers_are_counted_alike_in_both_formats(name: str) -> None:
    text = fixtures.metrics(name)
    for body, cut in ((text, text_pieces), (delimited(text), protobuf_pieces)):
        found = [*cut(body)]
        assert_whole(body, found)
        assert as_read(text) == counted(found)
        assert len(found) == len(as_read(text)), "nothing is looked at line by line"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", {}),
        (b"# HELP a b\n# TYPE a counter\n", {}),
        (PLAIN, {"a": 2, "a_sum": 1, "b": 1}),
        (b"# HELPS\n x 1\n", {"x": 1}),  # a comment of no family
        (b"# TYPE a counter\n" + PLAIN, {"a": 2, "a_sum": 1, "b": 1}),
        (b"# TYPE a summary\n" + PLAIN, {"a": 3, "b": 1}),
        (b"# TYPE a wrong\n" + PLAIN, {"a": 2, "a_sum": 1, "b": 1}),
        (b"# TYPE a gauge\na 1\na_more 2\n", {"a": 1, "a_more": 1}),
        (b"# TYPE a gauge\n# TYPE b summary\nb_sum 1\na 1\nb_count 2\n", {"b": 2, "a": 1}),
        (b"# TYPE a gauge\na 1\n# a remark\na{} 1\n\na 2\n", {"a": 3}),
        (b"#  TYPE   a summary\n  a_sum 1\n\ta_count 2\n", {"a": 2}),
        (b"# TYPE a gauge\r\na 1\r\n# TYPE b gauge\r\nb 1\r\n", {"a": 1, "b": 1}),
        (b'{"a.b",x="y"} 1\n{"a.b"} 2\n{} 3\n', {"a.b": 2}),
        (b"# TYPE a gauge\na 1\na 2\na 3", {"a": 3}),
        (b"?\n# TYPE a gauge\n!\na 1\n", {"a": 1}),
    ],
)
def test_whatever_stands_in_a_line_it_is_counted_for_its_family(
    body: bytes, expected: dict[str, int]
) -> None:
    found = [*text_pieces(body)]
    assert_whole(body, found)
    assert expected == counted(found)


def test_a_family_whose_name_begins_like_another_is_none_of_its_samples() -> None:
    body = b"# TYPE a histogram\n" + b'a_bucket{le="+Inf"} 1\na_sum 1\na_count 1\na_counts 1\n'
    assert {"a": 3, "a_counts": 1} == counted(text_pieces(body))


def test_types_beyond_a_maximum_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "KINDS_MAX", 1)
    body = b"# TYPE a summary\na_sum 1\n# TYPE b summary\nb_sum 1\n"
    assert {"a": 1, "b_sum": 1} == counted(text_pieces(body))


def test_what_is_no_family_of_protobuf_is_the_last_piece() -> None:
    body = delimited(TEXT)
    for end in range(len(body)):
        found = [*protobuf_pieces(body[:end])]
        assert_whole(body[:end], found)
    assert NO_FAMILY == [*protobuf_pieces(body + b"\xff" * 9)][-1].family
    assert not any(one.family == NO_FAMILY for one in protobuf_pieces(body))


EDITS = st.lists(
    st.tuples(st.sampled_from(TEXT_KINDS), st.integers(0, 4_000), st.integers(0, 40 * len(PIECES))),
    max_size=3,
)


@settings(deadline=None, max_examples=600)
@given(EDITS)
def test_pieces_of_any_body_are_all_of_it_and_count_all_that_is_read(
    edits: list[tuple[str, int, int]],
) -> None:
    body = mutated(TEXT, edits)
    for one, cut in ((body, text_pieces), (delimited(body), protobuf_pieces)):
        found = [*cut(one)]
        assert_whole(one, found)
        assert one == without(one, found, frozenset(piece.family for piece in found))
    read = parse(body, Keys(1000), samples_max=1000)
    assert read.samples <= sum(counted(text_pieces(body)).values())


@settings(deadline=None, max_examples=200)
@given(st.permutations(TEXT.splitlines(keepends=True)))
def test_lines_in_any_order_are_counted_for_the_families_that_they_are_read_as(
    lines: list[bytes],
) -> None:
    # Types first: what was counted before its type was declared is another family by then.
    types = [line for line in lines if line[:6] == b"# TYPE"]
    body = b"".join([*types, *(line for line in lines if line not in types)])
    read = parse(body, Keys(1000), samples_max=1000)
    found = counted(text_pieces(body))
    assert {row.series.metric for row in read.rows} == set(found)
    assert read.samples == sum(found.values())
