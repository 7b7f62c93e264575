"""What the profile `core` leaves out is read by no rule, panel or query that we ship, and what is
kept first where a server has too many series is what rules read.

In: rule files, panels, queries, and the captures of Kubernetes 1.31 and 1.35. The rule this file
owns: bulk is what nothing of ours reads; a rule that begins to read it is told here, and so is one
that reads what `core/worth.py` does not list.
"""

import re
from collections.abc import Iterator

import promql_parser as ast
import pytest

from producers.core.exposition import parse
from producers.core.families import Families, is_bulk
from producers.core.kept import Kept
from producers.core.keys import Keys
from producers.core.worth import ALERTS, INDICATORS
from schemas.eras import RENAMES
from tests import fixtures
from tests.fixtures import REPOSITORY
from tests.rules.test_inputs import NOT_CAPTURED, OURS, captured, recorded, rules, selectors

WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
PART = re.compile(r"_(bucket|sum|count)$")
READERS = ("streams/rules/*.yaml", "sinks/panels/*.yaml", "sinks/queries/*.sql", "README.md")


def test_nothing_that_we_read_is_bulk() -> None:
    files = [file for glob in READERS for file in REPOSITORY.glob(glob)]
    assert len(files) > 20
    read = {word for file in files for word in WORD.findall(file.read_text())}
    assert not [word for word in read if is_bulk(PART.sub("", word))]


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("1_35-api-server", 0.05, 0.2), ("1_31-api-server", 0.05, 0.2), ("1_35-etcd", 0.05, 0.6)],
)
def test_core_has_fewer_series_of_a_real_server(name: str, least: float, most: float) -> None:
    """Rows are counted by their buckets, as samples are."""
    columns = parse(fixtures.metrics(name), Keys(10**6), samples_max=10**6).columns
    kept = Kept(Families()).of(columns)
    left_out = 1 - (len(kept) + len(kept.buckets)) / (len(columns) + len(columns.buckets))
    assert least < left_out < most, left_out


def test_what_is_kept_first_is_what_rules_read() -> None:
    alerts: set[str] = set()
    indicators: set[str] = set()
    for _, rule in rules():
        (alerts if "alert" in rule else indicators).update(families_of(rule["expr"]))
    for rename in RENAMES:  # what servers before a rename call it
        for known in (alerts, indicators):
            if rename.new_family in known:
                known.add(rename.family)
    assert alerts == ALERTS
    assert indicators - alerts == INDICATORS


def families_of(expr: str) -> Iterator[str]:
    """The families that an expression stands on, also through what is recorded."""
    for selector in selectors(ast.parse(expr)):
        name = str(selector.name)
        if name in recorded():
            for rule in recorded()[name]:
                yield from families_of(rule["expr"])
        elif not OURS.fullmatch(name):
            base = PART.sub("", name)
            yield base if f"{base}_sum" in captured() or base in NOT_CAPTURED else name
