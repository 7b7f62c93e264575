"""Answers go where they were asked for, and bytes never onto a terminal."""

import sys
from pathlib import Path

import click
import pytest

from sinks.printing import BINARY, WRITERS, opened


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_bytes_are_refused_on_a_terminal(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    if form in BINARY:
        with pytest.raises(click.UsageError, match="give --output FILE"), opened(None, form):
            pass
    else:
        with opened(None, form):
            pass


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    with opened(target, "csv") as out:
        out.write(b"half")
        assert not target.exists()
    assert b"half" == target.read_bytes()
    with pytest.raises(RuntimeError), opened(target, "csv") as out:
        out.write(b"other")
        raise RuntimeError
    assert [b"half"] == [one.read_bytes() for one in tmp_path.iterdir()]
