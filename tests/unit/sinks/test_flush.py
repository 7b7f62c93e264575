"""A flush ends in time, or somebody else begins it anew."""

from dataclasses import dataclass, field
from threading import Event

import pyarrow as pa
import pytest

from schemas.errors import SinkRetry
from schemas.telemetry import Telemetry
from sinks.core.batching import Batch, Limits
from sinks.core.messages import Message
from sinks.core.rows import decode_message
from sinks.core.tables import RECORDS
from sinks.flush import FLUSH_S_MAX, MEMBER_S, DeadLetters, Flusher
from sinks.store import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S
from tests import traffic


@dataclass
class SlowStore:
    """A store whose inserts take `insert_s`, on the clock that it is."""

    insert_s: float
    now_s: float = 0.0
    started_s: dict[str, float] = field(default_factory=dict)

    def __call__(self) -> float:
        return self.now_s

    def insert(self, table: str, rows: pa.Table, *, token: str) -> None:
        self.started_s[table] = self.now_s
        self.now_s += self.insert_s


def flush(store: SlowStore) -> None:
    telemetry, batch = Telemetry("sinks"), Batch(Limits(100, 1_000_000, 2_000))
    made = traffic.scrape("c1", 1_000, sequence=1, plain=4, histograms=2)
    found = Message(made.topic, 7, 0, 5_000, b"c1/x", made.value, {})
    batch.add(found, decode_message(found), {}, now_ms=10_000)
    letters = DeadLetters("dead-letters", {}, telemetry)
    Flusher(store, letters, telemetry, Event(), clock=store).flush(batch, "age")


def test_a_flush_in_time_stores_everything() -> None:
    store = SlowStore(insert_s=30.0)

    flush(store)

    assert 4 == len(store.started_s)  # three wide tables, and what is complete


def test_no_insert_starts_after_the_deadline_of_a_flush() -> None:
    store = SlowStore(insert_s=50.0)

    with pytest.raises(SinkRetry, match="a flush took more than 120 s"):
        flush(store)

    assert RECORDS not in store.started_s
    assert max(store.started_s.values()) <= FLUSH_S_MAX


def test_a_consumer_is_a_member_for_longer_than_any_flush() -> None:
    assert FLUSH_S_MAX + CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S < MEMBER_S
