"""The next owner of a cluster goes on beyond the numbers of the one before."""

from pathlib import Path

import msgspec
import pytest

from producers.checkpoint import Checkpoint
from producers.cluster_files import ClusterFiles
from producers.core.handover import Handover, adopted, decode, encode
from schemas.errors import ConfigError, DecodeError
from schemas.identity import Target

NOW_MS = 1_800_000_000_000
FAST, SLOW = Target("c", "etcd", "a"), Target("c", "etcd", "b")


def scraped(data: Path, fast: int, slow: int) -> None:
    """Let targets come to these numbers."""
    checkpoint = Checkpoint(data)
    for target, count, interval_ms in ((FAST, fast, 1_000), (SLOW, slow, 40_000)):
        for _ in range(count):
            checkpoint.next_sequence(target, {"zone": "z"}, interval_ms)
    checkpoint.save()


def sequences(data: Path) -> list[int]:
    checkpoint = Checkpoint(data)
    known = [checkpoint.known(target) for target in (FAST, SLOW)]
    return [one.sequence for one in known if one]


@pytest.mark.parametrize(("final", "expected"), [(True, [5, 7]), (False, [NOW_MS, NOW_MS])])
def test_numbers_go_on_where_their_owner_ended_in_peace_only(
    tmp_path: Path, final: bool, expected: list[int]
) -> None:
    scraped(tmp_path / "a", 5, 7)
    files = ClusterFiles(tmp_path / "a" / "producers").read("c")
    told = decode(encode(Handover(owner="a", final=final, files=files)))
    ClusterFiles(tmp_path / "b" / "producers").adopt("c", adopted(told, NOW_MS))

    assert expected == sequences(tmp_path / "b")
    assert [5, 7] == sequences(tmp_path / "a")


def test_of_a_target_that_nobody_told_of_numbers_begin_beyond_all_others(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, first=lambda: NOW_MS)
    assert [NOW_MS, NOW_MS + 1] == [checkpoint.next_sequence(FAST, {}, 1_000) for _ in range(2)]


def test_files_move_as_they_are_and_what_is_not_there_goes(tmp_path: Path) -> None:
    ours, theirs = (ClusterFiles(tmp_path / name) for name in "ab")
    for folder, name in (("discovery", "c.json"), ("watches", "c.leases.json")):
        for data in "ab":
            (tmp_path / data / folder).mkdir()
            (tmp_path / data / folder / name).write_text(f"{folder} of {data}")
    (tmp_path / "a" / "watches" / "c.leases.json").unlink()
    (tmp_path / "a" / "discovery" / "c.d.json").write_text("of another cluster")

    files = ours.read("c")
    theirs.adopt("c", files)

    assert {"discovery": "discovery of a"} == files == theirs.read("c")
    assert {"discovery": "of another cluster"} == ours.read("c.d")
    assert files == adopted(Handover(owner="a", final=False, files=files), NOW_MS)


def test_a_data_folder_keeps_its_name(tmp_path: Path) -> None:
    names = [ClusterFiles(tmp_path / folder).owner for folder in ("a", "a", "b")]
    assert names[0] == names[1] != names[2]


def test_a_file_in_the_way_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        ClusterFiles(tmp_path / "a")


def test_files_of_another_process_that_are_damaged_are_handed_on(tmp_path: Path) -> None:
    """Who reads them begins anew, as their owner would."""
    damaged = Handover(owner="a", final=False, files={"targets": "{"})
    ClusterFiles(tmp_path / "producers").adopt("c", adopted(damaged, NOW_MS))
    assert [] == sequences(tmp_path)


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", msgspec.json.encode({"owner": 1})])
def test_what_is_no_handover_is_told(value: bytes) -> None:
    with pytest.raises(DecodeError, match="no handover"):
        decode(value)


def test_a_checkpoint_leaves_the_files_of_others_alone(tmp_path: Path) -> None:
    scraped(tmp_path, 1, 1)
    other = Checkpoint(tmp_path, owns=lambda cluster: cluster != "c")
    assert [] == other.removed([])
    assert [FAST, SLOW] == Checkpoint(tmp_path).removed([])
