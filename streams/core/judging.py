"""Decide when alerts are judged. In: the times of evaluations. Out: whether there is another one,
and which rules it leaves alone.

The rules this file owns:
- A cluster is judged once a second in the long run, however many targets it has.
- What must hold for minutes need not be looked at each second: a rule rests for a tenth of its
  `for` from one look to the next, and never longer than REST_MS_MAX. Its alerts stay as they are.
- Whether a rule rests follows from two times and its `for`; nothing is remembered by rule.
"""

from typing import Final

import msgspec

BURST: Final = 5.0
RESTS: Final = 10
"""Looks at a rule within its `for`, at least."""
REST_MS_MAX: Final = 30_000
"""The evaluation interval of kube-prometheus: no rule waits longer than there."""


class Budget(msgspec.Struct):
    """How often alerts may be judged: once an event second in the long run, a few at a time.

    Targets whose ticks fall into one second are judged one by one; in a cluster that is scraped
    many times a second a scrape may wait for the next one.
    """

    tokens: float = BURST
    at_ms: int = 0
    taken_ms: int = 0  # of the last evaluation that happened

    def take(self, t_ms: int) -> bool:
        """Tell whether an evaluation at `t_ms` may happen, and count it."""
        earned = max(0, t_ms - self.at_ms) / 1000 if self.at_ms else 0.0
        self.tokens = min(BURST, self.tokens + earned)
        self.at_ms = max(self.at_ms, t_ms)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        self.taken_ms = t_ms
        return True


def rests(for_ms: int, since_ms: int, t_ms: int) -> bool:
    """Tell whether a rule is left alone at `t_ms`; the evaluation before was at `since_ms`."""
    rest_ms = min(for_ms // RESTS, REST_MS_MAX)
    return rest_ms > 0 and t_ms // rest_ms == since_ms // rest_ms
