"""The watch against an API server that fails in every way: within budget, and complete afterwards.

The clock runs fast: a minute of event time takes a second.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.budget import Budgets
from producers.watch import Watches, start_watches
from schemas.clock import Clock, ClockWriter, wall_ms
from schemas.errors import BrokerError, ConfigError
from schemas.metrics import Metric
from schemas.records import Change, Op
from schemas.settings import ClusterSettings, Settings
from schemas.topics import TopicName
from tests.fakes.apiserver import FakeApi, Handler, event, serving, status
from tests.fakes.embedded import Embedded

SPEED = 60.0
WAIT_S = 10.0
MINUTE_S = 60 / SPEED
REQUESTS_MAX = 25  # of a minute on errors: far below the budget of 70
LISTS_MAX = 4  # of a minute of 410: at start, at once, and every 30 s
BURST_MAX = 70  # 1 a second and a burst of 10

Query = dict[str, str]
Failure = Callable[[Handler, Query], None]


class Watching:
    """A watch of the fake server, started and stopped as the stage does."""

    def __init__(self, folder: Path, api: FakeApi) -> None:
        self.api = api
        self.embedded = Embedded(folder / "data")
        self._kubeconfig = folder / "kubeconfig"
        self._kubeconfig.write_text(kubeconfig(api.url))
        clock_file = folder / "clock"
        self.writer = ClockWriter(clock_file, event_ms=wall_ms(), speed=SPEED)
        self._clock = Clock(clock_file)
        self._stop = threading.Event()
        self._watches: Watches | None = None

    def start(self) -> None:
        cluster = ClusterSettings(id="rehearsal", kubeconfig=self._kubeconfig)
        settings = Settings(data=self.embedded.settings.data, clusters=[cluster])
        self._stop = threading.Event()
        telemetry = self.embedded.telemetry
        budgets = Budgets(settings.producers, self._clock, telemetry)
        self._watches = start_watches(
            settings,
            self.embedded.sender,
            clock=self._clock,
            telemetry=telemetry,
            budgets=budgets,
            stop=self._stop,
        )

    def stop(self) -> float:
        """Stop; return how long that took."""
        began_s = time.monotonic()
        if self._watches:
            self.embedded.sender.flush(WAIT_S)
            began_s = time.monotonic()
            self._stop.set()
            self._watches.join(WAIT_S)
            self._watches = None
        return time.monotonic() - began_s

    def healthy(self) -> bool:
        """Raise what ended a thread."""
        assert self._watches
        self._watches.check()
        return True

    def changes(self, enough: Callable[[list[Change]], bool]) -> list[Change]:
        return self.embedded.read(TopicName.CHANGES, Change, enough)

    def until(self, op: Op, name: str, **spec: Any) -> list[Change]:
        """All changes until one of this operation, name and spec has arrived."""
        return self.changes(
            lambda found: any(
                (one.op, one.name) == (op, name) and (not spec or one.object.get("spec") == spec)
                for one in found
            )
        )


@pytest.fixture
def api() -> Iterator[FakeApi]:
    api = FakeApi()
    with serving(api):
        yield api


@pytest.fixture
def watching(tmp_path: Path, api: FakeApi) -> Iterator[Watching]:
    watching = Watching(tmp_path, api)
    yield watching
    watching.stop()
    watching.embedded.close()


def kubeconfig(url: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


def until(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not fact():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


# --- a healthy server ----------------------------------------------------------------------------


def test_a_snapshot_and_then_every_change(watching: Watching) -> None:
    watching.api.put("a", renewTime="1")
    watching.start()
    watching.until(Op.RESYNC, "a")
    watching.api.put("a", renewTime="2")
    watching.api.put("b", renewTime="1")
    watching.api.delete("a")

    found = watching.until(Op.DELETED, "a")

    assert [("a", Op.RESYNC), ("a", Op.MODIFIED), ("b", Op.ADDED), ("a", Op.DELETED)] == [
        (one.name, one.op) for one in found
    ]
    (difference,) = found[1].diff
    assert ("spec.renewTime", "1", "2") == (difference.path, difference.old, difference.new)
    assert "managedFields" not in found[0].object["metadata"]
    assert ("Lease", "coordination.k8s.io/v1") == (found[0].kind, found[0].api_version)
    assert [False, True] == [one.watch for one in watching.api.asked]


def test_a_snapshot_comes_in_pages(watching: Watching) -> None:
    watching.api.page_objects = 2
    for name in "abcde":
        watching.api.put(name)
    watching.start()

    assert ["a", "b", "c", "d", "e"] == [
        one.name for one in watching.changes(lambda found: len(found) == 5)
    ]
    assert 3 == watching.api.count(watch=False)


def test_requests_say_who_asks_and_for_how_long(watching: Watching) -> None:
    watching.start()
    until(lambda: watching.api.count(watch=True) == 1)

    listed, watched = watching.api.asked
    assert listed.agent.startswith("planewatch/") and listed.agent.endswith(" (watch)")
    assert {"limit": "500"} == listed.query
    assert 240 <= int(watched.query["timeoutSeconds"]) <= 300
    assert "true" == watched.query["allowWatchBookmarks"]
    assert "1000" == watched.query["resourceVersion"]


def test_requests_are_counted_by_owner_and_answer(watching: Watching) -> None:
    watching.start()
    until(lambda: watching.api.count(watch=True) == 1)

    until(
        lambda: (
            watching.embedded.telemetry.value(
                Metric.REQUESTS, cluster="rehearsal", owner="watch", code="200"
            )
            == 2
        )
    )


def test_a_restart_goes_on_from_what_kafka_has(watching: Watching) -> None:
    watching.api.put("a", n=1)
    watching.start()
    watching.until(Op.RESYNC, "a")
    watching.api.put("a", n=2)
    watching.until(Op.MODIFIED, "a", n=2)
    watching.stop()
    watching.api.put("a", n=3)
    watching.api.put("b")
    watching.api.delete("b")
    watching.start()

    found = watching.until(Op.DELETED, "b")

    assert 1 == watching.api.count(watch=False), "no second LIST"
    assert [None, 1, 2] == [one.diff[0].old if one.diff else None for one in found[:3]]
    assert [Op.RESYNC, Op.MODIFIED, Op.MODIFIED, Op.ADDED, Op.DELETED] == [one.op for one in found]


def test_a_bookmark_moves_the_version_of_the_next_watch(watching: Watching) -> None:
    def one_bookmark(handler: Handler, _: Query) -> None:
        handler.stream(iter([watching.api.bookmark()]))

    watching.api.watches = lambda handler, query: handler.stream(iter([]))
    watching.start()
    until(lambda: watching.api.count(watch=True) == 1)
    watching.api.put("a")
    watching.api.watches = one_bookmark
    asked = watching.api.count(watch=True)
    until(lambda: watching.api.count(watch=True) >= asked + 2)

    assert "1001" == watching.api.asked[-1].query["resourceVersion"]


def test_it_stops_at_once_though_the_watch_is_silent(watching: Watching) -> None:
    watching.start()
    until(lambda: watching.api.count(watch=True) == 1)
    time.sleep(0.1)

    assert watching.stop() < 1.0


def test_a_watch_that_ended_says_what_ended_it(watching: Watching) -> None:
    watching.start()
    until(lambda: watching.api.count(watch=True) == 1)
    assert watching.healthy()
    watching.embedded.sender.close()
    watching.api.put("a")

    with pytest.raises(BrokerError, match="after the sender was closed"):
        until(lambda: not watching.healthy())


# --- failures: quiet while they last, complete afterwards -----------------------------------------


def gone_as_status(handler: Handler, _: Query) -> None:
    handler.json(410, status(410, "Expired", "too old resource version"))


def gone_in_stream(handler: Handler, _: Query) -> None:
    handler.stream(iter([event("ERROR", status(410, "Expired", "too old"))]))


def closed_at_once(handler: Handler, _: Query) -> None:
    handler.stream(iter([]))


def cut_off(handler: Handler, _: Query) -> None:
    handler.begin()
    handler.chunk(b'{"type":"MODIF')
    handler.close_connection = True


def garbage(handler: Handler, _: Query) -> None:
    handler.stream(iter([b"<html>Bad Gateway</html>\n"]))


def half_open(handler: Handler, _: Query) -> None:
    handler.begin()
    handler.hang()


def drips(handler: Handler, _: Query) -> None:
    handler.begin()
    while handler.server.alive():
        handler.chunk(b" ")
        time.sleep(0.02)


def never_answered(handler: Handler, _: Query) -> None:
    handler.hang()


def answered(code: int) -> Failure:
    def answer(handler: Handler, _: Query) -> None:
        handler.json(code, status(code, "Reason", "message"))

    return answer


def throttled(handler: Handler, _: Query) -> None:
    handler.json(429, status(429, "TooManyRequests", "storage"), Retry_After="20")


FAILURES: dict[str, tuple[Failure, bool, int]] = {
    # name: what the watch gets, whether a LIST must follow, requests allowed in a minute
    "gone_as_status": (gone_as_status, True, 7),
    "gone_in_stream": (gone_in_stream, True, 7),
    "closed_at_once": (closed_at_once, False, REQUESTS_MAX),
    "cut_off": (cut_off, False, REQUESTS_MAX),
    "garbage": (garbage, False, REQUESTS_MAX),
    "half_open": (half_open, False, 2),
    "drips": (drips, False, 2),
    "never_answered": (never_answered, False, 2),
    "unauthorized": (answered(401), False, 2),
    "forbidden": (answered(403), False, 2),
    "throttled": (throttled, False, 5),
    "server_error": (answered(500), False, REQUESTS_MAX),
    "unavailable": (answered(503), False, REQUESTS_MAX),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_watch_is_quiet_and_misses_nothing(watching: Watching, name: str) -> None:
    failure, lists, requests_max = FAILURES[name]
    for lease in ("kept", "deleted"):
        watching.api.put(lease, n=1)
    watching.api.watches = failure
    watching.start()
    watching.until(Op.RESYNC, "kept")
    time.sleep(MINUTE_S)
    asked = len(watching.api.asked)
    listed = watching.api.count(watch=False)

    watching.api.put("kept", n=2)
    watching.api.put("added", n=1)
    watching.api.delete("deleted")
    if lists:
        watching.api.forget()
    watching.api.recover()
    found = watching.changes(lambda changes: state_of(changes) == {"kept": 2, "added": 1})

    assert asked <= 1 + requests_max, "LIST at start, and the watches of a minute"
    assert listed == 1 if not lists else 2 <= listed <= LISTS_MAX
    assert Op.DELETED in {one.op for one in found if one.name == "deleted"}


def state_of(changes: list[Change]) -> dict[str, int]:
    """What a reader of the topic believes to exist."""
    state: dict[str, int] = {}
    for one in changes:
        state.pop(one.name, None)
        if one.op is not Op.DELETED:
            state[one.name] = one.object["spec"]["n"]
    return state


@pytest.mark.parametrize(
    "name", ["server_error", "throttled", "forbidden", "garbage", "cut_off", "drips"]
)
def test_a_failing_list_is_quiet_and_comes_to_its_end(watching: Watching, name: str) -> None:
    failure, _, requests_max = FAILURES[name]
    watching.api.put("a", n=1)
    watching.api.lists = failure
    watching.start()
    time.sleep(MINUTE_S)
    asked = len(watching.api.asked)
    watching.api.recover()

    watching.until(Op.RESYNC, "a")
    assert asked <= requests_max


def test_a_page_that_expired_begins_the_snapshot_anew(watching: Watching) -> None:
    api = watching.api
    api.page_objects = 1
    for name in "ab":
        api.put(name, n=1)

    def expired_once(handler: Handler, query: Query) -> None:
        if "continue" in query and api.count(watch=False) == 2:
            handler.json(410, status(410, "Expired", "The provided continue parameter is too old"))
        else:
            handler.json(200, api.list_page(query))

    api.lists = expired_once
    watching.start()

    assert {"a": 1, "b": 1} == state_of(watching.until(Op.RESYNC, "b"))
    assert ["a", "b"] == [one.name for one in watching.until(Op.RESYNC, "b")]


def test_events_and_then_the_end_again_and_again_stay_within_the_budget(
    watching: Watching,
) -> None:
    """Each event is progress, so no pause grows: the budget of the cluster is what holds."""

    def one_event(handler: Handler, _: Query) -> None:
        watching.api.put("a", n=len(watching.api.asked))
        version = int(watching.api.asked[-1].query["resourceVersion"])
        handler.stream(iter([next(watching.api.events(version, lambda: True))]))

    watching.api.put("a", n=0)
    watching.api.watches = one_event
    watching.start()
    time.sleep(MINUTE_S)

    assert 20 <= len(watching.api.asked) <= BURST_MAX + 5


def test_a_server_that_is_away_is_asked_rarely_and_found_again(tmp_path: Path) -> None:
    api = FakeApi()
    with serving(api):
        port = api.url.rsplit(":", 1)[1]
    watching = Watching(tmp_path, api)
    try:
        watching.start()
        time.sleep(MINUTE_S)
        refused = watching.embedded.telemetry.value(
            Metric.REQUESTS, cluster="rehearsal", owner="watch", code="failed"
        )
        assert 1 <= refused <= REQUESTS_MAX
    finally:
        watching.stop()
        watching.embedded.close()
    assert port in api.url


def test_a_kubeconfig_that_cannot_be_used_is_a_configuration_error(
    watching: Watching, tmp_path: Path
) -> None:
    (tmp_path / "kubeconfig").write_text("{}")

    with pytest.raises(ConfigError, match=r"clusters\.0\.kubeconfig"):
        watching.start()
