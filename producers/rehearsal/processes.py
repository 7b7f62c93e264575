"""What every Go process says about itself. In: its CPU and memory. Out: families.

The rule this file owns: `process_*` and `go_*` look as the Prometheus client of Go prints them.
"""

from typing import Final

from producers.rehearsal.catalogue import KUBERNETES
from producers.rehearsal.curves import Floats
from producers.rehearsal.exposition import Family
from producers.rehearsal.families import Moving, counted, gauge
from producers.rehearsal.story import CORES

GO: Final = "go1.26.8"
HEAP_SHARE: Final = 0.62  # of resident memory

KUBERNETES_BUILD: Final = gauge(
    "kubernetes_build_info",
    "[BETA] Always 1; labels say what was built.",
    (
        {
            "build_date": "2026-08-21T00:00:00Z", "compiler": "gc", "git_commit": "rehearsal",
            "git_tree_state": "clean", "git_version": KUBERNETES, "go_version": GO, "major": "1",
            "minor": "36", "platform": "linux/amd64",
        },
        1,
    ),
)  # fmt: skip


def process_counters(scope: str, cores: Floats) -> list[Moving]:
    """Return CPU time in hundredths, as the kernel counts it, and bytes allocated."""
    return [
        counted(scope, "go_memstats_alloc_bytes_total", "Bytes allocated.", [({}, cores * 250e6)]),
        counted(
            scope, "go_memstats_mallocs_total", "Heap objects allocated.", [({}, cores * 2.5e6)]
        ),
        counted(scope, "process_cpu_seconds_total", "CPU time spent.", [({}, cores)], per_unit=100),
    ]


def process_gauges(start_s: float, resident_bytes: float, goroutines: float) -> list[Family]:
    """Return memory, goroutines and start time of a process."""
    heap = round(resident_bytes * HEAP_SHARE)
    values = {
        "go_goroutines": ("Goroutines.", round(goroutines)),
        "go_memstats_alloc_bytes": ("Bytes allocated and in use.", heap),
        "go_memstats_heap_inuse_bytes": ("Heap bytes in use.", round(heap * 1.15)),
        "go_sched_gomaxprocs_threads": ("Threads that run Go code at once.", round(CORES)),
        "go_threads": ("OS threads.", 21),
        "process_max_fds": ("Most open files.", 1_048_576),
        "process_open_fds": ("Open files.", 240),
        "process_resident_memory_bytes": ("Resident memory.", round(resident_bytes)),
        "process_start_time_seconds": ("Start time since 1970.", round(start_s, 2)),
        "process_virtual_memory_bytes": ("Virtual memory.", round(resident_bytes) + 1_600_000_000),
    }
    plain = [gauge(name, text, ({}, value)) for name, (text, value) in values.items()]
    return [*plain, gauge("go_info", "The Go environment.", ({"version": GO}, 1))]
