"""What follows the end of a request: the table, the pauses, and how ends are told apart."""

import gzip
import itertools
from pathlib import Path

import pytest

from producers.core.watching import (
    DENIED_MS,
    RELIST_MS,
    TABLE,
    End,
    Event,
    Phase,
    Signal,
    Watching,
    after,
    list_query,
    read_event,
    read_failure,
    read_page,
    watch_query,
)
from schemas.errors import DecodeError

ALMOST = 1 - 1e-9
LEASE = b'{"metadata":{"name":"a","uid":"u","resourceVersion":"7"}}'


def test_every_end_has_one_answer_in_every_phase() -> None:
    impossible = {(Phase.LISTING, Signal.ENDED), (Phase.WATCHING, Signal.LISTED)}

    assert set(itertools.product(Phase, Signal)) - impossible == set(TABLE)


def test_only_a_version_that_is_gone_leads_from_a_watch_to_a_list() -> None:
    lists = {
        signal
        for (phase, signal), (then, _) in TABLE.items()
        if (phase, then) == (Phase.WATCHING, Phase.LISTING)
    }

    assert {Signal.GONE} == lists


def test_pauses_double_with_failures_in_a_row() -> None:
    state, pauses = Watching(Phase.WATCHING), []
    for _ in range(7):
        state, pause_ms = after(state, End(Signal.FAILED), ALMOST)
        pauses.append(pause_ms)

    assert [799, 1_599, 3_199, 6_399, 12_799, 25_599, 29_999] == pauses


@pytest.mark.parametrize(
    ("end", "failures"),
    [
        (End(Signal.ENDED, events=1), 1),
        (End(Signal.ENDED, lasted_ms=10_000), 1),
        (End(Signal.ENDED, lasted_ms=9_999), 6),
        (End(Signal.SILENT, lasted_ms=90_000), 1),
    ],
)
def test_only_progress_makes_the_pause_short_again(end: End, failures: int) -> None:
    assert failures == after(Watching(Phase.WATCHING, 5), end, 0.5)[0].failures


def test_a_watch_that_is_gone_again_and_again_lists_once_at_once_and_then_rarely() -> None:
    state, pauses = Watching(Phase.WATCHING), []
    for _ in range(4):
        state, pause_ms = after(state, End(Signal.GONE), 0.0)
        pauses.append(pause_ms)
        state, nothing = after(state, End(Signal.LISTED), ALMOST)
        assert 0 == nothing

    assert [0, RELIST_MS, RELIST_MS, RELIST_MS] == pauses


def test_the_server_is_obeyed_when_it_says_how_long() -> None:
    assert 17_000 == after(Watching(Phase.LISTING), End(Signal.THROTTLED, retry_after_s=17), 0.5)[1]
    assert 300_000 == after(Watching(Phase.LISTING), End(Signal.FAILED, retry_after_s=9e9), 0.5)[1]


def test_who_lacks_rights_asks_once_a_minute() -> None:
    assert after(Watching(Phase.WATCHING), End(Signal.DENIED), 0.0)[1] >= DENIED_MS


@pytest.mark.parametrize(
    ("code", "body", "expected"),
    [
        (410, b'{"reason":"Expired","code":410}', Signal.GONE),
        (410, b"<html>", Signal.GONE),
        (504, b'{"message":"Timeout: Too large resource version: 9, current: 5"}', Signal.GONE),
        (429, b"{}", Signal.THROTTLED),
        (401, b"{}", Signal.DENIED),
        (403, b"{}", Signal.DENIED),
        (500, b"{}", Signal.FAILED),
        (503, b"\xff\x00", Signal.FAILED),
        (404, b"{}", Signal.FAILED),
    ],
)
def test_an_answer_is_told_by_its_status(code: int, body: bytes, expected: Signal) -> None:
    assert expected == read_failure(code, body, "").signal


def test_the_longer_of_two_waits_is_taken() -> None:
    body = b'{"details":{"retryAfterSeconds":3}}'

    assert 3 == read_failure(429, body, "1").retry_after_s
    assert 9 == read_failure(429, body, "9").retry_after_s
    assert 3 == read_failure(429, body, "Wed, 21 Oct 2026 07:28:00 GMT").retry_after_s


def test_events_and_bookmarks_move_the_version() -> None:
    event = read_event(b'{"type":"ADDED","object":' + LEASE + b"}")
    mark = read_event(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"99"}}}')

    assert isinstance(event, Event) and isinstance(mark, Event)
    assert ("ADDED", "7", "BOOKMARK", "99") == (event.type, event.version, mark.type, mark.version)


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"[]",
        b"{}",
        b'{"type":"ADDED"}',
        b'{"type":5,"object":{}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a","uid":"u"}}}',
        b'{"type":"BOOKMARK","object":{}}',
        b'{"type":"ADDED","object":{"metadata":[]}}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(DecodeError):
        read_event(line)


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"{}", b'{"metadata":{"resourceVersion":"5"},"items":[{}]}', b'{"metadata":5}'],
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        read_page(body)


def test_pages_go_on_where_they_ended() -> None:
    page = read_page(
        b'{"metadata":{"resourceVersion":"5","continue":"abc"},"items":[' + LEASE + b"]}"
    )

    assert ("5", 1, "abc") == (page.version, len(page.items), page.next_page)
    assert {"limit": "500", "continue": "abc"} == list_query(page.next_page)
    assert {"limit": "500"} == list_query("")


def test_a_watch_asks_for_bookmarks_and_for_an_end() -> None:
    shortest, longest = (int(watch_query("5", at)["timeoutSeconds"]) for at in (0.0, ALMOST))

    assert (240, 300) == (shortest, longest)
    assert "true" == watch_query("5", 0.0)["allowWatchBookmarks"]


def test_the_ends_that_a_real_server_gives_are_told_apart(shared_fixtures: Path) -> None:
    def captured(name: str) -> bytes:
        return gzip.decompress((shared_fixtures / "cluster" / "http" / f"{name}.gz").read_bytes())

    in_stream = read_event(captured("410-watch-after-restart.jsonl").strip())
    assert isinstance(in_stream, End)
    assert Signal.GONE == in_stream.signal
    assert Signal.GONE == read_failure(410, captured("410-list-continue-old.json"), "").signal
    assert Signal.GONE == read_failure(504, captured("504-list-rv-in-the-future.json"), "").signal
    assert Signal.THROTTLED == read_failure(429, captured("quorum-lost-list.json"), "30").signal
    assert 3 == len(read_page(captured("leases-kube-system.json")).items)
