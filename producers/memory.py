"""Keep the memory of many threads together. In: nothing. Out: an allocator with few arenas.

The rule this file owns: what one thread has given back another may use. glibc gives each thread an
arena of its own, up to 8 for each core, which keeps the most that it ever held: with a thread for
each target that is the biggest body many times. Measured with one server that floods and eight that
fail: 920 MB with the arenas of glibc, 390 MB with two.
"""

import ctypes
from typing import Final

ARENAS: Final = 2  # Python runs one thread at a time; libraries that do not use the other
_M_ARENA_MAX: Final = -8  # of mallopt(3), in malloc.h


def share_arenas() -> None:
    """Let all threads share two arenas; call it before the first one starts.

    Another C library has no such function, and no such arenas.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)
