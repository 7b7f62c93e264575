"""Send what the core decided. In: outputs of a cluster. Out: acknowledged records.

The rule this file owns: every record names its partition, and `publish` returns when Kafka has
acknowledged all of them; nothing is saved before.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

import faust
from faust.types import TopicT

from schemas.arrow import SCRAPE_SCHEMA, empty_rows, encode_scrape
from schemas.clock import wall_ms
from schemas.codec import encode
from schemas.dead_letters import DeadLetter
from schemas.metrics import Metric
from schemas.records import ScrapeEnvelope
from schemas.telemetry import Telemetry
from schemas.topics import Header, TopicName
from streams.core.assemble import target_of
from streams.core.outputs import Outputs, chunks

Headers = Sequence[tuple[str, bytes]]

NO_ROWS: Final = empty_rows(SCRAPE_SCHEMA)


def raw_topic(app: faust.App, name: str) -> TopicT:
    """Return a topic of plain bytes: agents decode by themselves, inside a guard."""
    return app.topic(
        name,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )


class Publisher:
    """Sends records to our topics."""

    def __init__(
        self, app: faust.App, names: Mapping[TopicName, str], telemetry: Telemetry
    ) -> None:
        self._topics = {name: raw_topic(app, full) for name, full in names.items()}
        self._telemetry = telemetry

    async def publish(self, cluster: str, partition: int, outputs: Outputs) -> None:
        """Send indicators and alerts; return when all of them are acknowledged."""
        pending = []
        for envelope, rows in outputs.indicators:
            key = f"{cluster}/{envelope.group}".encode()
            for value in chunks(envelope, rows):
                pending.append(await self._send(TopicName.INDICATORS, partition, key, value))
        headers = [(str(Header.EMITTED_AT_MS), str(wall_ms()).encode())]
        for alert in outputs.alerts:
            key = f"{cluster}/{alert.fingerprint}".encode()
            value = encode(alert)
            pending.append(await self._send(TopicName.ALERTS, partition, key, value, headers))
        for fingerprint in outputs.tombstones:
            key = f"{cluster}/{fingerprint}".encode()
            pending.append(await self._send(TopicName.ALERTS, partition, key, None, headers))
        await asyncio.gather(*pending)

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Send a dead letter; return when it is acknowledged."""
        headers = [(str(name), value) for name, value in letter.headers]
        topic = TopicName.DEAD_LETTERS
        await (await self._send(topic, letter.partition, letter.key, letter.value, headers))

    async def silent(self, partition: int, envelope: ScrapeEnvelope) -> None:
        """Write into `scrapes` that nobody was heard; return when it is acknowledged."""
        headers = [
            (str(Header.LAYOUT), b"%016x" % envelope.layout),
            (str(Header.CHUNK), b"0/1"),
            (str(Header.TICK_MS), str(envelope.tick_ms).encode()),
            (str(Header.OUTCOME), envelope.outcome.encode()),
        ]
        key, value = target_of(envelope).key.encode(), encode_scrape(envelope, NO_ROWS)
        await (await self._send(TopicName.SCRAPES, partition, key, value, headers))

    async def _send(
        self,
        topic: TopicName,
        partition: int,
        key: bytes,
        value: bytes | None,
        headers: Headers = (),
    ) -> Awaitable[object]:
        """Hand a record to the producer; await the result for its acknowledgement."""
        sent = await self._topics[topic].send(
            key=key, value=value, partition=partition, headers=list(headers)
        )
        self._telemetry.count(Metric.RECORDS_SENT, topic=topic)
        self._telemetry.count(Metric.BYTES_SENT, len(value or b""), topic=topic)
        return sent
