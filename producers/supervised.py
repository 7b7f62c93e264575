"""Run work that must not end before it is told to. In: the work, and when it may end. Out: a thread
that says what ended it.

The rule this file owns: no thread ends unnoticed. A stage that lost one would live on and observe
less than its operator believes, so it asks `check`, and ends of the same cause.
"""

import logging
import threading
from collections.abc import Callable

from schemas.errors import PlanewatchError

logger = logging.getLogger(__name__)


class Supervised:
    """A thread that works until `stop` is set."""

    def __init__(self, name: str, work: Callable[[], None], stop: threading.Event) -> None:
        self._work, self._stop = work, stop
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the work has ended, at most `timeout_s`; tell whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what ended the thread, if it ended before `stop` was set.

        Raises:
            PlanewatchError: as the work raised it.
            AssertionError: anything else, which only a mistake of ours can cause.
        """
        begun = self._thread.ident is not None  # who asks may be faster than who starts it
        if not begun or self._thread.is_alive() or self._stop.is_set():
            return
        if isinstance(self._error, PlanewatchError):
            raise self._error
        cause = f"of {self._error!r}" if self._error else "by itself"
        raise AssertionError(f"the thread {self._thread.name} has ended {cause}") from self._error

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # told by `check`; nobody asks once the stage stops
            self._error = error
            if self._stop.is_set():
                logger.warning("ended thread=%s error=%r", self._thread.name, error)
