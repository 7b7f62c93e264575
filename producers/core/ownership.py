"""Follow which partitions are ours. In: what the consumer group says. Out: which we observe.

The rule this file owns: an owner ends only where the group says so. Who has lost touch with Kafka
goes on with what it had, for nobody else may have heard either, and Kafka being away must not end
what the spool is for; the next word of the group settles it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

Partitions = frozenset[int]


@dataclass(frozen=True, slots=True)
class Owned:
    """Partitions of `targets`, each of which stands for the clusters that are on it."""

    sure: Partitions = frozenset()
    unsure: Partitions = frozenset()  # ours until we lost touch with the group

    @property
    def observed(self) -> Partitions:
        """All whose clusters we observe."""
        return self.sure | self.unsure


def assigned(owned: Owned, partitions: Iterable[int]) -> Owned:
    """Return what is ours after the group has given us more, or nothing more: it has spoken."""
    return Owned(owned.sure | frozenset(partitions))


def revoked(owned: Owned, partitions: Iterable[int]) -> Owned:
    """Return what is ours after the group has taken some away, for others to have."""
    gone = frozenset(partitions)
    return Owned(owned.sure - gone, owned.unsure - gone)


def lost(owned: Owned, partitions: Iterable[int]) -> Owned:
    """Return what is ours after the group stopped hearing us, or we the group."""
    gone = frozenset(partitions)
    return Owned(owned.sure - gone, owned.unsure | gone)
