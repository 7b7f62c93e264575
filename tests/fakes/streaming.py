"""Stand in for Faust. In: records of the input topics. Out: what the worker sent, its table, what
it acknowledged.

Rule: it delivers and keeps, as Faust does on a good day; what Faust itself does to offsets is the
matter of the contract tests.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from schemas.clock import Clock
from schemas.settings import Settings, StreamsSettings
from schemas.telemetry import Telemetry
from schemas.topics import TopicName
from streams.core.context import Context
from streams.core.state import INPUTS
from streams.stage import Stage
from streams.worker import Worker

PREFIX = "planewatch"


@dataclass(frozen=True)
class Sent:
    """A record that was sent."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int


@dataclass
class FakeTopic:
    """A topic of the fake app."""

    name: str
    sent: list[Sent]

    async def send(
        self, *, key: bytes, value: bytes | None, partition: int, headers: Sequence[Any]
    ) -> asyncio.Future[None]:
        """Take a record; its acknowledgement is there at once."""
        self.sent.append(Sent(self.name, key, value, partition))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@dataclass
class FakeStream:
    """Gives records to one agent."""

    waiting: Sequence[Any]
    acknowledged: list[int] = field(default_factory=list)

    def noack(self) -> "FakeStream":
        """Leave acknowledgements to the agent."""
        return self

    async def events(self) -> AsyncIterator[Any]:
        """Yield the records."""
        for event in self.waiting:
            yield event

    async def ack(self, event: Any) -> None:
        """Note that a record is done with."""
        self.acknowledged.append(event.message.offset)


class FakeApp:
    """What the worker uses of Faust."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.table: dict[bytes, bytes] = {}
        self.agents: dict[str, Any] = {}
        self.keeper: Any = None
        self.consumer = self

    def Table(self, _: str, **__: object) -> dict[bytes, bytes]:
        """Return the table; the name is Faust's."""
        return self.table

    def topic(self, name: str, **_: object) -> FakeTopic:
        """Return a topic."""
        return FakeTopic(name, self.sent)

    def agent(self, topic: FakeTopic, **_: object) -> Any:
        """Register the agent of a topic."""
        return lambda agent: self.agents.setdefault(topic.name, agent)

    def pause_partitions(self, _: set[TP]) -> None:
        """Nothing is fetched here."""

    def resume_partitions(self, _: set[TP]) -> None:
        """Nothing is fetched here."""


class FakeKafka:
    """A worker on the fake app. It must be made where its loop runs."""

    def __init__(
        self,
        context: Context,
        partitions: int,
        table: Mapping[bytes, bytes] | None = None,
        **settings: Any,
    ) -> None:
        self.app, self.now_ms = FakeApp(), 0
        self.app.table.update(table or {})
        self.telemetry = Telemetry("streams")
        clock = Clock(wall=lambda: self.now_ms)
        tree = Settings(streams=StreamsSettings(**settings))
        stage = Stage(tree, context, partitions, clock, self.telemetry)
        self.worker = Worker(self.app, stage)  # type: ignore[arg-type]  # what it uses of Faust

    def assign(
        self,
        partitions: Sequence[int],
        *,
        committed: int | None = 0,
        earliest: int = 0,
        end: int = 0,
    ) -> dict[int, int]:
        """Assign partitions whose logs are alike; return from where scrapes are read."""
        keeper, seeks = self.app.keeper, {}
        keeper.keep(frozenset(partitions))
        for one in partitions:
            bounds = dict.fromkeys(INPUTS, (0, 0))
            bounds[TopicName.SCRAPES] = (earliest, end)
            seeks[one] = keeper.seek(
                one,
                {t: committed if t is TopicName.SCRAPES else bounds[t][1] for t in INPUTS},
                {topic: first for topic, (first, _) in bounds.items()},
                {topic: last for topic, (_, last) in bounds.items()},
            )[TopicName.SCRAPES]
        keeper.sought()
        return seeks

    async def give(
        self, partition: int, values: Mapping[int, bytes | None], topic: TopicName = INPUTS[0]
    ) -> list[int]:
        """Deliver records by offset; return which were acknowledged.

        Raises:
            Exception: whatever stopped the worker.
        """
        name = next(full for full, one in self.app.keeper.inputs.items() if one is topic)
        stream = FakeStream([_event(name, partition, *one) for one in values.items()])
        await self.app.agents[name](stream)
        if self.worker.failed.done():
            self.worker.failed.result()
        return stream.acknowledged

    def sent(self, topic: TopicName) -> list[Sent]:
        """Return what was sent to a topic."""
        return [one for one in self.app.sent if one.topic == f"{PREFIX}.{topic}.v1"]


def _event(topic: str, partition: int, offset: int, value: bytes | None) -> Any:
    message = SimpleNamespace(
        tp=TP(topic, partition),
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=0.0,
        key=b"",
        value=value,
    )
    return SimpleNamespace(message=message, value=value)
