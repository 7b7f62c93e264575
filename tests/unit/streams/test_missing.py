"""A rule that reads what no answering target has is a series, and no other is."""

import json

import pytest

from schemas.records import Status
from streams.core.context import Context
from streams.core.missing import METRIC
from streams.core.rules.overrides import RuleSets
from tests.scrapes import failed
from tests.shards import Life, Log, requests, rules

T = 1_700_000_040_000  # a whole minute
READER = "{alert: Dead, expr: 'planewatch_rule_inputs_missing{job=\"planewatch\"} > 0'}"


def lived(*exprs: str, scrapes: int = 30, crash: int = 0, fails: bool = False) -> Life:
    """Return a life of one API server; rule n records the expression n."""
    own = ", ".join(f"{{record: 'r:{n}', expr: '{expr}'}}" for n, expr in enumerate(exprs))
    text = f"groups: [{{name: g, rules: [{own}]}}, {{name: a, rules: [{READER}]}}]"
    log, life = Log(), Life(Context(RuleSets(rules(text)), 660_000))
    for n in range(scrapes):
        t_ms = T + n * 5_000
        log.scrape(failed(t_ms) if fails else requests([n], t_ms))
    for number, entry in enumerate(log.entries, 1):
        life.take(entry)
        if number == crash:
            life.crash(log.entries[:number])
    return life


def missing(life: Life) -> dict[str, object]:
    """Return the newest values by rule."""
    times = sorted(t_ms for group, t_ms in life.indicators() if group == "facts")
    rows = life.indicators()["facts", times[-1]] if times else []
    mine = [row for row in rows if row["metric"] == METRIC]
    return {
        f"{row['group']}/{json.loads(str(row['labels']))['rule']}": row["value"] for row in mine
    }


@pytest.mark.parametrize(
    ("expr", "count"),
    [
        ("requests_total", 0),
        ("rate(requests_total[1m])", 0),
        ('requests_total{verb="V0"}', 0),
        ("up", 0),
        ('up{job="apiserver"}', 0),
        ("reqests_total", 1),
        ("rate(reqests_total[1m]) / rate(requests_total[1m])", 1),
        ("a / b", 2),
        ("a / a", 1),
        ('requests_total{verb="V1"}', 1),
        ('up{zone="a"}', 1),
        ('reqests_total{job="etcd"}', 0),  # there is no such target
        ('planewatch_no_fact{job="planewatch"}', 0),  # facts come when something happens
        ("planewatch_no_fact", 0),
        ("absent(reqests_total)", 0),
        ("requests_total or reqests_total", 0),
        ("a or (b / c)", 1),
        ("requests_total unless reqests_total", 0),
        ("reqests_total unless requests_total", 1),
        ("requests_total and reqests_total", 1),
        ("vector(1)", 0),
    ],
)
def test_what_is_missing_is_counted(expr: str, count: int) -> None:
    expected = {"g/r:0": float(count)} if count else {}
    assert expected == missing(lived(expr))


def test_a_recorded_name_is_the_business_of_its_rule() -> None:
    found = missing(lived("reqests_total", "sum(r:0)"))
    assert ["g/r:0"] == [*found]


def test_targets_that_do_not_answer_tell_nothing() -> None:
    assert {} == missing(lived("reqests_total", fails=True))


def test_nothing_is_said_before_a_whole_minute() -> None:
    assert {} == missing(lived("reqests_total", scrapes=8))


def test_rules_read_it() -> None:
    life = lived("reqests_total", "requests_total")

    fired = [(one.status, one.labels["rule"]) for one in life.alerts().values()]

    assert [(Status.FIRING, "r:0")] == fired


def test_a_replay_says_the_same() -> None:
    expected, found = lived("reqests_total"), lived("reqests_total", crash=20)

    assert expected.indicators() == found.indicators()
    assert expected.alerts() == found.alerts()
