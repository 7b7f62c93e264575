"""Objects become changes: trimmed, compared with what was seen last, and with snapshots."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from producers.core.changes import DIFFERENCES_MAX, bare, change, diff, snapshot, trimmed
from schemas.records import Change, Difference, JsonObject, Op, Owner
from tests.fixtures import json_lines

NOW_MS = 1_795_351_800_000


def lease(version: str = "7", uid: str = "u", **spec: Any) -> JsonObject:
    metadata = {"name": f"lease-{uid}", "namespace": "kube-system", "uid": uid,
                "resourceVersion": version}  # fmt: skip
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": spec,
    }


def test_what_nobody_reads_is_trimmed() -> None:
    given = lease(holderIdentity="a")
    given["metadata"] |= {
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes"},
    }

    found = trimmed(given)

    assert {"kept": "yes"} == found["metadata"]["annotations"]
    assert "managedFields" not in found["metadata"]
    assert "managedFields" in given["metadata"], "the given object is not touched"


def test_a_renewal_is_a_change_of_one_field() -> None:
    before, after = lease("7", renewTime="10:00:00"), lease("8", renewTime="10:00:02")

    found = change("c", after, before, Op.MODIFIED, NOW_MS)

    assert [Difference(path="spec.renewTime", old="10:00:00", new="10:00:02")] == found.diff
    assert ("c", "Lease", "kube-system", "lease-u", "u", "8") == (
        found.cluster,
        found.kind,
        found.namespace,
        found.name,
        found.uid,
        found.resource_version,
    )
    assert (Op.MODIFIED, NOW_MS, after) == (found.op, found.received_ms, found.object)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({}, {"a": {"b": 1}}, [("a", None, {"b": 1})]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}, [("a.b", 1, None)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a", [1, 2], [1])]),
        ({"a": {"x.y/z": 1}}, {"a": {"x.y/z": 2}}, [('a["x.y/z"]', 1, 2)]),
        ({"metadata": {"resourceVersion": "1"}}, {"metadata": {"resourceVersion": "2"}}, []),
    ],
)
def test_differences_are_leaves(
    before: JsonObject, after: JsonObject, expected: list[tuple[str, Any, Any]]
) -> None:
    assert expected == [(one.path, one.old, one.new) for one in diff(before, after)]


def test_differences_have_a_limit() -> None:
    before = {**lease(), "spec": {f"f{n}": 0 for n in range(500)}}
    after = {**lease(), "spec": {f"f{n}": 1 for n in range(500)}}

    assert DIFFERENCES_MAX == len(change("c", after, before, Op.MODIFIED, NOW_MS).diff)


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        ([{"controller": True, "name": "r"}], Owner(kind="", name="r", uid="")),
        ([{"controller": True, "kind": None, "name": 5}], Owner(kind="", name="5", uid="")),
        (["r", None, {"name": "r"}], None),
        ("r", None),
        ({"controller": True}, None),
        (None, None),
    ],
)
def test_an_owner_of_another_shape_costs_no_change(references: Any, expected: Owner | None) -> None:
    given = lease()
    given["metadata"]["ownerReferences"] = references

    assert expected == change("c", given, None, Op.ADDED, NOW_MS).owner


def test_the_owner_is_the_controller() -> None:
    given = lease()
    given["metadata"]["ownerReferences"] = [
        {"kind": "Node", "name": "n", "uid": "1"},
        {"kind": "ReplicaSet", "name": "r", "uid": "2", "controller": True},
    ]

    assert (
        Owner(kind="ReplicaSet", name="r", uid="2")
        == change("c", given, None, Op.ADDED, NOW_MS).owner
    )


def ops(changes: list[Change]) -> list[tuple[str, Op, int]]:
    return [(one.uid, one.op, len(one.diff)) for one in changes]


def test_the_first_snapshot_does_not_claim_that_objects_are_new() -> None:
    assert [("a", Op.RESYNC, 0)] == ops(snapshot("c", {}, [lease(uid="a")], NOW_MS))


def test_a_later_snapshot_finds_the_changed_the_new_and_the_gone() -> None:
    known = {"a": lease("1", "a", n=1), "b": lease("2", "b"), "gone": lease("3", "gone")}
    items = [lease("9", "a", n=2), lease("2", "b"), lease("8", "new")]

    found = snapshot("c", known, items, NOW_MS)

    assert [
        ("a", Op.RESYNC, 1),
        ("b", Op.RESYNC, 0),
        ("new", Op.ADDED, 0),
        ("gone", Op.DELETED, 0),
    ] == ops(found)
    assert known["gone"] == found[-1].object


def test_a_change_too_big_for_a_record_keeps_its_identity() -> None:
    given = lease(holderIdentity="x" * 100)
    given["metadata"]["annotations"] = {"big": "y" * 100}

    found = bare(change("c", given, lease(), Op.MODIFIED, NOW_MS))

    assert [] == found.diff
    assert {"name", "namespace", "uid", "resourceVersion"} == found.object["metadata"].keys()


def test_real_leases_renew_and_say_when_their_holder_changes(shared_fixtures: Path) -> None:
    known: dict[str, JsonObject] = {}
    paths: Counter[str] = Counter()
    for line in json_lines("cluster/watch.jsonl.gz"):
        event: Any = line.get("event", {})
        if "leases" in str(line["resource"]) and event.get("type") == "MODIFIED":
            given = trimmed(event["object"])
            found = change("c", given, known.get(given["metadata"]["uid"]), Op.MODIFIED, NOW_MS)
            known[found.uid] = found.object
            paths.update(one.path for one in found.diff)

    assert ("spec.renewTime", 265) == paths.most_common(1)[0]
    assert paths["spec.holderIdentity"] > 0
    assert not any("managedFields" in path or "resourceVersion" in path for path in paths)
