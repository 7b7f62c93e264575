"""Start to follow logs. In: the configured paths of all clusters. Out: their lines in `logs`.

The rule this file owns: one thread for each configured path; positions are kept in
`<data>/producers/logs/`, one file per path. It costs the API server nothing.
"""

import threading
import time
import zlib

from producers.logtail import LogTail
from producers.sending import Sender
from schemas.clock import Clock
from schemas.identity import on_node
from schemas.settings import ClusterSettings, LogSettings, Settings
from schemas.telemetry import Telemetry


class LogTails:
    """All followed logs of this process."""

    def __init__(self, tails: list[LogTail]) -> None:
        self._tails = tails
        for one in tails:
            one.start()

    def join(self, timeout_s: float = 1.0) -> None:
        """Wait until all have ended, `timeout_s` at most; call it when `stop` is set."""
        until_s = time.monotonic() + timeout_s
        for one in self._tails:
            one.join(max(0.05, until_s - time.monotonic()))

    def check(self) -> None:
        """Raise what ended one of them before `stop` was set."""
        for one in self._tails:
            one.check()


def start_logs(
    settings: Settings,
    sender: Sender,
    clock: Clock,
    telemetry: Telemetry,
    stop: threading.Event,
) -> LogTails:
    """Follow the configured logs of all clusters, until `stop` is set."""

    def follow(cluster: ClusterSettings, configured: LogSettings) -> LogTail:
        instance = on_node(configured.instance, settings.producers.node)
        log = configured.model_copy(update={"instance": instance})
        name = (
            f"{cluster.id}.{zlib.crc32(f'{log.job}/{log.instance}/{log.path}'.encode()):08x}.json"
        )
        return LogTail(
            cluster.id,
            log,
            file=settings.data / "producers" / "logs" / name,
            line_bytes_max=settings.producers.line_bytes_max,
            sender=sender,
            clock=clock,
            telemetry=telemetry,
            stop=stop,
        )

    return LogTails([follow(cluster, log) for cluster in settings.clusters for log in cluster.logs])
