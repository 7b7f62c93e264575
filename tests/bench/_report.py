"""Print what a bench found. In: names, numbers. Out: lines on stdout, the last one for programs.

Rule: who reads the numbers can repeat them: the command, the versions and how busy the machine was
stand above them.
"""

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

OURS = ("numpy", "pyarrow")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def head(name: str, *peers: str) -> None:
    """Print the command and who takes part; peers: `name version`."""
    packages = ", ".join(f"{package} {version(package)}" for package in OURS)
    print(f"$ make bench BENCH={name}")
    print(f"Python {platform.python_version()}, {packages}; peers: {', '.join(peers) or 'none'}")
    one, five, _ = os.getloadavg()
    print(f"{os.cpu_count()} cores, load {one:.1f} (1 min), {five:.1f} (5 min)")


def result(name: str, value: float, goal: float, better: str) -> None:
    """Print the last line."""
    assert better in ("higher", "lower")
    print(f"{name} value={value:.3g} goal={goal:g} better={better}")


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the percentile of a distribution; with few values it is among the greatest."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def cpu_s(pid: int) -> float:
    """Return the user and system time of a process, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
