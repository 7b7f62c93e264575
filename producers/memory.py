"""Keep the memory of many threads together. In: nothing. Out: one allocator, with few arenas.

The rule this file owns: what one thread has given back another may use. glibc gives each thread an
arena of its own, up to 8 for each core, which keeps the most that it ever held: with a thread for
each target that is the biggest body many times. Measured with one server that floods and eight that
fail: 920 MB with the arenas of glibc, 390 MB with two.

The allocator that Arrow brings has a heap for each thread, too: 40 threads that make records of
23 k series kept 470 bytes a series with it, 143 with the one of the C library.
"""

import ctypes
from typing import Final

import pyarrow as pa

ARENAS: Final = 2  # Python runs one thread at a time; libraries that do not use the other
_M_ARENA_MAX: Final = -8  # of mallopt(3), in malloc.h


def share_arenas() -> None:
    """Let all threads share two arenas, Arrow's as well; call it before the first one starts.

    Another C library has no such function, and no such arenas.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)
