"""The compiled loop stays within its bodies, and is there where its code cannot be kept."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numba import njit

from producers.core import scan

BODIES = """
import random
from producers.core.keys import Keys
from producers.core.protobuf import ProtobufReader
from tests.delimited import delimited
from tests.mutations import PROTOBUF_KINDS, mutated
from tests.unit.producers.test_protobuf import HISTOGRAMS

chance, first, again = random.Random(5), delimited(HISTOGRAMS), 0
for number in range(4_000):
    reader, keys = ProtobufReader(), Keys(10_000)
    reader.read(first, keys, samples_max=1_000)
    edits = [
        (chance.choice(PROTOBUF_KINDS), chance.randrange(100_000), chance.randrange(1_000))
        for _ in range(chance.randrange(1, 3))
    ]
    known = reader._known
    again += known.again(mutated(first, edits)) is not None
print(again)
"""


def test_nothing_outside_of_a_body_is_read(tmp_path: Path) -> None:
    """numba leaves out the checks of places that Python has, unless it is told to check."""
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", BODIES],
        env=os.environ | checked,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert 100 < int(done.stdout) < 4_000


def test_it_is_compiled_anew_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuses(**options: Any) -> Callable[..., Any]:
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        made: Callable[..., Any] = njit(**options)
        return made

    monkeypatch.setattr("producers.core.scan.njit", refuses)
    assert 3 == scan._compiled(_next)(2)
    assert [True, False] == asked


def _next(number: int) -> int:
    return number + 1


def test_what_is_compiled_at_the_start_is_what_bodies_need() -> None:
    """numba compiles anew for arrays of another kind, and an empty one is of another kind."""
    code = """
from producers.core.keys import Keys
from producers.core.protobuf import ProtobufReader
from producers.core.repeated import compile_now
from producers.core.scan import scan
from tests.delimited import delimited
from tests.unit.producers.test_protobuf import HISTOGRAMS

compile_now()
at_start = list(scan.signatures)
reader = ProtobufReader()
for body in (HISTOGRAMS, HISTOGRAMS.replace(b" 2\\n", b" 3\\n")):
    reader.read(delimited(body), Keys(10_000), samples_max=1_000)
assert 1 == len(at_start), at_start
assert at_start == list(scan.signatures)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
