"""Compare what is in ClickHouse with what was sent to Kafka.

In: the traffic of a test, and the tables. Out: what differs. Rule: what is wanted comes from the
broker and from how records were made; nothing of sinks is used but the way to ask a question.
"""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from schemas.topics import TopicName, full_name
from tests.traffic import COUNTED, Made, Traffic

READ = ("scrapes", "changes", "logs", "indicators", "alerts", "dead-letters")
"""The topics that sinks read (topics.yaml)."""

Ask = Callable[[str], pa.Table]
Place = tuple[str, int]  # topic, partition
Coordinates = tuple[str, int, int]  # and offset


def watermarks(bootstrap: str, prefix: str, partitions: int) -> dict[Place, tuple[int, int]]:
    """Return (low, high) of every partition that sinks read."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{prefix}-watermarks"})
    topics = [full_name(TopicName(name), prefix) for name in READ]
    try:
        return {
            (topic, partition): consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=10.0
            )
            for topic in topics
            for partition in range(partitions)
        }
    finally:
        consumer.close()


def records_wanted(traffic: Traffic) -> int:
    """Return how many records the broker has for sinks."""
    marks = watermarks(traffic.bootstrap, traffic.prefix, traffic.partitions)
    return sum(high - low for low, high in marks.values())


def differences(ask: Ask, traffic: Traffic) -> list[str]:
    """Return everything in which the tables differ from the log; nothing, if each record is stored
    exactly once."""
    places = _places(ask, traffic.prefix)
    return [
        *_offsets(ask, traffic, places),
        *_counts(ask, traffic, places),
        *(line for table in COUNTED for line in _rows(ask, traffic, places, table)),
    ]


def _places(ask: Ask, prefix: str) -> dict[int, str]:
    """Return the topic of every source."""
    rows = ask("SELECT source, topic FROM sources").to_pylist()
    return {row["source"]: row["topic"] for row in rows if row["topic"].startswith(prefix)}


def _offsets(ask: Ask, traffic: Traffic, places: dict[int, str]) -> list[str]:
    """Rows of `records` = distinct offsets = high minus low watermark, per partition."""
    found = {
        (places[row["_p"] >> 16], row["_p"] & 0xFFFF): (row["rows"], row["distinct"])
        for row in ask(
            "SELECT _p, count() AS rows, uniqExact(_o) AS distinct FROM records GROUP BY _p"
        ).to_pylist()
    }
    marks = watermarks(traffic.bootstrap, traffic.prefix, traffic.partitions)
    return [
        f"{place}: {high - low} in Kafka, (rows, offsets) of records {found.get(place, (0, 0))}"
        for place, (low, high) in marks.items()
        if found.get(place, (0, 0)) != (high - low, high - low)
    ]


def _counts(ask: Ask, traffic: Traffic, places: dict[int, str]) -> list[str]:
    """The counts in `records` are those of an independent decode."""
    columns = ", ".join(COUNTED)
    wrong = []
    for row in ask(f"SELECT _p, _o, outcome, {columns} FROM records").to_pylist():
        at = (places[row["_p"] >> 16], row["_p"] & 0xFFFF, row["_o"])
        wanted = {"outcome": "stored", **dict.fromkeys(COUNTED, 0), **_wanted(traffic, at)}
        if wrong_ones := {name for name in wanted if wanted[name] != row[name]}:
            wrong.append(f"{at}: records has {row}, wanted {wanted}: {wrong_ones}")
    return wrong


def _rows(ask: Ask, traffic: Traffic, places: dict[int, str], table: str) -> list[str]:
    """Each record has its rows in `table`, once."""
    found = Counter(
        {
            (places[row["_p"] >> 16], row["_p"] & 0xFFFF, row["_o"]): row["rows"]
            for row in ask(
                f"SELECT _p, _o, count() AS rows FROM {table} GROUP BY _p, _o"
            ).to_pylist()
        }
    )
    wanted = Counter({at: made.rows.get(table, 0) for at, made in traffic.sent.items()})
    if table == "dead_letters":  # written by sinks: one row each, at least one for each bad record
        letters = {at for at in found if at[0].endswith("dead-letters.v1")}
        wanted = Counter(dict.fromkeys(letters, 1))
    return [
        f"{table} {at}: {wanted[at]} rows wanted, {found[at]} found"
        for at in _unlike(wanted, found)
    ]


def _unlike(wanted: Counter[Coordinates], found: Counter[Coordinates]) -> list[Coordinates]:
    return sorted(at for at in {*wanted, *found} if wanted[at] != found[at])


def _wanted(traffic: Traffic, at: Coordinates) -> dict[str, object]:
    made: Made | None = traffic.sent.get(at)
    if made is None:
        return {"dead_letters": 1}  # nobody but sinks writes what the test did not
    return {"outcome": made.outcome, **made.rows}


def dead_letters_missing(ask: Ask, traffic: Traffic) -> set[Coordinates]:
    """Return the records that nobody could read and that are in no dead letter."""
    rows = ask("SELECT origin_topic, origin_partition, origin_offset FROM dead_letters").to_pylist()
    found = {(row["origin_topic"], row["origin_partition"], row["origin_offset"]) for row in rows}
    return {at for at, made in traffic.sent.items() if made.outcome == "undecodable"} - found
