"""Find a browser for the tests of the console.

In: nothing. Out: the path of Chromium; where it is missing and the tests run as root on Debian,
it is installed as any package is. Rule: one install at a time; anybody else is told what to
install.
"""

import os
import shutil
import subprocess

from tests.services.cache import locked
from tests.services.needs import need

WHY = "tests of the console in a browser (Debian: apt-get install chromium fonts-dejavu-core)"
INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends")
PACKAGES = ("chromium", "fonts-dejavu-core")
INSTALL_TIMEOUT_S = 600


def chromium() -> str:
    """Return the path of Chromium."""
    if not shutil.which("chromium") and os.geteuid() == 0 and shutil.which("apt-get"):
        with locked("apt"):
            if not shutil.which("chromium"):
                _install()
    return need("chromium", WHY)


def _install() -> None:
    for command in (("apt-get", "-q", "update"), (*INSTALL, *PACKAGES)):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
