"""Say what a test needs from the machine.

In: the name of a command, or of anything else that was not found. Out: its path, or a skip that
tells what is missing and which tests want it. Rule: nothing else skips for want of a tool, and
with CI=true every skip is a failure (tests/conftest.py).
"""

import shutil
from typing import NoReturn

import pytest


def need(command: str, why: str) -> str:
    """Return the path of a command, or skip."""
    return shutil.which(command) or skip_without(f"`{command}` on PATH", why)


def skip_without(what: str, why: str) -> NoReturn:
    """Skip the running test, fixture or module."""
    pytest.skip(f"without {what} there are no {why}", allow_module_level=True)
