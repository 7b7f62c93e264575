"""A real Prometheus in agent mode for benches: from Debian, on loopback.

In: what it scrapes, where it writes to. Out: a running agent, to kill and start again on its data.
Rule: it runs with its defaults but for addresses and folders, and leaves neither a process nor data
behind.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import urllib3

from tests.services import process, prometheus

READY_TIMEOUT_S: Final = 60.0


class PrometheusAgent:
    """One agent; `with PrometheusAgent(...) as agent:` removes process and data at the end.

    scrape_config: the text of a Prometheus configuration; write_url: a remote-write receiver.
    """

    def __init__(self, scrape_config: str, write_url: str) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="planewatch-agent-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._config = self._home / "prometheus.yml"
        self._config.write_text(f"{scrape_config}\nremote_write: [{{url: '{write_url}'}}]\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start on the data that is there, and return when it answers."""
        url = f"http://127.0.0.1:{_free_port()}"
        log = self._home / "prometheus.log"
        self._process = process.start(
            [
                str(prometheus.program()),
                "--agent",
                f"--config.file={self._config}",
                f"--storage.agent.path={self._home / 'data'}",
                f"--web.listen-address={url.removeprefix('http://')}",
                "--log.level=warn",
            ],
            log=log,
            cwd=self._home,
        )
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        with urllib3.PoolManager(retries=False, timeout=5.0) as http:
            while self._process.poll() is None and time.monotonic() < deadline_s:
                try:
                    if http.request("GET", f"{url}/-/ready").status == 200:
                        return
                except urllib3.exceptions.HTTPError:
                    pass  # it does not listen yet
                time.sleep(0.05)
        said = log.read_text()[-3000:]
        self.close()
        raise RuntimeError(f"the agent was not ready; its log ends: {said}")

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
