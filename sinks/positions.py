"""Know what is stored. In: the tables. Out: the number of every source, where reading goes on, and
what each table has already.

The rule this file owns: positions live in ClickHouse beside the rows and nowhere else; offsets
committed to Kafka are for lag tools.
"""

import logging
import uuid
from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from schemas.errors import SinkRefused
from sinks.core.batching import RecordRow, Stored, records_insert
from sinks.core.messages import Fate
from sinks.core.sources import Claim, Identity, next_number, numbers
from sinks.core.tables import RECORDS, Table
from sinks.store import Store

log = logging.getLogger(__name__)

CLAIMS_MAX: Final = 10
"""Attempts to get a number while other processes claim some."""


def source_numbers(store: Store, identities: Iterable[Identity]) -> dict[Identity, int]:
    """Return the number of each source; those seen for the first time get one."""
    wanted = set(identities)
    for _ in range(CLAIMS_MAX):
        claims = _claims(store)
        known = numbers(claims)
        missing = sorted(wanted - set(known))
        if not missing:
            return {identity: known[identity] for identity in wanted}
        _claim(store, missing[0], next_number(claims))
    raise SinkRefused("other processes take every source number first: start one at a time")


def next_offsets(store: Store, ps: Iterable[int]) -> dict[int, int]:
    """Return max(_o) + 1 of `records` for each `_p` that has any: everything below is stored."""
    return {p: offset + 1 for p, offset in _greatest(store, RECORDS, ps).items()}


def stored(store: Store, ps: Iterable[int]) -> Stored:
    """Return the greatest `_o` of each table: above `records` only after a flush was cut short."""
    wanted = list(ps)
    return {table: _greatest(store, table, wanted) for table in Table}


def note_gap(store: Store, topic: str, p: int, *, begin: int, end: int, now_ms: int) -> None:
    """Write down that offsets `begin` up to `end` (not included) will never be stored."""
    error = f"offsets {begin} to {end - 1} had left Kafka before they were read"
    row = RecordRow(topic, "", Fate.GAP, error, end - begin, 0, {}, now_ms, p, end - 1)
    insert = records_insert([row], stored_ms=now_ms)
    store.insert(insert.table, insert.rows, token=f"gap-{begin}-{insert.token}")


def _greatest(store: Store, table: str, ps: Iterable[int]) -> dict[int, int]:
    found = store.query(
        "SELECT _p, max(_o) AS greatest FROM {table:Identifier} "
        "WHERE has({ps:Array(UInt32)}, _p) GROUP BY _p",
        {"table": table, "ps": sorted(ps)},
    )
    return {row["_p"]: row["greatest"] for row in found.to_pylist()}


def _claims(store: Store) -> list[Claim]:
    rows = store.query(
        "SELECT source, kafka, topic, topic_id, toUnixTimestamp64Micro(claimed_at) AS at, claim "
        "FROM sources"
    )
    return [
        Claim(
            row["source"],
            Identity(row["kafka"], row["topic"], row["topic_id"]),
            row["at"],
            row["claim"],
        )
        for row in rows.to_pylist()
    ]


def _claim(store: Store, identity: Identity, number: int) -> None:
    claim = uuid.uuid4().hex
    row = {
        "source": pa.array([number], pa.uint16()),
        "kafka": [identity.kafka],
        "topic": [identity.topic],
        "topic_id": [identity.topic_id],
        "claim": [claim],
    }
    store.insert("sources", pa.table(row), token=f"sources-{claim}")
    log.info("claimed source=%d topic=%s topic_id=%s", number, identity.topic, identity.topic_id)
