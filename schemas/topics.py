"""The registry of topics, read from `topics.yaml`. Out: one frozen Topic per entry, and the names
of headers.

The rule this file owns: a topic exists once, here; creation, the README's table and access lists
come from it.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal

import msgspec
import yaml

HOUR_MS: Final = 3_600_000


class TopicName(StrEnum):
    """The short names of all topics."""

    SCRAPES = "scrapes"
    CHANGES = "changes"
    AUDIT = "audit"
    LOGS = "logs"
    INDICATORS = "indicators"
    ALERTS = "alerts"
    DEAD_LETTERS = "dead-letters"
    STATE = "state"
    TARGETS = "targets"


class Header(StrEnum):
    """The names of record headers; their values are ASCII."""

    LAYOUT = "layout"  # 16 hex digits
    CHUNK = "chunk"  # i/n, from 0
    TICK_MS = "tick-ms"
    OUTCOME = "outcome"
    EMITTED_AT_MS = "emitted-at-ms"  # wall clock
    ORIGIN_TOPIC = "origin-topic"
    ORIGIN_PARTITION = "origin-partition"
    ORIGIN_OFFSET = "origin-offset"
    STAGE = "stage"
    ERROR_CLASS = "error-class"
    ERROR = "error"


class Topic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One topic as the registry describes it."""

    version: int
    description: str
    key: str
    record: str
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    cleanup: Literal["delete", "compact"]
    retention_hours: int | None
    compaction_lag_hours: int = 0
    headers: tuple[Header, ...]


@cache
def registry() -> Mapping[TopicName, Topic]:
    """Return all topics by short name, in the order of the file."""
    text = files("schemas").joinpath("topics.yaml").read_text(encoding="utf-8")
    return MappingProxyType(msgspec.convert(yaml.safe_load(text), dict[TopicName, Topic]))


def full_name(name: TopicName, prefix: str) -> str:
    """Return the name of a topic on the broker: planewatch.scrapes.v1."""
    return f"{prefix}.{name}.v{registry()[name].version}"


def short_name(topic: str, prefix: str) -> TopicName | None:
    """Return which of our topics `topic` is, or None."""
    return next((name for name in TopicName if full_name(name, prefix) == topic), None)
