"""Hold the credentials of one cluster. In: how its API server is reached. Out: who we are to it, at
any moment and at once.

The rule this file owns: no scrape waits for a plug-in, which may take seconds or hang. One thread
reads credentials anew; whoever needs some takes those of now, and where none can be had, the old
ones are used on.
"""

import logging
import threading
import time

from producers.access import Access
from producers.core.credentials import Identity, Reading, renew_after_s, retry_after_s
from producers.supervised import Supervised
from schemas.errors import ConfigError

logger = logging.getLogger(__name__)


class Credentials:
    """Credentials of one kubeconfig, or of the pod we are; kept fresh until `stop`."""

    def __init__(self, cluster: str, access: Access, stop: threading.Event) -> None:
        """Read them once.

        Raises:
            ConfigError: the kubeconfig cannot be used.
        """
        self._cluster, self._access, self._stop = cluster, access, stop
        settings, self._reading = access.open()
        self.server = str(settings.host)
        self._refused = threading.Event()
        self._in_vain = 0  # readings in a row that changed nothing, though they were asked for
        self._failing = False
        self._thread = Supervised(f"credentials-{cluster}", self._run, stop)

    @property
    def identity(self) -> Identity:
        """Who we are now."""
        return self._reading.identity

    def refused(self) -> None:
        """Take note that they were of no use with a server; any thread, as often as it likes."""
        self._refused.set()

    def start(self) -> None:
        """Begin to keep them fresh."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until that has ended; a plug-in that hangs ends with the process."""
        self._refused.set()  # wakes the thread
        self._thread.join(timeout_s)

    def check(self) -> None:
        """Raise what ended it before `stop` was set."""
        self._thread.check()

    def _run(self) -> None:
        while not self._stop.is_set():
            began_s, due_s = time.monotonic(), renew_after_s(self._reading)
            refused = self._refused.wait(due_s)
            soonest_s = retry_after_s(self._in_vain, due_s) if self._in_vain else 0.0
            if refused and self._stop.wait(max(0.0, began_s + soonest_s - time.monotonic())):
                return
            self._refused.clear()
            if not self._stop.is_set():
                self._renew(asked=refused)

    def _renew(self, *, asked: bool) -> None:
        before = self._reading
        try:
            _, self._reading = self._access.open()
        except ConfigError as error:  # it is being written, or a program is not there
            if not self._failing:
                logger.warning("credentials not renewed cluster=%s error=%s", self._cluster, error)
            self._failing = True
            self._reading = Reading(before.identity)  # look again soon
            return
        self._failing = False
        if self._reading.empty and not before.empty:
            self._reading = Reading(before.identity, self._reading.plugged, 0.0)
        changed = self._reading.identity != before.identity
        self._in_vain = self._in_vain + 1 if asked and not changed else int(asked)
