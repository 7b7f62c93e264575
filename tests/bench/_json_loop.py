"""The loop that `stream_rate.py` compares with. In: one JSON message per sample, `{ts, value,
labels}` with 8 labels, as telemetry pipelines commonly put them into Kafka. Out: sums by label set.

Rule: nothing that such a consumer could leave out: one `orjson.loads` a sample, one tuple, one
addition. No rates, no windows, no rules.
"""

import math
from collections.abc import Iterable

import orjson

from tests.bench._servers import Process, keys

LABELS = ("__name__", "cluster", "job", "instance", "verb", "resource", "scope", "le")


def messages(process: Process, own: dict[str, str], t_ms: int) -> list[bytes]:
    """Return the samples of a process; own: labels of its target. A missing label is ""."""
    found = []
    for (name, labels), value in zip(keys(process.shape), process.samples(), strict=True):
        have = {**own, **dict(labels), "__name__": name}
        one = {label: have.get(label, "") for label in LABELS}
        number = value if math.isfinite(value) else 0.0  # JSON knows no others
        found.append(orjson.dumps({"ts": t_ms, "value": number, "labels": one}))
    return found


def consume(batch: Iterable[bytes], sums: dict[tuple[str, ...], float]) -> None:
    """Add the samples to the sums of their label sets."""
    loads = orjson.loads
    for message in batch:
        sample = loads(message)
        key = tuple(sample["labels"].values())
        sums[key] = sums.get(key, 0.0) + sample["value"]
