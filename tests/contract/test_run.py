"""The promises of a test run itself: nothing outlives it, and CI lets no skip pass."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fixtures import REPOSITORY

DEADLINE_S = 10.0

STARTS_A_PROGRAM = """
import sys, time
from pathlib import Path
from tests.services import process
print(process.start(["sleep", "600"], log=Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""
SKIPS = {
    "a test": "import pytest\ndef test_it(): pytest.skip('no tool')",
    "a module": "import pytest\npytest.skip('no tool', allow_module_level=True)",
    "a mark": "import pytest\n@pytest.mark.skip('no tool')\ndef test_it(): pass",
    "a fixture": (
        "import pytest\n"
        "@pytest.fixture\ndef tool(): pytest.skip('no tool')\n"
        "def test_it(tool): pass"
    ),
}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_nothing_outlives_the_run_that_started_it(end: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS_A_PROGRAM, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as run:
        assert run.stdout is not None
        started = int(run.stdout.readline())
        os.kill(started, 0)  # it is there
        run.send_signal(end)
    assert _gone(started)


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [("true", "1 failed, 3 errors in "), ("", "4 skipped in ")],  # an error is a failure at set-up
    ids=["CI", "desk"],
)
def test_a_skip_fails_in_ci_alone(ci: str, outcome: str, tmp_path: Path) -> None:
    for number, source in enumerate(SKIPS.values()):
        (tmp_path / f"test_{number}.py").write_text(source)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest"),
            *("--continue-on-collection-errors", "-rs", str(tmp_path)),
        ],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout, done.stdout + done.stderr
    assert "no tool" in done.stdout


def _gone(pid: int) -> bool:
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
