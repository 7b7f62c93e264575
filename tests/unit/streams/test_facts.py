"""Changes and log lines become series, step by step."""

import msgspec
import pytest

from schemas.codec import decode
from schemas.records import Change, LogBatch, Op
from schemas.topics import TopicName
from streams.core.facts import leases, logs, steps
from streams.core.facts.logs import LinesSeen
from streams.core.facts.steps import (
    PENDING_SAVED_MAX,
    STEP_MS,
    Facts,
    Pending,
    Step,
    StepOffsets,
)
from streams.core.outputs import VALUE_BYTES_MAX
from tests.shards import lease, lines

T = 1_700_000_010_000  # a multiple of 5 s
RENEWED = "2023-11-14T22:13:30.000000Z"  # T


def change(t_ms: int, renewed: str = RENEWED, **more: object) -> Change:
    made = decode(lease(t_ms, renewed), Change)
    return Change(**{name: getattr(made, name) for name in made.__struct_fields__} | more)


def batch(*times_ms: int, template: str = "took too long") -> LogBatch:
    return decode(lines(times_ms, template=template), LogBatch)


def opened() -> Facts:
    facts = Facts()
    facts.open(T)
    return facts


def close(facts: Facts, *, changes: int = 99, logs: int = 99) -> Step:
    assert facts.end_ms is not None
    return facts.close(StepOffsets(facts.end_ms, changes, logs))


def values(step: Step) -> dict[str, float]:
    return {one.metric: one.value for one in step.samples}


def test_a_lease_is_as_old_as_its_last_renewal() -> None:
    facts = opened()
    facts.on_change(0, change(T))

    assert 5.0 == values(close(facts))["planewatch_lease_age_seconds"]
    assert 10.0 == values(close(facts))["planewatch_lease_age_seconds"]


def test_a_lease_has_no_age_once_it_is_deleted() -> None:
    facts = opened()
    facts.on_change(0, change(T))
    facts.on_change(1, change(T + 1, op=Op.DELETED))

    assert {} == values(close(facts))


def test_leases_outside_of_kube_system_carry_their_namespace() -> None:
    facts = opened()
    facts.on_change(0, change(T))
    facts.on_change(1, change(T, namespace="cert-manager"))

    names = {one.labels["lease"] for one in close(facts).samples}

    assert {"kube-scheduler", "cert-manager/kube-scheduler"} == names


def test_transitions_are_those_that_the_lease_counts() -> None:
    facts = opened()
    facts.on_change(0, change(T))

    assert 3.0 == values(close(facts))["planewatch_leader_transitions_total"]


def test_transitions_are_counted_by_holder_where_the_lease_counts_none() -> None:
    facts = opened()
    for offset, holder in enumerate(("a", "b", "b", "a")):
        spec = {"holderIdentity": holder, "renewTime": RENEWED}
        facts.on_change(offset, change(T, object={"spec": spec}))

    assert 2.0 == values(close(facts))["planewatch_leader_transitions_total"]


@pytest.mark.parametrize("renewed", ["", "soon", "2023-11-14", 7, None])
def test_a_renewal_that_cannot_be_read_gives_no_age(renewed: object) -> None:
    facts = opened()
    facts.on_change(0, change(T, object={"spec": {"renewTime": renewed}}))

    assert "planewatch_lease_age_seconds" not in values(close(facts))


def test_changes_of_other_kinds_are_no_leases() -> None:
    facts = opened()

    assert facts.on_change(0, change(T, kind="Node"))
    assert {} == values(close(facts))


def test_lines_count_in_the_step_of_their_own_time() -> None:
    facts = opened()
    facts.on_logs(0, batch(T, T + 1, T + STEP_MS))

    assert 2.0 == values(close(facts))["planewatch_log_lines_total"]
    assert 3.0 == values(close(facts))["planewatch_log_lines_total"]


def test_a_late_line_is_counted_late_and_folded_into_the_next_step_that_closes() -> None:
    facts = opened()
    close(facts)
    facts.on_logs(0, batch(T + 1))

    step = close(facts)

    assert {TopicName.LOGS: 1} == step.late
    assert 1.0 == values(step)["planewatch_log_lines_total"]


def test_a_step_folds_only_what_had_come_by_its_offsets() -> None:
    facts = opened()
    for offset in range(3):
        facts.on_logs(offset, batch(T))

    assert 2.0 == values(close(facts, logs=1))["planewatch_log_lines_total"]
    assert 3.0 == values(close(facts, logs=2))["planewatch_log_lines_total"]


def test_templates_beyond_the_limit_count_as_other() -> None:
    facts = opened()
    for offset in range(logs.TEMPLATES_MAX + 5):
        facts.on_logs(offset, batch(T, template=f"t{offset}"))

    step = close(facts, logs=10_000)
    counted = {one.labels["template"]: one.value for one in step.samples}

    assert 5 == step.limits
    assert 5.0 == counted[logs.OTHER]
    assert logs.TEMPLATES_MAX + 1 == len(counted)


def test_leases_beyond_the_limit_are_left_out_and_counted() -> None:
    facts = opened()
    for number in range(leases.LEASES_MAX + 5):
        facts.on_change(number, change(T, name=f"l{number}"))

    assert 5 == close(facts, changes=10_000).limits


def test_a_cluster_without_scrapes_keeps_few_records_waiting() -> None:
    facts = Facts()
    room = [facts.on_logs(offset, batch(T + offset)) for offset in range(PENDING_SAVED_MAX + 9)]

    assert 9 == room.count(False)
    assert PENDING_SAVED_MAX == len(facts.snapshot().pending)
    facts.open(T)
    assert PENDING_SAVED_MAX + 9 == values(close(facts, logs=10_000))["planewatch_log_lines_total"]


def test_records_beyond_the_limit_are_folded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "PENDING_MAX", 2)
    facts = opened()

    room = [facts.on_logs(offset, batch(T + offset * STEP_MS)) for offset in range(4)]

    assert [True, True, False, False] == room
    assert 3.0 == values(close(facts))["planewatch_log_lines_total"]
    assert 4.0 == values(close(facts))["planewatch_log_lines_total"]


def test_a_snapshot_holds_no_more_than_fits_into_the_table() -> None:
    facts, far_ms = opened(), 10**15
    for offset in range(PENDING_SAVED_MAX):
        facts.on_logs(offset, batch(far_ms + offset, template="\u2603" * 300))
    for offset in range(7):
        facts.on_logs(PENDING_SAVED_MAX + offset, batch(T))

    assert 7 == facts.settle()
    assert 0 == facts.settle()

    assert PENDING_SAVED_MAX == len(facts.snapshot().pending)
    assert 7.0 + 7.0 == sum(one.value for one in close(facts, logs=10_000).samples)
    assert PENDING_SAVED_MAX - 7 == len(Facts.restore(facts.snapshot()).snapshot().pending)
    plain = [Pending(1, 1, lines=LinesSeen(("etcd", "warn", "x" * 200), 1))] * PENDING_SAVED_MAX
    assert len(msgspec.msgpack.encode(plain)) < VALUE_BYTES_MAX


def test_a_step_closes_when_time_has_passed_its_end_by_five_seconds() -> None:
    facts = opened()

    assert not facts.due(T + 10_000 - 1)
    assert facts.due(T + 10_000)


def test_a_snapshot_is_all_of_it() -> None:
    facts = opened()
    facts.on_change(0, change(T))
    facts.on_logs(0, batch(T, T + STEP_MS, T + 2 * STEP_MS))
    close(facts)

    again = Facts.restore(facts.snapshot())

    assert facts.snapshot() == again.snapshot()
    assert [close(facts) for _ in range(3)] == [close(again) for _ in range(3)]
