"""Judge a time that others tell. In: milliseconds since 1970 UTC. Out: whether records may hold it.

The rule this file owns: what a server or a log says is sent only where every reader can hold it;
one absurd time must not cost the record that it came with.
"""

from typing import Final

TIME_MS_END: Final = 2**32 * 1000  # 2106: as far as 32 bits of seconds, the narrowest column, go


def holds(time_ms: float) -> bool:
    """Tell whether a time lies in 1970..2106; NaN does not."""
    return 0 <= time_ms < TIME_MS_END
