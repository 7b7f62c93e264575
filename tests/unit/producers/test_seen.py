"""Only what Kafka has is remembered; what it lost is seen again."""

from pathlib import Path

import pytest

from producers.seen import Seen
from schemas.records import Change, Op

FAILURE = RuntimeError("timed out")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "watches" / "c.leases.json"


def change(uid: str, op: Op = Op.MODIFIED, n: int = 0) -> Change:
    return Change(
        cluster="c", api_version="v1", kind="Lease", namespace="", name=uid, uid=uid,
        resource_version="1", op=op, received_ms=0, object={"n": n},
    )  # fmt: skip


def reopened(seen: Seen, file: Path) -> Seen:
    seen.settle()
    seen.save()
    return Seen(file)


def test_what_kafka_has_survives_a_restart(file: Path) -> None:
    seen = Seen(file)
    seen.see(change("a", n=1))(None)
    seen.reach("5")

    again = reopened(seen, file)

    assert ("5", {"a": {"n": 1}}) == (again.version, again.objects)


def test_what_kafka_has_not_is_not_remembered(file: Path) -> None:
    seen = Seen(file)
    seen.see(change("a"))(None)
    seen.reach("5")
    seen.see(change("b"))
    seen.reach("6")

    assert "6" == seen.version
    again = reopened(seen, file)
    assert ("5", ["a"]) == (again.version, list(again.objects))


def test_a_later_acknowledgement_does_not_pass_an_earlier_change(file: Path) -> None:
    seen = Seen(file)
    first = seen.see(change("a"))
    seen.see(change("b"))(None)
    seen.reach("6")

    assert "" == reopened(seen, file).version
    first(None)
    assert "6" == reopened(seen, file).version


def test_a_lost_change_takes_the_watch_back_to_what_kafka_has(file: Path) -> None:
    seen = Seen(file)
    seen.see(change("a", n=1))(None)
    seen.reach("5")
    lost, later = seen.see(change("a", n=2)), seen.see(change("b"))
    seen.reach("6")

    lost(FAILURE)
    later(None)

    assert not seen.settle()
    assert ("5", {"a": {"n": 1}}) == (seen.version, seen.objects)
    assert seen.settle(), "it is told once"


def test_a_deletion_is_remembered_too(file: Path) -> None:
    seen = Seen(file)
    seen.see(change("a"))(None)
    seen.see(change("a", Op.DELETED))(None)
    seen.reach("7")

    assert {} == reopened(seen, file).objects


def test_an_unreadable_file_begins_anew(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"\x00 not ours")

    assert "" == Seen(file).version
