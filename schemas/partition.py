"""Choose the partition of a cluster. In: a cluster id. Out: the partition number, the same for
every topic.

The rule this file owns: a cluster is on one partition number of all topics, so that one worker sees
everything about it. Every writer passes the partition explicitly; no client's partitioner is relied
on.
"""

from functools import lru_cache
from typing import Final

PLANEWATCH_CLUSTER: Final = "_planewatch"  # owns the records that are about no cluster

_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return the 32-bit murmur2 of `data` as Kafka's Java client computes it, unsigned."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


@lru_cache(maxsize=10_000)
def partition_of(cluster: str, partitions: int) -> int:
    """Return the partition of `cluster` in topics of `partitions` partitions (DESIGN section 4)."""
    return (murmur2(cluster.encode()) & 0x7FFFFFFF) % partitions
