"""Notice that a body ends too early. In: the families of scrape after scrape. Out: what is missing.

The rule this file owns: an exporter that fails while it writes ends its answer as if all were well,
after any family or line (promhttp, `../shared/reference/scrape-path.md`). Families are sorted, so
what is missing then is the end: a scrape that ends within what the one before had, of the same
process, is cut where at least two families are gone. It is believed when it comes again.
"""

from dataclasses import dataclass
from typing import Final

from producers.core.attempts import PROCESS_START
from producers.core.columns import Columns, Layout

FAMILIES_MIN: Final = 2  # the last one alone may have gone by itself: its last series was deleted

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the newest scrapes of a target had."""

    layout: Layout
    families: Names  # of the newest one that was believed
    process_start_s: float | None
    doubted: Names = ()  # of the newest one, where it was not


def known(columns: Columns) -> Known:
    """Return what is known after a scrape that is believed."""
    return Known(columns.layout, _families(columns.layout), columns.value(PROCESS_START))


def compared(before: Known | None, columns: Columns) -> tuple[Known, str]:
    """Return what is known after a scrape, and what is wrong with it; "" where nothing is."""
    if before is None or (columns.layout is before.layout and not before.doubted):
        return before or known(columns), ""
    now = known(columns)
    missing = _missing(before, now)
    if len(missing) < FAMILIES_MIN or now.families == before.doubted:
        return now, ""
    doubting = Known(before.layout, before.families, before.process_start_s, now.families)
    end = now.families[-1] if now.families else "nothing"
    return doubting, f"it ends with {end}: {missing[0]} and {len(missing) - 1} more are missing"


def _missing(before: Known, now: Known) -> Names:
    """Return the families that `before` had behind the last one of `now`, if that has none."""
    if not now.families or now.families[-1] not in before.families:
        return ()
    if None not in {before.process_start_s, now.process_start_s} and (
        before.process_start_s != now.process_start_s
    ):
        return ()  # another process has other families
    last = before.families.index(now.families[-1])
    behind = before.families[last + 1 :]
    return () if set(behind) & set(now.families) else behind


def _families(layout: Layout) -> Names:
    """Return the families of a layout in their order."""
    return tuple(sorted(layout.first, key=layout.first.__getitem__))
