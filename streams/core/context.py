"""What all clusters of a worker share. In: configured values. Out: one context, and what follows
from it.

The rule this file owns: how far back a replay reads, and how long silence is written, follow from
the rules; nobody configures them too short.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.layouts import Layouts
from schemas.records import ClusterInfo
from schemas.topics import TopicName
from streams.core import state
from streams.core.evaluate import Limits
from streams.core.rules.alerts import UNKNOWN_MS
from streams.core.rules.overrides import RuleSets
from streams.core.rules.program import Program

SILENCE_MS_MAX: Final = 86_400_000
SLACK_MS: Final = 60_000
"""Records come one by one: what is due is noticed at the next."""


@dataclass(frozen=True, slots=True)
class Context:
    """What all clusters of a worker share."""

    rules: RuleSets
    rewind_ms_min: int
    infos: Mapping[str, ClusterInfo] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    logs: Mapping[TopicName, str] = field(default_factory=lambda: dict.fromkeys(state.INPUTS, ""))
    """The ids of the topics; a topic that was made anew has another one."""
    layouts: Layouts = field(default_factory=Layouts)

    @property
    def rewind_ms(self) -> int:
        """How far back a replay reads: the longest window of the rules must be whole again."""
        program = self.rules.loaded.program
        return max(self.rewind_ms_min, program.wanted.retention_ms + state.NOTE_MS)


def silence_ms(program: Program) -> int:
    """Return how long records are written for silent targets: until nothing they made is unknown.

    An alert goes on while its window has samples and `keep_firing_for` holds it; after that it
    is unknown for a while, and only records let it end.
    """
    kept_ms = max((plan.rule.keep_firing_for_ms for plan in program.alerts), default=0)
    longest_ms = program.wanted.longest_ms + kept_ms + UNKNOWN_MS + SLACK_MS
    return min(longest_ms, SILENCE_MS_MAX)
