"""Sequences go on after a restart, and targets that were removed are noticed."""

from pathlib import Path

import pytest

from producers.checkpoint import Checkpoint
from schemas.errors import ConfigError
from schemas.identity import Target

ETCD = Target("c", "etcd", "i")
SLIS = Target("c", "apiserver", "i", "/metrics/slis")
OTHER = Target("d", "etcd", "i")


def numbered(checkpoint: Checkpoint, *targets: Target) -> list[int]:
    found = [checkpoint.next_sequence(target, {"zone": "a"}, 15_000) for target in targets]
    checkpoint.save()
    return found


def test_a_sequence_counts_each_target_alone_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    assert [1, 2, 1, 1] == numbered(Checkpoint(tmp_path), ETCD, ETCD, SLIS, OTHER)
    assert [3, 2, 2] == numbered(Checkpoint(tmp_path), ETCD, SLIS, OTHER)


def test_a_target_that_left_the_configuration_is_known_until_it_is_forgotten(
    tmp_path: Path,
) -> None:
    numbered(Checkpoint(tmp_path), ETCD, SLIS, OTHER)
    checkpoint = Checkpoint(tmp_path)
    assert [SLIS, OTHER] == checkpoint.removed([ETCD])
    known = checkpoint.known(SLIS)
    assert known and ({"zone": "a"}, 15_000, 1) == (
        known.labels,
        known.interval_ms,
        known.sequence,
    )
    checkpoint.forget(OTHER, 1)
    checkpoint.save()
    assert [SLIS] == Checkpoint(tmp_path).removed([ETCD])


def test_a_target_that_was_removed_and_is_there_again_is_not_forgotten(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    (removal,) = numbered(checkpoint, ETCD)
    numbered(checkpoint, ETCD)
    checkpoint.forget(ETCD, removal)
    assert [3] == numbered(checkpoint, ETCD)


def test_a_file_that_cannot_be_read_begins_anew(tmp_path: Path) -> None:
    numbered(Checkpoint(tmp_path), ETCD)
    (tmp_path / "producers" / "targets" / "c.json").write_text("{")
    assert [1] == numbered(Checkpoint(tmp_path), ETCD)


def test_a_folder_that_cannot_be_made_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="data: cannot be written"):
        Checkpoint(tmp_path / "file")
