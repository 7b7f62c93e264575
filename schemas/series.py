"""Name series. In: a metric name and its labels. Out: the 64-bit ids that all stages share.

The rule this file owns: the same series has the same id wherever it is scraped, in whatever format
and label order. Neither the cluster nor the instance is part of an id; `le` is not either, because
a histogram is one row.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

import xxhash

CORE_LABELS: Final = (
    "verb",
    "group",
    "resource",
    "subresource",
    "scope",
    "code",
    "name",
    "type",
    "operation",
    "flow_schema",
    "priority_level",
)
"""Labels with a column of their own in every record and table; "" means absent."""

_CORE: Final = frozenset(CORE_LABELS)


def series_id(name: str, labels: Mapping[str, str]) -> int:
    """Return xxh3-64 over name, then 0xff label 0xfe value, sorted, without `le` and empty."""
    parts = [name.encode()]
    for label in sorted(labels):
        if (value := labels[label]) and label != "le":
            parts += [b"\xff", label.encode(), b"\xfe", value.encode()]
    return xxhash.xxh3_64_intdigest(b"".join(parts))


def layout_id(series: Iterable[int]) -> int:
    """Return xxh3-64 over the little-endian ids in row order: same layout, same rows."""
    return xxhash.xxh3_64_intdigest(b"".join(one.to_bytes(8, "little") for one in series))


def other_labels(labels: Mapping[str, str]) -> str:
    """Return the labels without a column of their own as canonical JSON."""
    return canonical_json({k: v for k, v in labels.items() if k not in _CORE})


def canonical_json(labels: Mapping[str, str]) -> str:
    """Return `labels` as JSON with sorted keys and no spaces; "" where there is none."""
    kept = {k: labels[k] for k in sorted(labels) if labels[k]}
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False) if kept else ""


def parse_labels(text: str) -> dict[str, str]:
    """Return the labels of `canonical_json` text; the empty dictionary for ""."""
    if not text:
        return {}
    labels: dict[str, str] = json.loads(text)
    return labels
