"""Panels name only what exists, and say what to do."""

from pathlib import Path

import pytest

from sinks.core.panels import Form, load_pages, parse_page
from sinks.core.queries import load_queries

GOOD = """
page: example
title: Example
panels:
  - id: one
    section: Now
    title: How slow is it?
    unit: seconds
    form: lines
    query: indicator_highest
    parameters: {metric: "a:b:c", by: [verb]}
    thresholds: [{level: warning, above: 1}]
    when_red: Look at the disk.
"""


def test_the_shipped_pages_are_kube_apiserver_and_etcd() -> None:
    assert ["apiserver", "etcd"] == list(load_pages())


def test_every_panel_that_can_be_empty_says_what_is_missing() -> None:
    silent = [
        f"{page.page}.{panel.id}"
        for page in load_pages().values()
        for panel in page.panels
        if not panel.when_empty
    ]
    assert [] == silent


def test_every_indicator_of_a_panel_is_recorded_by_a_shipped_rule() -> None:
    rules = Path(__file__).parents[3] / "streams" / "rules"
    recorded = "\n".join(file.read_text() for file in rules.glob("*.yaml"))
    asked = {
        str(panel.parameters["metric"])
        for page in load_pages().values()
        for panel in page.panels
        if "metric" in panel.parameters
    }
    assert set() == {name for name in asked if f"record: {name}\n" not in recorded}


def test_a_good_page_is_read() -> None:
    page = parse_page("example.yaml", GOOD, load_queries())
    assert ("example", Form.LINES) == (page.page, page.panels[0].form)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("query: indicator_highest", "query: nowhere", "there is no query nowhere"),
        ("by: [verb]", "of: [verb]", "has no parameter of"),
        ('metric: "a:b:c", ', "", "needs a value for metric"),
        ("unit: seconds", "unit: furlongs", "furlongs"),
        ("form: lines", "form: pie", "pie"),
        ("is it?", "it is.", "the title must be a question"),
        ("    when_red: Look at the disk.\n", "", "must say in when_red what to do"),
        ("above: 1", "above: 1, below: 0", "either above or below"),
        ("page: example", "page: other", "must be in other.yaml"),
        ("    unit: seconds", "    units: seconds", "units"),
        ("panels:", "panels: [", "example.yaml"),
    ],
)
def test_a_page_that_cannot_be_drawn_is_refused(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ValueError, match=r"^example\.yaml: ") as refused:
        parse_page("example.yaml", GOOD.replace(old, new), load_queries())
    assert said in str(refused.value)


def test_an_id_is_given_once() -> None:
    twice = GOOD + GOOD.partition("panels:\n")[2]
    with pytest.raises(ValueError, match="one: the id is given 2 times"):
        parse_page("example.yaml", twice, load_queries())
