"""A real vmagent for benches and fault tests: from Debian, on loopback.

In: what it scrapes, where it writes to. Out: a running agent. Rule: it runs with its defaults but
for addresses and folders, and leaves neither a process nor data behind.
"""

import gzip
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import urllib3

from tests.services import debian, process

WHY: Final = "what is compared with vmagent"
READY_TIMEOUT_S: Final = 60.0


def program() -> Path:
    """Return the agent's program, fetched once for this user."""
    return debian.program("victoria-metrics", "usr/bin/vmagent", why=WHY)


def version() -> str:
    """Return the version of the package; Debian's build of the agent does not know its own."""
    changes = program().parents[1] / "share/doc/victoria-metrics/changelog.Debian.gz"
    with gzip.open(changes, "rt", encoding="utf-8") as text:
        return f"vmagent {text.readline().split('(')[1].split(')')[0]}"


class Vmagent:
    """One agent. `with Vmagent(scrape_config, url) as agent:` removes process and data at the end.

    scrape_config: the text of a Prometheus configuration; write_url: a remote-write receiver.
    """

    def __init__(self, scrape_config: str, write_url: str) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="planewatch-vmagent-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._write_url = write_url
        self._config = self._home / "prometheus.yml"
        self._config.write_text(scrape_config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process, for those who measure it."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it answers."""
        url = f"http://127.0.0.1:{_free_port()}"
        log = self._home / "vmagent.log"
        self._process = process.start(
            [
                str(program()),
                f"-promscrape.config={self._config}",
                f"-remoteWrite.url={self._write_url}",
                f"-remoteWrite.tmpDataPath={self._home / 'queue'}",
                f"-httpListenAddr={url.removeprefix('http://')}",
                "-loggerLevel=WARN",
            ],
            log=log,
            cwd=self._home,
        )
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        with urllib3.PoolManager(retries=False, timeout=5.0) as http:
            while self._process.poll() is None and time.monotonic() < deadline_s:
                try:
                    if http.request("GET", f"{url}/health").status == 200:
                        return
                except urllib3.exceptions.HTTPError:
                    pass  # it does not listen yet
                time.sleep(0.05)
        said = log.read_text()[-3000:]
        self.close()
        raise RuntimeError(f"vmagent was not ready; its log ends: {said}")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process:
            process.kill(self._process)

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
