"""A headless browser for the tests of the console.

In: the address of a page. Out: the page as its scripts left it, or a picture of it. Rule: a
browser asks no host but that of the page, and shares no profile with another. Where Chromium is
missing and the tests run as root on Debian, it is installed as any package is; anybody else is
told what to install.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.services.cache import locked
from tests.services.needs import need

WHY = "tests of the console in a browser (Debian: apt-get install chromium fonts-dejavu-core)"
INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends")
PACKAGES = ("chromium", "fonts-dejavu-core")
INSTALL_TIMEOUT_S = 600
PAGE_TIMEOUT_S = 60
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have; the page is our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def chromium() -> str:
    """Return the path of Chromium."""
    if not shutil.which("chromium") and os.geteuid() == 0 and shutil.which("apt-get"):
        with locked("apt"):
            if not shutil.which("chromium"):
                _install()
    return need("chromium", WHY)


def rendered(browser: str, url: str, *, settle_ms: int = 5000) -> str:
    """Return the document after its scripts had `settle_ms` of the page's own time."""
    return _visit(browser, url, f"--virtual-time-budget={settle_ms}", "--dump-dom")


def screenshot(
    browser: str,
    url: str,
    file: Path,
    *,
    size: tuple[int, int] = (1280, 900),
    settle_ms: int = 5000,
) -> None:
    """Write a picture (PNG) of the page as `rendered` would return it."""
    width, height = size
    budget = f"--virtual-time-budget={settle_ms}"
    _visit(browser, url, budget, f"--window-size={width},{height}", f"--screenshot={file}")
    if not file.exists():
        raise RuntimeError(f"{browser} made no picture of {url}")


def _visit(browser: str, url: str, *options: str) -> str:
    with tempfile.TemporaryDirectory(
        prefix="planewatch-chromium-", ignore_cleanup_errors=True
    ) as profile:
        done = subprocess.run(
            [browser, *OPTIONS, f"--user-data-dir={profile}", *options, url],
            capture_output=True,
            text=True,
            timeout=PAGE_TIMEOUT_S,
            check=True,
        )
    return done.stdout


def _install() -> None:
    for command in (("apt-get", "-q", "update"), (*INSTALL, *PACKAGES)):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
