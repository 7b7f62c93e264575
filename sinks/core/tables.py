"""The tables that records become rows of. Out: their Arrow columns, in the order of the tables.

The rule this file owns: a row has exactly the columns of its table (`tests/contract` compares with
DESCRIBE), and every row ends with the coordinates of its record: _p, _o, and the day of insertion.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from schemas.arrow import CODES
from schemas.series import CORE_LABELS
from schemas.topics import TopicName


class Table(StrEnum):
    """The wide tables, in the order in which a flush writes them; `records` comes after them."""

    SAMPLES = "samples"
    HISTOGRAMS = "histograms"
    SCRAPES = "scrapes"
    CHANGES = "changes"
    LOGS = "logs"
    INDICATORS = "indicators"
    ALERTS = "alerts"
    DEAD_LETTERS = "dead_letters"


RECORDS: Final = "records"

TABLES_OF: Final[Mapping[TopicName, tuple[Table, ...]]] = MappingProxyType(
    {
        TopicName.SCRAPES: (Table.SAMPLES, Table.HISTOGRAMS, Table.SCRAPES),
        TopicName.CHANGES: (Table.CHANGES,),
        TopicName.LOGS: (Table.LOGS,),
        TopicName.INDICATORS: (Table.INDICATORS,),
        TopicName.ALERTS: (Table.ALERTS,),
        TopicName.DEAD_LETTERS: (Table.DEAD_LETTERS,),
    }
)
"""The topics that sinks read, and the tables that their records reach."""

TIME: Final = pa.timestamp("ms", "UTC")
TEXT: Final = pa.utf8()

_COORDINATES: Final[dict[str, pa.DataType]] = {
    "_p": pa.uint32(),
    "_o": pa.uint64(),
    "_day": pa.date32(),
}
_TARGET: Final = dict.fromkeys(("cluster", "job", "instance", "path"), CODES)
_LABELS: Final = dict.fromkeys((*CORE_LABELS, "labels"), CODES)
_SERIES: Final[dict[str, pa.DataType]] = {
    **_TARGET,
    "metric": CODES,
    "kind": CODES,
    **_LABELS,
    "series": pa.uint64(),
    "ts": TIME,
    "value": pa.float64(),
}

_COLUMNS: Final[dict[Table, dict[str, pa.DataType]]] = {
    Table.SAMPLES: _SERIES,
    Table.HISTOGRAMS: {
        **_SERIES,
        "count": pa.uint64(),
        "buckets": pa.list_(pa.int64()),
        "bounds": CODES,
    },
    Table.SCRAPES: {
        **_TARGET,
        "target_labels": TEXT,
        "scrape_id": TEXT,
        "tick": TIME,
        "ts": TIME,
        "duration_ms": pa.int64(),
        "interval_ms": pa.int64(),
        "sequence": pa.uint64(),
        "outcome": TEXT,
        "reason": TEXT,
        "http_status": pa.uint16(),
        "bytes": pa.uint64(),
        "series": pa.uint64(),
        "rows": pa.uint64(),
        "chunks": pa.uint32(),
        "process_start": TIME,
        "kubernetes_version": TEXT,
        "family_filter": TEXT,
        "generation": TEXT,
    },
    Table.CHANGES: {
        **dict.fromkeys(
            (
                "cluster",
                "api_version",
                "kind",
                "namespace",
                "name",
                "uid",
                "resource_version",
                "op",
            ),
            TEXT,
        ),
        "ts": TIME,
        **dict.fromkeys(
            ("owner_kind", "owner_name", "owner_uid", "diff", "rollout", "object"), TEXT
        ),
    },
    Table.LOGS: {
        **dict.fromkeys(("cluster", "job", "instance"), TEXT),
        "ts": TIME,
        **dict.fromkeys(("level", "template", "message", "fields", "raw"), TEXT),
    },
    Table.INDICATORS: {
        "cluster": CODES,
        "rule_group": CODES,
        "metric": CODES,
        **_LABELS,
        "series": pa.uint64(),
        "ts": TIME,
        "interval_ms": pa.int64(),
        "value": pa.float64(),
        "coverage": pa.float32(),
        "rules_hash": CODES,
        "epoch": pa.uint64(),
    },
    Table.ALERTS: {
        "cluster": TEXT,
        "fingerprint": TEXT,
        "epoch": pa.uint64(),
        "seq": pa.int64(),
        **dict.fromkeys(
            ("event_id", "rule_id", "rule_version", "status", "reason", "severity"), TEXT
        ),
        "severity_number": pa.uint8(),
        **dict.fromkeys(("labels", "annotations", "summary"), TEXT),
        "value": pa.float64(),
        **dict.fromkeys(("active_at", "starts_at", "ends_at", "updated_at", "watermark"), TIME),
        "coverage": pa.float32(),
        "emitted_at": TIME,
        "record": TEXT,
    },
    Table.DEAD_LETTERS: {
        "cluster": TEXT,
        "ts": TIME,
        "origin_topic": TEXT,
        "origin_partition": pa.int32(),
        "origin_offset": pa.int64(),
        **dict.fromkeys(("stage", "error_class", "error"), TEXT),
        "key": pa.binary(),
        "value": pa.binary(),
    },
}

SCHEMAS: Final[Mapping[Table, pa.Schema]] = MappingProxyType(
    {table: pa.schema(list(_COLUMNS[table].items())) for table in Table}
)
"""The columns of each wide table, without coordinates."""

COORDINATES: Final = pa.schema(list(_COORDINATES.items()))

RECORDS_SCHEMA: Final = pa.schema(
    [
        *((name, TEXT) for name in ("topic", "cluster", "outcome", "error")),
        ("missing", pa.uint64()),
        ("bytes", pa.uint32()),
        *((table, pa.uint32()) for table in Table),
        ("ts", TIME),
        ("stored", TIME),
        *_COORDINATES.items(),
    ]
)
