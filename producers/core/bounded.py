"""Take of a body that has too many series what is worth most. In: the samples of its families.
Out: which families are left out.

The rule this file owns: families are kept whole, by their rank (`worth.py`), as many as there is
room for; one that has no room leaves it to those behind it. What is left out stays left out from
scrape to scrape: a family that came and went would be a gap each time. So it is chosen anew only
where what is kept does not fit any more, or a tenth of the limit would be won.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from producers.core.pieces import NO_FAMILY, Piece

FAMILIES_MAX: Final = 20_000  # that are told apart; a server has a few hundred
OTHERS: Final = "(others)"
"""All further families of a body, which are left out together."""
SPARE: Final = 0.1  # of the limit: room to grow after a choice, and what makes another one worth it

Names = frozenset[str]
NONE: Final[Names] = frozenset()


def counted(pieces: Iterable[Piece]) -> dict[str, int]:
    """Return how many samples each family has, in the order of the body."""
    found: dict[str, int] = {}
    for piece in pieces:
        if piece.samples:
            known = piece.family in found or len(found) < FAMILIES_MAX
            family = piece.family if known else OTHERS
            found[family] = found.get(family, 0) + piece.samples
    return found


def left_out(
    samples: Mapping[str, int], rank: Callable[[str], int], before: Names, *, samples_max: int
) -> Names:
    """Return which families are left out; none where all fit.

    samples: of each family, in the order of the body. before: what was left out of the body before.
    """
    limit = int(samples_max * (1 - SPARE))
    total = sum(samples.values())
    if total <= (limit if before else samples_max):
        return NONE
    fresh = _chosen(samples, rank, limit)
    if not before or (OTHERS in samples and OTHERS not in before):
        return fresh
    held, anew = (total - sum(samples.get(one, 0) for one in names) for names in (before, fresh))
    return before if held <= samples_max and anew - held < samples_max * SPARE else fresh


def without(body: bytes, pieces: Iterable[Piece], kept: Names) -> bytes:
    """Return a body without the families that are not kept; what is of no family stays."""
    found = bytearray()
    for piece in pieces:
        if piece.family in kept or piece.family == NO_FAMILY:
            found += memoryview(body)[piece.start : piece.stop]
    return bytes(found)


def _chosen(samples: Mapping[str, int], rank: Callable[[str], int], limit: int) -> Names:
    """Return which families find no room within `limit`, the best ones first."""
    room, lost = limit, set()
    for family in sorted(samples, key=rank):  # a stable sort: within a rank the order stays
        if family != OTHERS and samples[family] <= room:
            room -= samples[family]
        else:
            lost.add(family)
    return frozenset(lost)
