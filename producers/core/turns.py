"""Give a target its turn at a thread. In: the attempts of ticks that came. Out: where it stands.

The rule this file owns: a target waits for a thread, or is scraped, or neither. It waits with one
attempt, the newest: one that waited until the next tick came was never tried, and says so. What is
reported comes out in the order of ticks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from producers.core.attempts import Attempt

BUSY: Final = "the scrape before it still ran"
PAUSED: Final = "the producer was held up"
NO_THREAD: Final = "it waited for a thread of the producer (producers.scrape_threads)"


@dataclass(frozen=True, slots=True)
class Passed:
    """An attempt that is reported without a request, and why."""

    attempt: Attempt
    reason: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a target stands. `passed` is reported before `attempt`, or after what is running."""

    attempt: Attempt | None = None  # waits for a thread
    running: bool = False
    passed: tuple[Passed, ...] = ()

    @property
    def idle(self) -> bool:
        """Tell whether no thread works, or will work, on the target."""
        return self.attempt is None and not self.running


IDLE: Final = Turn()
RUNNING: Final = Turn(running=True)


def called(turn: Turn, attempts: Sequence[Attempt]) -> Turn:
    """Return where a target stands when ticks have come; `attempts` are theirs, one at least.

    Several come at once where nobody planned for a while: the newest is tried.
    """
    if turn.running:
        busy = tuple(Passed(one, BUSY) for one in attempts)
        return Turn(running=True, passed=turn.passed + busy)
    *missed, newest = attempts
    waited = (Passed(turn.attempt, NO_THREAD),) if turn.attempt else ()
    paused = tuple(Passed(one, PAUSED) for one in missed)
    return Turn(newest, passed=turn.passed + waited + paused)
