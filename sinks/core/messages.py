"""What comes from Kafka and what it becomes. Out: frozen values that rows, batches and flushes
share.

The rule this file owns: a record is known by its coordinates `_p` (source x 65536 + partition) and
`_o` (offset); a source is one incarnation of one topic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import pyarrow as pa

from schemas.topics import TopicName
from sinks.core.tables import Table

PARTITIONS_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Message:
    """One Kafka record as it came."""

    topic: TopicName
    p: int  # the coordinate _p
    offset: int
    ts_ms: int  # Kafka's time of the record
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


class Fate(StrEnum):
    """What became of a record; the column `outcome` of `records`."""

    STORED = "stored"
    TOMBSTONE = "tombstone"
    UNDECODABLE = "undecodable"  # it is a dead letter now
    GAP = "gap"  # it and those before it had left Kafka before they were read


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows of one record, by table, without coordinates."""

    cluster: str
    fate: Fate
    rows: Mapping[Table, pa.RecordBatch]
    error: str = ""


def coordinate(source: int, partition: int) -> int:
    """Return `_p`."""
    if not 0 <= partition < PARTITIONS_MAX:
        raise AssertionError(f"partition {partition} has no room in _p")
    return source * PARTITIONS_MAX + partition
