"""What is in the table is enough, and no more is kept."""

import msgspec
import pytest

from schemas.errors import DecodeError
from schemas.topics import TopicName
from streams.core import state
from streams.core.facts.steps import FactsState, StepOffsets
from streams.core.judging import Budget
from streams.core.watermark import WatermarkState

MINUTE = 60_000
REWIND = 11 * MINUTE


encode = msgspec.msgpack.encode


def point(number: int, newest_ms: int) -> bytes:
    return encode(
        state.RewindPoint(
            number=number,
            newest_ms=newest_ms,
            read_from=number,
            logs=dict.fromkeys(state.INPUTS, "log"),
            received=dict.fromkeys(state.INPUTS, number),
            watermark=WatermarkState(None, 0, 0, []),
            facts=FactsState(None, {}, [], []),
            steps=[StepOffsets(newest_ms, number, number)],
        )
    )


def position(
    points: int, newest_ms: int, version: int = state.VERSION, evaluated: int = 9
) -> bytes:
    return encode(
        state.Position(
            version=version,
            epoch=1,
            log="log",
            evaluated=evaluated,
            newest_ms=newest_ms,
            aligned={},
            steps=[],
            budget=Budget(),
            points=points,
        )
    )


def noted(minutes: int) -> dict[str, bytes]:
    """A point each minute, in its place, and the position half a minute later."""
    kinds = {state.point_kind(n, REWIND): point(n, n * MINUTE) for n in range(minutes + 1)}
    return kinds | {state.POSITION: position(minutes, minutes * MINUTE + MINUTE // 2)}


def logs(end: int = 1_000, name: str = "log") -> dict[TopicName, state.Log]:
    return dict.fromkeys(state.INPUTS, state.Log(name, end))


def stored(kinds: dict[str, bytes]) -> state.Stored:
    found = state.stored(kinds)
    assert found is not None
    return found


def saved(kinds: dict[str, bytes]) -> state.Saved:
    return stored(kinds).saved(REWIND, logs())


@pytest.mark.parametrize(("minutes", "number"), [(0, 0), (5, 0), (12, 1), (30, 19), (500, 489)])
def test_a_replay_begins_at_the_newest_point_that_is_old_enough(minutes: int, number: int) -> None:
    found = saved(noted(minutes))

    assert number == found.point.number


def test_points_are_kept_as_long_as_the_rewind_needs_them() -> None:
    assert 13 == state.points_kept(REWIND)
    assert 13 + 1 == len(noted(100))


@pytest.mark.parametrize(
    ("rewind_s", "kept", "note_s"), [(60, 3, 60), (660, 13, 60), (3_960, 13, 360)]
)
def test_a_longer_rewind_needs_no_more_points(rewind_s: int, kept: int, note_s: int) -> None:
    assert (kept, note_s * 1_000) == (
        state.points_kept(rewind_s * 1_000),
        state.note_ms(rewind_s * 1_000),
    )


def test_steps_after_the_point_are_known_in_order() -> None:
    found = saved(noted(30))

    assert [n * MINUTE for n in range(20, 31)] == [step.end_ms for step in found.steps]


def test_a_point_beyond_the_position_was_not_reached() -> None:
    kinds = noted(5) | {state.point_kind(6, REWIND): point(6, 0)}

    found = saved(kinds)

    assert 0 == found.point.number


def test_nothing_saved_is_nothing() -> None:
    assert state.stored({}) is None
    assert state.stored({state.alert_kind("a1"): b""}) is None


@pytest.mark.parametrize(
    "kinds",
    [
        {state.POSITION: b"\xc1"},
        {state.POSITION: position(0, 0)},
        {state.POSITION: position(0, 0), state.point_kind(0, REWIND): point(0, 0)}
        | {state.alert_kind("a1"): b"[]"},
        {state.POSITION: position(0, 0, version=3), state.point_kind(0, REWIND): point(0, 0)},
    ],
    ids=["garbage", "no point", "an alert of another shape", "a newer release"],
)
def test_a_state_that_cannot_be_used_is_told(kinds: dict[str, bytes]) -> None:
    with pytest.raises(DecodeError):
        state.stored(kinds)


def test_a_log_that_was_cut_is_read_from_a_point_that_it_still_holds() -> None:
    found = stored(noted(30) | {state.POSITION: position(30, 30 * MINUTE, evaluated=30)})
    assert [] == [*found.faults(logs())]

    (fault,) = found.faults(logs(18))
    cut = found.saved(REWIND, logs(19))

    assert "scrapes end at 18, but more was evaluated: Kafka lost acknowledged records" == fault
    assert (18, 18) == (cut.position.evaluated, cut.point.number)


def test_a_log_that_was_cut_before_all_points_is_read_from_its_end() -> None:
    cut = stored(noted(30)).saved(REWIND, logs(3))

    assert (2, 3) == (cut.position.evaluated, cut.point.read_from)


def test_a_log_that_was_made_anew_is_read_from_its_beginning() -> None:
    found = stored(noted(30))
    other = logs(1_000, "other")

    faults, anew = [*found.faults(other)], found.saved(REWIND, other)

    assert "scrapes was made anew: it is read from its beginning" in faults
    assert ("other", -1, 30) == (anew.position.log, anew.position.evaluated, anew.point.number)
    assert {-1} == {*anew.point.received.values()}
    assert 0 == anew.point.read_from
    assert () == anew.steps


def test_facts_of_a_topic_that_was_made_anew_are_read_again_and_others_are_not() -> None:
    mixed = logs() | {TopicName.LOGS: state.Log("other", 50)}
    found = stored(noted(30)).saved(REWIND, mixed)

    assert {TopicName.LOGS: -1} == {t: o for t, o in found.point.received.items() if o != 19}


def test_keys_go_back_to_clusters_and_kinds() -> None:
    items = [(state.table_key("a.b", "position"), b"1"), (state.table_key("c", "rewind-3"), b"2")]

    assert {"a.b": {"position": b"1"}, "c": {"rewind-3": b"2"}} == state.by_cluster(items)
