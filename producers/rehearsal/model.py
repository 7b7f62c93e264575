"""The world of a rehearsal. In: a story and event time. Out: metrics, Leases and log lines of that
moment.

The rule this file owns: two API servers, one etcd member and their Leases share one story, one
origin and one clock; nothing in here does any IO.
"""

from dataclasses import dataclass
from typing import Final

from producers.rehearsal import etcdlog, story
from producers.rehearsal.apiserver import ApiServer
from producers.rehearsal.etcd import Etcd
from producers.rehearsal.exposition import body
from producers.rehearsal.leases import Leases
from producers.rehearsal.story import Story

LATE_MS_MAX: Final = 4_000  # a renewal in the worst of a storm; leaders give up after 10 s


@dataclass(frozen=True, slots=True)
class Answer:
    """A body, and how long the process takes to write it, in event time."""

    body: bytes
    after_ms: float = 0.0


class World:
    """A rehearsed control plane. `origin_ms`: event time at which its story begins."""

    def __init__(self, told: Story, origin_ms: int) -> None:
        self.story, self.origin_ms = told, origin_ms
        self._servers = [ApiServer(told, number, origin_ms) for number in range(story.SERVERS)]
        self._etcd = Etcd(told, origin_ms)
        self.leases = Leases(origin_ms, self._lateness_ms)

    def ends_ms(self) -> int:
        """Return when the story ends; calm goes on after it."""
        return self.origin_ms + self.story.length_s * 1000

    def apiserver(self, number: int, t_ms: int) -> Answer:
        """Return `/metrics` of an API server."""
        server = self._servers[number]
        return Answer(body(server.families(t_ms)), server.answer_ms(t_ms))

    def etcd(self, t_ms: int) -> Answer:
        """Return `/metrics` of the etcd member."""
        return Answer(body(self._etcd.families(t_ms)))

    def log(self, after_ms: int, until_ms: int) -> list[bytes]:
        """Return the lines that etcd logged in a span of event time."""
        return etcdlog.lines(self.origin_ms, after_ms, until_ms)

    def _lateness_ms(self, t_ms: int) -> float:
        worst = max(server.now(t_ms).saturation for server in self._servers)
        return worst * LATE_MS_MAX
