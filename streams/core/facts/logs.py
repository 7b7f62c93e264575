"""Fold log lines into counters. In: batches of parsed lines. Out: lines by component, level and
template.

The rule this file owns: a cluster has a bounded number of templates; lines of further ones count
under the template `other`.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.records import LogBatch
from streams.core.samples import FactSample

OTHER: Final = "other"
TEMPLATES_MAX: Final = 500
"""Pairs of component, level and template per cluster."""
TEMPLATE_CHARS_MAX: Final = 200
NAME_CHARS_MAX: Final = 100
"""Of a component or a level; what is longer is cut."""

Kind = tuple[str, str, str]  # component, level, template


class LinesSeen(msgspec.Struct, frozen=True, array_like=True):
    """Equal lines of one batch."""

    kind: Kind
    lines: int


class LineCount(msgspec.Struct, frozen=True, array_like=True):
    """One counter, for a snapshot."""

    kind: Kind
    lines: int


def lines_seen(batch: LogBatch, step_ms: int) -> list[tuple[int, LinesSeen]]:
    """Return the lines of a batch, counted by the step of `step_ms` that each belongs to."""
    counts = Counter(
        (line.ts_ms // step_ms, _kind(batch.job, line.level, line.template)) for line in batch.lines
    )
    return [(step, LinesSeen(kind, count)) for (step, kind), count in counts.items()]


def _kind(component: str, level: str, template: str) -> Kind:
    return component[:NAME_CHARS_MAX], level[:NAME_CHARS_MAX], template[:TEMPLATE_CHARS_MAX]


class LogLines:
    """All counters of one cluster."""

    def __init__(self, counts: Iterable[LineCount] = ()) -> None:
        self._counts = {one.kind: one.lines for one in counts}

    def fold(self, seen: LinesSeen) -> bool:
        """Count lines; return False where there was no room for their template."""
        kind, room = seen.kind, True
        if kind not in self._counts and len(self._counts) >= TEMPLATES_MAX:
            kind, room = (kind[0], kind[1], OTHER), False
        self._counts[kind] = self._counts.get(kind, 0) + seen.lines
        return room

    def samples(self) -> Iterable[FactSample]:
        """Return the series."""
        for (component, level, template), lines in sorted(self._counts.items()):
            labels = {"component": component, "level": level, "template": template}
            yield FactSample("planewatch_log_lines_total", labels, lines)

    def snapshot(self) -> list[LineCount]:
        """Return all of it as a value."""
        return [LineCount(kind, lines) for kind, lines in self._counts.items()]
