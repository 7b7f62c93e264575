"""What is worth most is kept, as whole families, and the same ones from scrape to scrape."""

from collections.abc import Mapping
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.core import bounded
from producers.core.bounded import NONE, OTHERS, Names, counted, left_out
from producers.core.families import EVERYTHING, Families
from producers.core.pieces import Piece
from producers.core.worth import ALERTS, INDICATORS, rank

ALERT, INDICATOR = "apiserver_request_total", "apiserver_response_sizes"
CORE, BULK = "my_own_total", "kubernetes_feature_enabled"
RANK = partial(rank, families=EVERYTHING)


def lost(samples: Mapping[str, int], limit: int, before: Names = NONE) -> set[str]:
    return set(left_out(samples, RANK, before, samples_max=limit))


def test_families_have_ranks_by_who_reads_them() -> None:
    assert [0, 1, 2, 3] == [RANK(one) for one in (ALERT, INDICATOR, CORE, BULK)]
    assert not ALERTS & INDICATORS
    for glob in (CORE, "kubernetes_*", "my_own_total_bucket"):
        asked = Families(everything=True, keep=(glob,))
        assert 0 in {rank(one, asked) for one in (CORE, BULK)}


def test_nothing_is_left_out_of_what_fits() -> None:
    assert set() == lost({BULK: 60, ALERT: 40}, 100)
    assert set() == lost({}, 100)


def test_what_is_worth_least_goes_first() -> None:
    samples = {BULK: 20, CORE: 20, INDICATOR: 20, ALERT: 20}
    assert {BULK} == lost(samples, 79)
    assert {BULK, CORE} == lost(samples, 60), "with a tenth to spare"
    assert {BULK, CORE, INDICATOR} == lost(samples, 40)
    assert set(samples) == lost(samples, 10)


def test_of_the_same_rank_what_comes_first_stays() -> None:
    assert {"b"} == lost({"a": 50, "b": 50}, 90)
    assert {"a"} == lost({"b": 50, "a": 50}, 90)


def test_a_family_without_room_leaves_it_to_those_behind() -> None:
    assert {ALERT} == lost({ALERT: 1_000, CORE: 50, BULK: 30}, 100)


def test_a_choice_stays_though_the_body_grows_and_shrinks() -> None:
    before = frozenset(lost({"a": 40, "b": 40, "c": 40}, 100))
    assert {"c"} == before
    for a, c in ((55, 40), (60, 30), (45, 60), (41, 11)):
        assert before == lost({"a": a, "b": 40, "c": c}, 100, before)


def test_a_choice_is_made_anew_where_what_is_kept_does_not_fit() -> None:
    assert {"b"} == lost({"a": 61, "b": 40, "c": 10}, 100, frozenset({"c"}))


def test_a_choice_is_made_anew_where_a_tenth_of_the_limit_is_won() -> None:
    assert {"c"} == lost({"a": 79, "b": 10, "c": 20}, 100, frozenset({"b", "c"}))
    assert {"b", "c"} == lost({"a": 79, "b": 9, "c": 20}, 100, frozenset({"b", "c"}))


def test_all_comes_back_where_it_fits_with_a_tenth_to_spare() -> None:
    before = frozenset({"b"})
    assert before == lost({"a": 90, "b": 5}, 100, before)
    assert set() == lost({"a": 85, "b": 5}, 100, before)


def test_further_families_are_left_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "FAMILIES_MAX", 2)
    pieces = [Piece(name, 0, 1, samples) for name, samples in (("a", 1), ("b", 2), ("c", 3))]
    samples = counted([*pieces, Piece("a", 1, 2, 4), Piece("d", 2, 3, 5), Piece("e", 3, 4, 0)])
    assert {"a": 5, "b": 2, OTHERS: 8} == samples
    assert {OTHERS} == lost(samples, 14)
    assert {OTHERS} == lost(samples, 12, frozenset({"b"}) | {OTHERS})
    assert set() == lost(samples, 15)


NAMES = st.sampled_from([ALERT, INDICATOR, CORE, BULK, "a", "b"])
BODIES = st.lists(st.dictionaries(NAMES, st.integers(1, 60), min_size=1), min_size=1, max_size=6)


@given(BODIES, st.integers(1, 120))
def test_what_is_kept_always_fits_and_nothing_is_lost_without_need(
    bodies: list[dict[str, int]], limit: int
) -> None:
    before: Names = NONE
    for samples in bodies:
        before = left_out(samples, RANK, before, samples_max=limit)
        total = sum(samples.values())
        kept = total - sum(samples.get(one, 0) for one in before)
        assert kept <= limit
        assert total > limit * 0.9 - 1 or not before
