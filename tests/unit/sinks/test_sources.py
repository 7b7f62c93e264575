"""A source keeps its number, and two processes that claim at once agree afterwards."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SinkRefused
from sinks.core.sources import SOURCES_MAX, Claim, Identity, next_number, numbers

SCRAPES, AGAIN, LOGS = (
    Identity("k1", "planewatch.scrapes.v1", "id-1"),
    Identity("k1", "planewatch.scrapes.v1", "id-2"),
    Identity("k1", "planewatch.logs.v1", "id-3"),
)


def test_nothing_is_known_at_first() -> None:
    assert ({}, 1) == (numbers([]), next_number([]))


def test_a_topic_that_was_made_again_is_another_source() -> None:
    claims = [Claim(1, SCRAPES, 10, "a"), Claim(2, AGAIN, 20, "b")]
    assert ({SCRAPES: 1, AGAIN: 2}, 3) == (numbers(claims), next_number(claims))


def test_of_two_claims_to_a_number_the_first_counts() -> None:
    claims = [Claim(1, LOGS, 11, "b"), Claim(1, SCRAPES, 10, "a")]
    assert {SCRAPES: 1} == numbers(claims)  # logs must claim again
    assert {SCRAPES: 1, LOGS: 2} == numbers([*claims, Claim(2, LOGS, 12, "c")])


def test_a_source_that_two_processes_claimed_has_its_least_number() -> None:
    assert {SCRAPES: 1} == numbers([Claim(2, SCRAPES, 10, "a"), Claim(1, SCRAPES, 11, "b")])


def test_the_numbers_end() -> None:
    with pytest.raises(SinkRefused, match="another database"):
        next_number([Claim(SOURCES_MAX, LOGS, 1, "a")])


@given(
    st.lists(
        st.builds(
            Claim,
            st.integers(1, 4),
            st.sampled_from([SCRAPES, AGAIN, LOGS]),
            st.integers(0, 5),
            st.uuids().map(str),
        )
    ),
    st.randoms(),
)
def test_the_order_of_reading_does_not_matter_and_no_number_has_two_owners(
    claims: list[Claim], dice: Random
) -> None:
    found = numbers(claims)
    shuffled = [*claims]
    dice.shuffle(shuffled)
    assert found == numbers(shuffled)
    assert len({*found.values()}) == len(found)
