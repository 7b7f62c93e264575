"""Drive Chromium as a reader does. In: an address. Out: what the page says, what it complained
about, pictures.

It speaks the DevTools protocol over a pipe (fd 3 and 4, one JSON text per NUL), because a page that
listens for server-sent events never comes to rest, which the options of the command line wait for.
The browser ends when its pipe closes, so none outlives the tests.
"""

import base64
import fcntl
import json
import os
import select
import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.services.chromium import OPTIONS

ANSWER_S_MAX = 30.0
POLL_S = 0.05
ABOVE_STANDARD = 10  # the lowest fd that cannot be in the way of 3 and 4


class Browser:
    """A headless browser with a profile of its own."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._profile = tempfile.TemporaryDirectory(
            prefix="planewatch-chromium-", ignore_cleanup_errors=True
        )
        self._asked = 0
        self._unread = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        reads, self._to = _pipe()
        self._from, writes = _pipe()
        argv = [self._program, *OPTIONS, "--remote-debugging-pipe", "about:blank"]
        argv.insert(1, f"--user-data-dir={self._profile.name}")
        null = os.open(os.devnull, os.O_RDWR)
        self._pid = os.posix_spawn(
            self._program,
            argv,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 1),
                (os.POSIX_SPAWN_DUP2, null, 2),
                (os.POSIX_SPAWN_DUP2, reads, 3),
                (os.POSIX_SPAWN_DUP2, writes, 4),
            ],
            setpgroup=0,
        )
        for fd in (null, reads, writes):
            os.close(fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._to)
        os.close(self._from)
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._profile.cleanup()

    def open(self, url: str, *, size: tuple[int, int] = (1280, 900), dark: bool = False) -> "Page":
        """Open a page in a tab of its own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        width, height = size
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Page.navigate", url=url)
        return page

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Ask the browser; events that arrive meanwhile are kept."""
        self._asked += 1
        asked = {"id": self._asked, "method": method, "params": params}
        if session:
            asked["sessionId"] = session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        end = time.monotonic() + ANSWER_S_MAX
        while time.monotonic() < end:
            said = self._read(end)
            if said.get("id") == self._asked:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']['message']}")
                return dict(said["result"])
            if "method" in said:
                self.events.append(said)
        raise TimeoutError(f"no answer to {method}")

    def _read(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            if not select.select([self._from], [], [], max(0.0, end - time.monotonic()))[0]:
                return {}
            if not (chunk := os.read(self._from, 1 << 20)):
                raise RuntimeError("the browser ended")
            self._unread += chunk
        said, _, self._unread = self._unread.partition(b"\0")
        return dict(json.loads(said))


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target

    def close(self) -> None:
        """Close the tab, so that it listens no longer."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the tab."""
        return self._browser.call(method, self._session, **params)

    def value(self, script: str) -> Any:
        """Return the value of an expression of JavaScript."""
        done = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise RuntimeError(f"{script}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def wait_for(self, script: str, *, timeout_s: float = 30.0) -> None:
        """Return when an expression is true."""
        end = time.monotonic() + timeout_s
        while not self.value(script):
            if time.monotonic() > end:
                raise AssertionError(f"still false after {timeout_s} s: {script}")
            time.sleep(POLL_S)

    def complaints(self) -> list[str]:
        """What the page put on its console, threw, or failed to load."""
        self.value("0")  # whatever was said before is read now
        mine = [one for one in self._browser.events if one.get("sessionId") == self._session]
        return [text for one in mine if (text := _complaint(one["method"], one["params"]))]

    def requested(self) -> list[str]:
        """Every address that the page asked for."""
        return [
            one["params"]["request"]["url"]
            for one in self._browser.events
            if one.get("sessionId") == self._session
            and one["method"] == "Network.requestWillBeSent"
        ]

    def screenshot(self, file: Path) -> None:
        """Write a picture (PNG) of the whole page."""
        done = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(done["data"]))


def _complaint(method: str, params: dict[str, Any]) -> str:
    if method == "Log.entryAdded" and params["entry"]["level"] in {"warning", "error"}:
        return f"{params['entry']['text']} {params['entry'].get('url', '')}"
    if method == "Runtime.exceptionThrown":
        return str(params["exceptionDetails"])
    if method == "Runtime.consoleAPICalled" and params["type"] in {"warning", "error"}:
        return str([one.get("value", one.get("description")) for one in params["args"]])
    if method == "Network.loadingFailed" and not params.get("canceled"):
        return str(params["errorText"])
    return ""


def _pipe() -> tuple[int, int]:
    """Return the two ends of a pipe, both above the standard numbers."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ABOVE_STANDARD) for fd in low)
    for fd in low:
        os.close(fd)
    return high[0], high[1]
