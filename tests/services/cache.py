"""Keep what tests fetch from outside between runs.

In: a name and a function that fills a folder. Out: that folder, filled once for this user,
however many processes ask at the same moment. Rule: a folder under its final name is complete;
everything half done stands under another name.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path:
    """Return the folder that all test services share: one for each user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "planewatch-tests"


def built(name: str, build: Callable[[Path], None]) -> Path:
    """Return cache folder `name`; `build` fills it the first time."""
    folder = cache_root() / name
    with locked(name):
        if not folder.exists():
            draft = folder.with_name(f"{name}.draft")
            shutil.rmtree(draft, ignore_errors=True)  # left by a process that was killed
            draft.mkdir(parents=True)
            build(draft)
            draft.rename(folder)
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock between processes; the kernel frees it when its holder dies."""
    path = cache_root() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
