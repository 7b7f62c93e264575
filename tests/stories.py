"""Tell a story of three targets, their leases and log lines. In: a seed. Out: a log of records."""

import random

import pytest

from schemas.topics import TopicName
from tests.scrapes import failed
from tests.shards import Entry, Life, Log, lease, lines, requests

MINUTES = 14
T0 = 1_700_000_000_000 // 60_000 * 60_000


def story(seed: int = 1, minutes: int = MINUTES) -> list[Entry]:
    """Three targets, one of which fails for a while; leases and log lines, some of them late."""
    chance = random.Random(seed)
    log = Log()
    counts = {name: [0, 0] for name in "abc"}
    for t_ms in range(T0, T0 + minutes * 60_000, 5_000):
        for number, name in enumerate("abc"):
            if (t_ms // 5_000) % 3 != number:
                continue
            tick_ms = t_ms + chance.randrange(900)
            if name == "c" and T0 + 200_000 <= t_ms < T0 + 300_000:
                log.scrape(failed(tick_ms, instance=name))
                continue
            rate = 20 if name == "b" and t_ms > T0 + 400_000 else 2
            counts[name] = [one + chance.randrange(rate * 15) for one in counts[name]]
            one = requests(counts[name], tick_ms, instance=name, interval_ms=15_000)
            log.scrape(one, chunks=chance.choice((1, 2)))
        log.add(TopicName.CHANGES, lease(t_ms - chance.randrange(4_000), "2023-11-14T22:13:20Z"))
        late = chance.choice((0, 0, 0, 30_000))
        log.add(TopicName.LOGS, lines([t_ms - late - i for i in range(chance.randrange(3))]))
    return log.entries


def assert_same(expected: Life, found: Life) -> None:
    """Floats of sums may differ in the last digits: a rebuilt window sums up from another start."""
    mine, theirs = expected.indicators(), found.indicators()
    assert mine.keys() == theirs.keys()
    for key, rows in mine.items():
        assert [without_value(row) for row in rows] == [without_value(row) for row in theirs[key]]
        values = [row["value"] for row in rows]
        assert values == pytest.approx([row["value"] for row in theirs[key]], rel=1e-9)
    assert expected.alerts() == found.alerts()


def without_value(row: dict[str, object]) -> dict[str, object]:
    return {name: one for name, one in row.items() if name != "value"}
