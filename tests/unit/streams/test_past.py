"""What reaches back further than a replay survives a crash as it was."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Outcome
from streams.core.context import Context
from streams.core.promql.past import floats, packed, unpacked
from streams.core.rules.overrides import RuleSets
from streams.core.state import table_key
from tests.scrapes import CLUSTER, failed, scrape
from tests.shards import Life, Log, rules
from tests.stories import T0, assert_same

RULES = """
groups:
- name: long
  interval: 30s
  rules:
  - {record: "x:growth:1h", expr: "sum by (verb, le) (increase(h_bucket[1h]))"}
  - {record: "x:growth:2h", expr: "sum(increase(x_total[2h]))"}
  - {record: "x:series:30m", expr: "increase(x_total[30m])"}
  - {record: "x:ago:5m", expr: "sum(rate(x_total[5m] offset 40m))"}
  - {record: "x:ago:2m", expr: "rate(x_total[2m] offset 20m)"}
  - {record: "x:top:1h", expr: "max_over_time(g[1h])"}
  - {record: "x:slope:1h", expr: "deriv(g[1h])"}
- name: recorded
  interval: 1m
  rules:
  - {record: "x:sum:now", expr: "sum(g)"}
  - {record: "x:sum:avg_20m", expr: "avg_over_time(x:sum:now[20m])"}
  - {record: "x:sum:then", expr: "x:sum:now offset 12m"}
  - {record: "x:slow:chain", expr: "x:slow:sum + x:sum:now"}
  - alert: Rising
    expr: increase(x_total[1h]) > 500
    for: 1m
- name: slower
  interval: 3m
  rules:
  - {record: "x:slow:sum", expr: "sum(x:growth:2h) + sum(x:sum:now)"}
"""
STEP_MS, STEPS = 15_000, 4 * 75


def body(n: int, rng: random.Random) -> str:
    verbs = ["GET", "LIST", *(["PUT"] if n % 90 > 40 else [])]
    text = "# TYPE h histogram\n"
    for i, verb in enumerate(verbs):
        count = n * (i + 1) if n < 210 else (n - 210) * (i + 1)  # a restart
        text += f'h_bucket{{verb="{verb}",le="1"}} {count}\n'
        text += f'h_bucket{{verb="{verb}",le="+Inf"}} {count * 2}\n'
        text += f'h_sum{{verb="{verb}"}} {count / 3}\nh_count{{verb="{verb}"}} {count * 2}\n'
    return text + f"x_total {n * 3 if n < 210 else n}\ng {rng.random()}\n"


def log() -> Log:
    made, rng = Log(), random.Random(7)
    for n in range(STEPS):
        for instance in ("a", "b"):
            t_ms = T0 + n * STEP_MS + (4_000 if instance == "b" else 0)
            if instance == "b" and 120 < n < 130:
                made.scrape(failed(t_ms, Outcome.TIMEOUT, instance="b"))
            else:
                made.scrape(scrape(body(n, rng), t_ms, instance=instance, interval_ms=STEP_MS))
    return made


LOG = log()
CONTEXT = Context(RuleSets(rules(RULES)), 660_000)


@pytest.fixture(scope="module")
def undisturbed() -> Life:
    life = Life(CONTEXT)
    for entry in LOG.entries:
        life.take(entry)
    return life


@pytest.mark.parametrize("cuts", [{9}, {281}, {301}, {77, 250, 251, 500}, {180, 599}], ids=str)
def test_a_crash_changes_no_window_however_long(undisturbed: Life, cuts: set[int]) -> None:
    life, read = Life(CONTEXT), 0
    for number, entry in enumerate(LOG.entries, 1):
        life.take(entry)
        if number in cuts:
            read = max(read, life.crash(LOG.entries[:number]))
    assert_same(undisturbed, life)
    assert read <= 2 * 13 * 60_000 // STEP_MS  # the rewind, and no more


def test_the_story_has_results_of_every_rule(undisturbed: Life) -> None:
    found = {row["metric"] for rows in undisturbed.indicators().values() for row in rows}
    assert {f"x:{name}" for name in ("growth:1h", "growth:2h", "series:30m")} <= found
    assert {f"x:{name}" for name in ("ago:5m", "ago:2m")} <= found
    assert {"x:top:1h", "x:slope:1h", "x:sum:now", "x:sum:avg_20m", "x:sum:then"} <= found
    assert {"x:slow:sum", "x:slow:chain"} <= found
    assert undisturbed.alerts()


def test_the_memory_of_a_target_takes_kilobytes(undisturbed: Life) -> None:
    sizes = {
        key: len(value)
        for key, value in undisturbed.table.items()
        if key.startswith(table_key(CLUSTER, "past-"))
    }
    assert len(sizes) == 4  # two targets, facts, recorded names
    assert max(sizes.values()) < 40_000  # windows of 20 min to 2 h, every scrape of their ranges


def test_the_memory_of_a_target_that_is_gone_is_deleted() -> None:
    life, made = Life(CONTEXT), Log()
    rng = random.Random(1)
    for n in range(STEPS):
        made.scrape(scrape(body(n, rng), T0 + n * STEP_MS, instance="a", interval_ms=STEP_MS))
        if n < 40:
            made.scrape(scrape(body(n, rng), T0 + n * STEP_MS, instance="b", interval_ms=STEP_MS))
    for number, entry in enumerate(made.entries, 1):
        life.take(entry)
        if number == 100:
            life.crash(made.entries[:number])
    pasts = [key for key in life.table if key.startswith(table_key(CLUSTER, "past-"))]
    assert len(pasts) == 3


@given(st.lists(st.lists(st.floats(width=64), min_size=3, max_size=3), max_size=8))
def test_numbers_come_back_bit_by_bit(rows: list[list[float]]) -> None:
    matrix = np.array(rows, np.float64).reshape(len(rows), 3)
    back = packed(matrix)
    assert floats(back).tobytes() == matrix.tobytes()
    whole = np.arange(12, dtype=np.int64).reshape(4, 3) - 5
    assert (unpacked(packed(whole)).view(np.int64) == whole).all()
