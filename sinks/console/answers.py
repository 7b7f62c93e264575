"""Say what the console's endpoints answer. In: Arrow tables. Out: records that JSON can carry.

The rule this file owns: columns stay columns; times are epoch milliseconds; what is no number (NaN,
infinity) is null; an integer that JavaScript would round is text. `/api/schema` publishes these
records as JSON Schema.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa

from sinks.core.panels import Panel

SAFE_INTEGER_MAX: Final = 2**53 - 1

Kind = Literal["time", "number", "text"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers."""


class Column(Record, frozen=True, kw_only=True):
    """A column: times are epoch ms, numbers may be null, everything else is text."""

    name: str
    kind: Kind
    values: list[Any]


class Rows(Record, frozen=True, kw_only=True):
    """`/api/query/{name}`: what a named query answered for a range of event time."""

    query: str
    from_ms: int
    to_ms: int
    step_s: int
    took_ms: int
    rows: int
    columns: list[Column]


class PageAnswer(Record, frozen=True, kw_only=True):
    """`/api/panels/{page}`: what to draw. `pages` are all pages, in reading order."""

    page: str
    title: str
    pages: list[dict[str, str]]
    panels: Sequence[Panel]


class OpenAlert(Record, frozen=True, kw_only=True):
    """An alert that is firing, or unknown because its inputs vanished."""

    cluster: str
    fingerprint: str
    name: str
    status: str
    severity: str
    since_ms: int
    updated_ms: int
    summary: str
    description: str
    first_action: str
    runbook: str
    labels: dict[str, str]
    value: float | None


class Cluster(Record, frozen=True, kw_only=True):
    """A watched cluster; null: no scrape in the last day, no evaluation in the last 15 minutes."""

    id: str
    name: str
    labels: dict[str, str]
    newest_scrape_ms: int | None = None
    newest_evaluation_ms: int | None = None
    targets: int = 0
    failing: int = 0  # of them, by their newest scrape


class Alerts(Record, frozen=True, kw_only=True):
    """`/api/alerts`: open ones, worst first. Signs of life have severity none."""

    now_ms: int
    alerts: list[OpenAlert]


class Clusters(Record, frozen=True, kw_only=True):
    """`/api/clusters`: every configured cluster, and every one that has data."""

    now_ms: int
    clusters: list[Cluster]


class Live(Record, frozen=True, kw_only=True):
    """One event of `/api/live`. `failure` is set where the tables did not answer this time."""

    now_ms: int
    alerts: list[OpenAlert] = []
    clusters: list[Cluster] = []
    failure: "Failure | None" = None


class Failure(Record, frozen=True, kw_only=True):
    """What every endpoint answers, with a status of 400 or more, when it cannot."""

    error: str
    remedy: str


PUBLISHED: Final = (Rows, PageAnswer, Alerts, Clusters, Live, Failure)


def columns(table: pa.Table) -> list[Column]:
    """Return the columns of a table as JSON can carry them."""
    return [_column(name, table.column(name)) for name in table.schema.names]


def _column(name: str, column: pa.ChunkedArray) -> Column:
    kind = column.type
    if pa.types.is_timestamp(kind):
        times = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
        return Column(name=name, kind="time", values=times.to_pylist())
    values = column.to_pylist()
    if pa.types.is_floating(kind):
        return Column(name=name, kind="number", values=[_finite(value) for value in values])
    if pa.types.is_boolean(kind):
        return Column(name=name, kind="number", values=[_number(value) for value in values])
    if pa.types.is_integer(kind) and all(
        value is None or abs(value) <= SAFE_INTEGER_MAX for value in values
    ):
        return Column(name=name, kind="number", values=values)
    return Column(name=name, kind="text", values=[_text(value) for value in values])


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
