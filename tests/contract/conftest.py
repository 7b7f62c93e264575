"""Fixtures of several contract tests."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.services.discovering import ControlPlane, Producers


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path)
    yield plane
    plane.stop()


@pytest.fixture
def producers(tmp_path: Path, plane: ControlPlane) -> Iterator[Producers]:
    producers = Producers(tmp_path, plane)
    yield producers
    with suppress(AssertionError):
        producers.stop()
    producers.embedded.close()
