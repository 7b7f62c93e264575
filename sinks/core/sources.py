"""Number the sources. In: the claims in the table `sources`. Out: the number of a topic's
incarnation, or the next free one.

The rule this file owns: a number belongs to the identity that claimed it first, and an identity
keeps the least number that belongs to it; so two processes that claim at once agree afterwards.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from schemas.errors import SinkRefused

SOURCES_MAX: Final = 65_535


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """One incarnation of one topic; topics of the same name that were made anew differ."""

    kafka: str
    topic: str
    topic_id: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of `sources`."""

    source: int
    identity: Identity
    claimed_at_us: int
    claim: str


def numbers(claims: Iterable[Claim]) -> dict[Identity, int]:
    """Return the number of every known source."""
    owners: dict[int, Identity] = {}
    for claim in sorted(claims, key=lambda one: (one.claimed_at_us, one.claim)):
        owners.setdefault(claim.source, claim.identity)
    found: dict[Identity, int] = {}
    for source in sorted(owners):
        found.setdefault(owners[source], source)
    return found


def next_number(claims: Iterable[Claim]) -> int:
    """Return a number that nobody claims.

    Raises:
        SinkRefused: all are taken.
    """
    number = 1 + max((claim.source for claim in claims), default=0)
    if number > SOURCES_MAX:
        raise SinkRefused(f"{SOURCES_MAX} sources were stored here: use another database")
    return number
