"""Ids of series: fixed bytes, any order, no empty values."""

import xxhash
from hypothesis import given
from hypothesis import strategies as st

from schemas.series import canonical_json, layout_id, other_labels, parse_labels, series_id

LABELS = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=6)


def test_the_id_is_xxh3_over_name_and_sorted_labels() -> None:
    expected = xxhash.xxh3_64_intdigest(b"up\xffcode\xfe200\xffverb\xfeGET")
    assert expected == series_id("up", {"verb": "GET", "code": "200"})


def test_the_bucket_edge_and_empty_labels_are_no_part_of_the_id() -> None:
    assert series_id("h", {"verb": "GET"}) == series_id("h", {"verb": "GET", "le": "1", "code": ""})


def test_the_layout_is_xxh3_over_little_endian_ids() -> None:
    assert xxhash.xxh3_64_intdigest(b"\x01" + bytes(7) + bytes(7) + b"\x02") == layout_id(
        [1, 2 << 56]
    )


def test_only_labels_without_a_column_are_in_the_json() -> None:
    assert '{"dry_run":"x","ä":"ö"}' == other_labels({"verb": "GET", "ä": "ö", "dry_run": "x"})


@given(LABELS)
def test_labels_survive_their_json(labels: dict[str, str]) -> None:
    assert {k: v for k, v in labels.items() if v} == parse_labels(canonical_json(labels))
