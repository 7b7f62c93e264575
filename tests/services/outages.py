"""Kill a worker and its broker while records arrive, and start them again at once.

In: a broker of the test's own, the stages, dice. Out: records in the broker, and when what died.
Rule: every kill is SIGKILL, most of them while the worker evaluates, some while it still recovers
from the one before. A worker that ended by itself is started again, as its service manager would,
and that is noted.
"""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from tests.services.kafka import KafkaBroker
from tests.services.stages import Stages

WORKER: Final = "streams"
TEND_S: Final = 0.1
RECOVERY_S_MAX: Final = 120.0
WORKING_S: Final = (0.0, 4.0)
RECOVERING_S: Final = (0.5, 6.0)
RECOVERING_SHARE: Final = 0.25
DELIVERY_S_MAX: Final = 600.0

Record = tuple[str, int, bytes, bytes]
"""Topic, partition, key, value."""


class Feed:
    """Writes records at the pace of a share that somebody moves from 0 to 1."""

    def __init__(self, bootstrap: str, records: Iterator[Record], count: int) -> None:
        self.share = 0.0
        self.sent = 0
        self._records, self._count = records, count
        self._errors: list[str] = []
        settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all"}
        more = {"linger.ms": 5, "message.timeout.ms": int(DELIVERY_S_MAX * 1000), "log_level": 0}
        self._producer = Producer({**settings, **more})
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Write the rest; return when the broker has acknowledged all records."""
        self.share = 1.0
        self._thread.join(DELIVERY_S_MAX)
        assert not self._producer.flush(DELIVERY_S_MAX), "the broker does not take the records"
        assert [] == self._errors
        assert self._count == self.sent

    def _run(self) -> None:
        for topic, partition, key, value in self._records:
            while self.sent >= self.share * self._count:
                self._producer.poll(0.02)
            self._producer.produce(topic, value, key, partition, on_delivery=self._delivered)
            self.sent += 1

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._errors.append(str(error))


@dataclass(frozen=True, slots=True)
class Outage:
    """One time that something died; both times on the wall clock."""

    who: str
    killed_ms: int
    back_ms: int  # the process runs; a broker serves its clients
    kills: int


class Progress:
    """Tells how much the worker has published."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        settings = {"bootstrap.servers": bootstrap, "group.id": "progress", "log_level": 0}
        self._consumer = Consumer(settings)
        self._places = [TopicPartition(topic, n) for n in range(partitions)]
        self._count = 0

    def count(self) -> int:
        """Return how many records there are; as before where the broker does not answer."""
        with suppress(KafkaException):
            ends = [self._consumer.get_watermark_offsets(one, 0.5)[1] for one in self._places]
            self._count = sum(ends)
        return self._count

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


class Outages:
    """Whoever kills."""

    def __init__(
        self, broker: KafkaBroker, stages: Stages, progress: Progress, dice: random.Random
    ) -> None:
        self.log: list[Outage] = []
        self.ended: list[str] = []  # how workers ended by themselves
        self._broker, self._stages, self._dice = broker, stages, dice
        self._progress = progress
        self._plan = (
            *(self.worker, self.broker, self.worker, self.broker),
            *(self.both, self.worker_without_broker),
        )

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(one.kills for one in self.log)

    def run(self, kills: int, feed: Feed) -> None:
        """Kill so many processes while records are written from the first to the last of them."""
        began_s = time.monotonic()
        plan = cycle(self._plan)
        while (done := self.kills) < kills:
            since_s = time.monotonic()
            mean_s = (since_s - began_s) / done if done else 5.0
            for _ in self._pause():
                spent = (time.monotonic() - since_s) / mean_s
                feed.share = min(done + spent, done + 2, kills) / kills
                self.tend()
                time.sleep(TEND_S)
            next(plan)()

    def _pause(self) -> Iterator[None]:
        """Go on until it is time to kill: the worker evaluates again, but for some kills."""
        end_s = time.monotonic() + RECOVERY_S_MAX
        if self._dice.random() < RECOVERING_SHARE:
            end_s = time.monotonic() + self._dice.uniform(*RECOVERING_S)
        else:
            before = self._progress.count()
            while self._progress.count() <= before:
                assert time.monotonic() < end_s, self._stages.tail(WORKER)
                yield
            end_s = time.monotonic() + self._dice.uniform(*WORKING_S)
        while time.monotonic() < end_s:
            yield

    def tend(self) -> None:
        """Start a worker again that ended by itself."""
        code = self._stages.exit_code(WORKER)
        if code is not None:
            said = self._stages.tail(WORKER).strip().splitlines()
            self.ended.append(f"{code}: {said[-1] if said else ''}")
            self._stages.start(WORKER, wait=False)

    def worker(self) -> None:
        """Kill the worker."""
        killed_ms = _now_ms()
        self._restart_worker()
        self.log.append(Outage("worker", killed_ms, _now_ms(), 1))

    def broker(self) -> None:
        """Kill the broker."""
        killed_ms = _now_ms()
        self._broker.kill()
        self._broker.start()
        self.log.append(Outage("broker", killed_ms, _now_ms(), 1))

    def both(self) -> None:
        """Kill both in the same moment."""
        killed_ms = _now_ms()
        self._broker.kill()
        self._restart_worker()
        self._broker.start()
        self.log.append(Outage("both", killed_ms, _now_ms(), 2))

    def worker_without_broker(self) -> None:
        """Kill the worker while its broker is away."""
        killed_ms = _now_ms()
        self._broker.kill()
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(self._broker.start)
            time.sleep(self._dice.uniform(0.2, 3.0))
            self._restart_worker()
            started.result()
        self.log.append(Outage("broker, then worker", killed_ms, _now_ms(), 2))

    def _restart_worker(self) -> None:
        self._stages.kill(WORKER)
        self._stages.start(WORKER, wait=False)

    def recoveries(self, published_ms: Sequence[int]) -> list[tuple[str, float]]:
        """Return who died, and the seconds until results were published again.

        published_ms: the times of all results. What was made after the process was back counts: one
        that was in hand is acknowledged late. Infinite where the next kill came first.
        """
        times, found = sorted(published_ms), []
        later = [*(one.killed_ms for one in self.log[1:]), 2**62]
        for one, next_ms in zip(self.log, later, strict=True):
            after = next((t for t in times if t > one.back_ms), 2**62)
            ended_ms = after if after < next_ms else float("inf")
            found.append((one.who, (ended_ms - one.killed_ms) / 1000))
        return found


def _now_ms() -> int:
    return int(time.time() * 1000)
