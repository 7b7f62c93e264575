"""End this process at a chosen point, for kill tests. In: PLANEWATCH_TEST_FAULT, such as
`between-inserts` or `before-records@3`. Out: nothing, ever.

The rule this file owns: a fault kills as `kill -9` does, at the n-th time that its point is passed
(the first by default); without the variable the points cost a comparison.
"""

import os
from typing import Final

BETWEEN_INSERTS: Final = "between-inserts"
BEFORE_RECORDS: Final = "before-records"
AFTER_RECORDS: Final = "after-records"

KILLED: Final = 137


class Faults:
    """The faults that the environment asks for."""

    def __init__(self, wanted: str | None = None) -> None:
        wanted = os.environ.get("PLANEWATCH_TEST_FAULT", "") if wanted is None else wanted
        self._point, _, times = wanted.partition("@")
        self._left = int(times or 1)

    def at(self, point: str) -> None:
        """Pass `point`; end here if it is the one."""
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            os._exit(KILLED)
