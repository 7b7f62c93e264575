"""Records survive the way to a disk and back; what is cut or wrong is never read as a record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.core.frames import (
    FRAME_BYTES_MAX,
    MARK,
    Outgoing,
    body_bytes,
    frame_end,
    framed,
    next_frame,
    outgoing_of,
)
from schemas.errors import DecodeError
from schemas.topics import TopicName

outgoings = st.builds(
    Outgoing,
    topic=st.sampled_from(TopicName),
    cluster=st.text(max_size=20),
    key=st.text(max_size=20),
    value=st.binary(max_size=200) | st.just(b"in the middle " + MARK + b" of a value"),
    headers=st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=9)), max_size=3).map(tuple),
)
ONE = Outgoing(TopicName.SCRAPES, "c", "c/etcd/i", b"value", (("chunk", b"0/1"),))


def read(data: bytes) -> list[Outgoing]:
    """All records that are found in bytes."""
    found, at = [], next_frame(data, 0)
    while at < len(data):
        end = frame_end(data, at)
        assert end is not None
        found.append(outgoing_of(data[at:end]))
        at = next_frame(data, end)
    return found


@given(st.lists(outgoings, max_size=5))
def test_records_are_read_as_they_were_written(given: list[Outgoing]) -> None:
    assert given == read(b"".join(map(framed, given)))


@given(st.lists(outgoings, min_size=1, max_size=4), st.data())
def test_a_cut_costs_the_record_that_it_cuts_and_no_other(
    given: list[Outgoing], data: st.DataObject
) -> None:
    frames = [framed(one) for one in given]
    whole = b"".join(frames)
    at = data.draw(st.integers(0, len(whole) - 1))
    before = [one for n, one in enumerate(given) if sum(map(len, frames[: n + 1])) <= at]
    assert before == read(whole[:at])


def test_a_frame_that_is_cut_at_any_byte_is_none() -> None:
    frame = framed(ONE)
    for at in range(len(frame)):
        assert frame_end(frame[:at]) is None
        assert [ONE] == read(frame[:at] + frame)


@given(st.lists(outgoings, min_size=1, max_size=4), st.data())
def test_a_wrong_byte_costs_the_record_that_holds_it_and_no_other(
    given: list[Outgoing], data: st.DataObject
) -> None:
    frames = [framed(one) for one in given]
    number = data.draw(st.integers(0, len(frames) - 1))
    at = data.draw(st.integers(0, len(frames[number]) - 1))
    damaged = bytearray(frames[number])
    damaged[at] ^= data.draw(st.integers(1, 255))
    others = given[:number] + given[number + 1 :]
    assert others == read(b"".join(frames[:number]) + damaged + b"".join(frames[number + 1 :]))


def test_a_length_beyond_any_record_begins_none() -> None:
    huge = MARK + (FRAME_BYTES_MAX + 1).to_bytes(4, "big") + bytes(4)
    assert body_bytes(huge) is None
    assert body_bytes(framed(ONE)[:11]) is None
    assert len(framed(ONE)) - 12 == body_bytes(framed(ONE))


def test_a_whole_frame_without_a_record_of_ours_says_so() -> None:
    known = framed(ONE)
    with pytest.raises(DecodeError, match="no record of ours"):
        outgoing_of(known.replace(b"scrapes", b"another"))
