"""Nobody was silent whom the worker could not hear."""

from schemas.arrow import SCRAPE_SCHEMA, empty_rows
from schemas.records import Outcome, Status
from streams.core.context import Context
from streams.core.hearing import DEAF_MS, Hearing, Now
from streams.core.rules.overrides import RuleSets
from streams.core.samples import Scrape
from tests.shards import Life, Log, requests, rules

T = 1_700_000_010_000
S = 1_000


def at(s: float, *, event_s: float | None = None) -> Now:
    return Now(int(s * S), T + int((s if event_s is None else event_s) * S))


def test_everything_was_heard_up_to_when_the_end_was_asked_for_that_was_read() -> None:
    hearing = Hearing()
    assert hearing.moment(99) is None

    hearing.asked(at(1), 7)
    hearing.asked(at(2), 9)  # the first question is still open
    assert hearing.moment(5) is None
    moment = hearing.moment(6)

    assert moment is not None
    assert at(1) == moment.now
    assert hearing.moment(6) is None


def test_the_worker_was_deaf_where_two_moments_are_far_apart() -> None:
    hearing = Hearing()
    deaf = []
    for ms in (0, 1_000, 1_000 + DEAF_MS, 1_001 + 2 * DEAF_MS, 1_002 + 2 * DEAF_MS):
        hearing.asked(Now(ms, 0), 0)
        moment = hearing.moment(-1)
        assert moment is not None
        deaf.append(moment.deaf)

    assert [True, False, False, True, False] == deaf


class Listener:
    """A worker that takes one scrape, 15 s interval, and listens."""

    def __init__(self) -> None:
        self.life, self.log = Life(), Log()
        self.log.scrape(requests([1], T, interval_ms=15_000))
        (entry,) = self.log.entries
        self.life.shard.on_record(entry.topic, entry.offset, entry.value, at(0))

    def listen(self, s: float, *, unread: int = 0) -> list[float]:
        """Ask, and return the ticks of silence, in seconds after T."""
        self.life.shard.hearing.asked(at(s), 1 + unread)
        return [(one.tick_ms - T) / S for one in self.life.shard.silent()]


def test_a_target_is_silent_when_all_was_heard_for_three_intervals() -> None:
    one = Listener()

    assert [] == [tick for s in range(45) for tick in one.listen(s)]
    assert [45.0] == one.listen(46)
    assert [] == one.listen(47)  # it is written: said once


def test_a_worker_with_a_backlog_declares_nobody_silent() -> None:
    one = Listener()

    assert [] == [tick for s in range(300) for tick in one.listen(s, unread=s)]


def test_silence_begins_anew_after_the_worker_was_deaf() -> None:
    one = Listener()
    assert [] == [tick for s in range(40) for tick in one.listen(s)]

    assert [] == [tick for s in range(600, 645) for tick in one.listen(s)]  # a pause, an outage
    assert [45.0] == one.listen(645)


def test_what_the_worker_writes_itself_is_no_sign_of_life() -> None:
    one = Listener()
    for s in range(47):
        one.listen(s)
    one.log.scrape(requests([], T + 45_000, outcome=Outcome.SILENT, interval_ms=15_000))
    entry = one.log.entries[-1]
    one.life.shard.on_record(entry.topic, entry.offset, entry.value, at(47))

    ticks = []
    for s in range(47, 100):
        one.life.shard.hearing.asked(at(s), 2)
        ticks += [(silence.tick_ms - T) / S for silence in one.life.shard.silent()]
    assert [90.0] == ticks


def test_an_alert_of_a_dead_fleet_becomes_unknown_and_ends() -> None:
    rule = "{alert: Busy, expr: 'rate(requests_total[10m]) > 1', keep_firing_for: 5m}"
    life = Life(Context(RuleSets(rules(f"groups: [{{name: g, rules: [{rule}]}}]")), 660_000))
    log = Log()
    for s in range(0, 900, 15):
        log.scrape(requests([s * 10], T + s * S, interval_ms=15_000))
    for entry in log.entries:
        life.take(entry)
    assert [Status.FIRING] == [one.status for one in life.alerts().values()]

    for tick in range(24 * 240):  # a day, asked every 15 s of it
        life.shard.hearing.asked(at(tick, event_s=900 + tick * 15), len(log.entries))
        for silence in life.shard.silent():
            log.scrape(Scrape(silence, empty_rows(SCRAPE_SCHEMA), 0))
            life.take(log.entries[-1])

    told = [(one.status, one.reason) for one in life.alerts().values()]
    assert [(Status.FIRING, ""), (Status.UNKNOWN, ""), (Status.RESOLVED, "inputs_gone")] == told
    assert len(log.entries) < 120
