"""Wrap a record that cannot be read. In: its bytes, coordinates and error. Out: a record for
`dead-letters`.

The rule this file owns: a dead letter keeps the original bytes and says where they came from and
what is wrong.
"""

from dataclasses import dataclass
from typing import Final

from schemas.identity import is_cluster_id
from schemas.partition import PLANEWATCH_CLUSTER
from schemas.topics import Header

ERROR_CHARS_MAX: Final = 1_000

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record for `dead-letters`; write it to `partition`, the partition number of its input."""

    key: bytes
    value: bytes
    headers: Headers
    partition: int


def dead_letter(
    value: bytes | None,
    error: Exception,
    *,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    stage: str,
) -> DeadLetter:
    """Return the dead letter of the record at these coordinates that `stage` could not read."""
    cluster = (key or b"").split(b"/", 1)[0].decode("ascii", "replace")
    cluster = cluster if is_cluster_id(cluster) else PLANEWATCH_CLUSTER
    headers: Headers = [
        (Header.ORIGIN_TOPIC, topic.encode()),
        (Header.ORIGIN_PARTITION, str(partition).encode()),
        (Header.ORIGIN_OFFSET, str(offset).encode()),
        (Header.STAGE, stage.encode()),
        (Header.ERROR_CLASS, type(error).__name__.encode()),
        (Header.ERROR, str(error)[:ERROR_CHARS_MAX].encode("ascii", "backslashreplace")),
    ]
    return DeadLetter(
        f"{cluster}/{topic}/{partition}/{offset}".encode(), value or b"", headers, partition
    )
