"""Identify an alert. In: its labels. Out: the fingerprint that Alertmanager computes for them.

The rule this file owns: FNV-1a of 64 bits over the labels sorted by name, each name and each value
followed by 0xff (prometheus/common, model/signature.go).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_OFFSET: Final = 14695981039346656037
_PRIME: Final = 1099511628211
_MASK: Final = (1 << 64) - 1


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return 16 hex digits."""
    return _fingerprint(tuple(sorted(labels.items())))


@lru_cache(maxsize=20_000)
def _fingerprint(labels: tuple[tuple[str, str], ...]) -> str:
    digest = _OFFSET
    for name, value in labels:
        for byte in b"%b\xff%b\xff" % (name.encode(), value.encode()):
            digest = (digest ^ byte) * _PRIME & _MASK
    return f"{digest:016x}"
