"""A rule that fails is news once, and counted each time."""

from schemas.metrics import Metric
from streams.core.context import Context
from streams.core.failing import SERIES_MAX, Failing, RuleNews
from streams.core.rules.overrides import RuleSets
from tests.shards import Life, Log, requests, rules

T = 1_700_000_010_000
TOO_MANY = "12 results; at most 10 are allowed"


def test_the_same_failure_is_news_once() -> None:
    failing = Failing()

    told = [failing.note("g", [("a", f"{n} results; at most 10 are allowed")]) for n in (12, 13)]

    assert [[RuleNews("a", TOO_MANY)], []] == told
    assert [("a", "N results; at most N are allowed", 2.0)] == shown(failing)


def test_another_reason_and_the_end_are_news() -> None:
    failing = Failing()
    failing.note("g", [("a", TOO_MANY)])

    assert [RuleNews("a", "many to many")] == failing.note("g", [("a", "many to many")])
    assert [RuleNews("a", "")] == failing.note("g", [])
    assert [] == failing.note("g", [])
    assert [RuleNews("a", TOO_MANY)] == failing.note("g", [("a", TOO_MANY)])
    assert [2.0, 1.0] == [value for _, _, value in shown(failing)]


def test_rules_that_were_not_evaluated_are_no_news() -> None:
    failing = Failing()
    failing.note("g", [("a", TOO_MANY)])

    assert [] == failing.note("alerts", [])
    assert [] == failing.note("g", [("a", TOO_MANY)])


def test_a_rule_that_rests_still_fails() -> None:
    failing = Failing()
    failing.note("", [("a", TOO_MANY)])

    assert [] == failing.note("", [], resting={"a"})
    assert [RuleNews("a", "")] == failing.note("", [])


def test_series_are_bounded_and_news_is_not() -> None:
    failing = Failing()
    names = [(f"r{n}", TOO_MANY) for n in range(SERIES_MAX + 5)]

    assert SERIES_MAX + 5 == len(failing.note("g", names))
    assert SERIES_MAX == len(shown(failing))


def test_a_rule_over_its_limit_fails_alone_and_is_a_series() -> None:
    many = "{record: 'many:all', expr: requests_total}"
    one = "{record: 'one:all', expr: count(requests_total)}"
    text = f"groups: [{{name: g, limit: 3, interval: 5s, rules: [{many}, {one}]}}]"
    log, life = Log(), Life(Context(RuleSets(rules(text)), 660_000))
    for n in range(12):
        log.scrape(requests([n] * (5 if n < 6 else 2), T + n * 5_000))
    for entry in log.entries:
        life.take(entry)

    news = [one for out in life.sent for one in out.rules]
    rows = [row for group, rows in life.indicators().items() for row in rows if group[0] == "facts"]
    series = {(row["labels"], row["value"]) for row in rows if "failures" in str(row["metric"])}
    counts = [one for out in life.sent for one in out.counts if one.metric is Metric.RULE_FAILURES]

    assert [RuleNews("many:all", "5 results; at most 3 are allowed"), RuleNews("many:all", "")] == (
        news
    )
    reason = "N results; at most N are allowed"
    assert (
        f'{{"job":"planewatch","reason":"{reason}","rule":"many:all"}}',
        float(len(counts)),
    ) in series
    names = {row["metric"] for (group, _), got in life.indicators().items() for row in got}
    assert {"one:all", "many:all"} <= names


def test_counts_go_on_after_a_crash() -> None:
    text = "groups: [{name: g, limit: 1, rules: [{alert: Many, expr: requests_total > 0}]}]"
    log, whole, cut = Log(), *(Life(Context(RuleSets(rules(text)), 660_000)) for _ in range(2))
    for n in range(20):
        log.scrape(requests([n] * 3, T + n * 5_000))
    for number, entry in enumerate(log.entries, 1):
        whole.take(entry)
        cut.take(entry)
        if number in {5, 6, 13}:
            cut.crash(log.entries[:number])

    assert whole.indicators() == cut.indicators()
    rows = [row for rows in whole.indicators().values() for row in rows]
    assert any("Many" in str(row["labels"]) for row in rows)


def test_a_failure_neither_ends_nor_begins_an_alert_also_over_a_crash() -> None:
    rule = "{alert: Many, expr: requests_total > 0, for: 10s}"
    text = f"groups: [{{name: g, limit: 2, rules: [{rule}]}}]"
    log, lives = Log(), [Life(Context(RuleSets(rules(text)), 660_000)) for _ in range(2)]
    counts = [1, 1, 1, 1, 3, 3, 3, 3, 3, 1, 1, 0]  # of series; 3 are too many
    for n, count in enumerate(counts):
        log.scrape(requests([1] * count or [0], T + n * 5_000))
    for number, entry in enumerate(log.entries, 1):
        for life in lives:
            life.take(entry)
        if number in {6, 7}:
            lives[1].crash(log.entries[:number])

    alerts = [(one.status, one.updated_at_ms - T) for one in lives[0].alerts().values()]
    assert [("firing", 10_000), ("resolved", 55_000)] == alerts
    assert lives[0].alerts() == lives[1].alerts()


def shown(failing: Failing) -> list[tuple[str, str, float]]:
    return [(one.labels["rule"], one.labels["reason"], one.value) for one in failing.samples()]
