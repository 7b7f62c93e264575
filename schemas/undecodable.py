"""Judge how much of a topic cannot be read. In: for each record, whether it could. Out: whether to
stop.

The rule this file owns: a few bad records become dead letters and the stage goes on; when more than
a configured share of the last 100 of a topic is bad, the sender is broken, or we are, and the stage
stops before it turns a topic into dead letters.
"""

from collections import defaultdict, deque
from typing import Final

from schemas.topics import TopicName

WINDOW: Final = 100


class Undecodable:
    """Remembers the last records of each topic."""

    def __init__(self, share_max: float) -> None:
        self._bad_max = share_max * WINDOW
        self._last: defaultdict[TopicName, deque[bool]] = defaultdict(lambda: deque(maxlen=WINDOW))

    def note(self, topic: TopicName, *, bad: bool) -> bool:
        """Take one record into account; return whether the share is above its maximum now."""
        last = self._last[topic]
        last.append(bad)
        return bad and sum(last) > self._bad_max
