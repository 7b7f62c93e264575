"""End this process at a chosen point, for kill tests. In: PLANEWATCH_TEST_FAULT, such as
`streams-sent@7`. Out: nothing, ever.

The rule this file owns: a fault kills as `kill -9` does, the n-th time that its point is passed.
"""

import os
from typing import Final

SENT: Final = "streams-sent"  # outputs are acknowledged, the table does not know
KILLED: Final = 137


class Faults:
    """The fault that the environment asks for."""

    def __init__(self) -> None:
        self._point, _, times = os.environ.get("PLANEWATCH_TEST_FAULT", "").partition("@")
        self._left = int(times or 1)

    def at(self, point: str) -> None:
        """Pass `point`; end here if it is the one."""
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os._exit(KILLED)
