"""The newest facts say what is wrong with a rule."""

import msgspec
import pytest

from schemas.errors import DecodeError
from schemas.records import IndicatorEnvelope
from streams.core.outputs import chunks, fact_rows
from streams.core.ruleview import RuleView
from streams.core.samples import FactSample

ENVELOPE = IndicatorEnvelope(
    cluster="c1", group="facts", t_ms=10, interval_ms=5_000, rules_hash="h", epoch=1
)
MISSING, FAILURES = "planewatch_rule_inputs_missing", "planewatch_rule_failures_total"


def record(*samples: FactSample, **changes: object) -> bytes:
    (value,) = chunks(
        msgspec.structs.replace(ENVELOPE, **changes), fact_rows(samples, "planewatch")
    )
    return value


def missing(rule: str, count: float = 1.0, group: str = "g") -> FactSample:
    return FactSample(MISSING, {"rule": rule, "group": group}, count)


def test_what_is_missing_and_what_fails_is_said_by_cluster() -> None:
    view, other = RuleView(), FactSample("planewatch_nodes", {"zone": "a"}, 3.0)
    failures = FactSample(FAILURES, {"rule": "r", "reason": "N results"}, 7.0)
    view.take(b"c2/facts", record(missing("r", 2.0), other, cluster="c2"))
    view.take(b"c1/facts", record(failures, missing("s")))

    assert "c1: failed 7 times (N results); c2: 2 selectors match nothing" == view.said("g", "r")
    assert "c1: 1 selectors match nothing" == view.said("g", "s")
    assert "c1: failed 7 times (N results)" == view.said("another", "r")
    assert "" == view.said("another", "s")
    assert ["c1", "c2"] == view.clusters


def test_the_newest_counts_however_records_come() -> None:
    view = RuleView()
    for changes in ({"t_ms": 20}, {"t_ms": 30, "epoch": 0}, {"t_ms": 15}):
        name = "new" if changes == {"t_ms": 20} else "old"
        view.take(b"c1/facts", record(missing(name), **changes))

    assert ("", "c1: 1 selectors match nothing") == (view.said("g", "old"), view.said("g", "new"))


def test_all_chunks_of_the_newest_count() -> None:
    view = RuleView()
    for number in range(2):
        view.take(b"c1/facts", record(missing(f"r{number}"), chunk=number, chunks=2))

    assert view.said("g", "r0") == view.said("g", "r1") == "c1: 1 selectors match nothing"


def test_only_facts_are_read() -> None:
    view = RuleView()
    view.take(b"c1/g", b"never decoded")
    view.take(b"c1/facts", None)
    assert [] == view.clusters
    with pytest.raises(DecodeError):
        view.take(b"c1/facts", b"no arrow")
