"""Compare what a story gave with what it should have given. In: expected and got. Out: nothing, or
what differs, for people.

The rule this file owns: labels and annotations must be equal, whatever their order; numbers must
be equal to 1e-9 of their size, since sums may be added in another order than Prometheus adds.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Final

from schemas.eras import current_name
from streams.core.promql.labels import NAME
from streams.core.rules.unittests.model import ExpectedAlert, Sample

TOLERANCE: Final = 1e-9
LINES_MAX: Final = 400
"""Of one side of a difference that is shown."""

_UNITS: Final = (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


def alerts_differ(expected: Sequence[ExpectedAlert], got: Sequence[ExpectedAlert]) -> str:
    """Return what differs, "" where nothing does."""
    wanted, found = sorted(map(_alert_lines, expected)), sorted(map(_alert_lines, got))
    return "" if wanted == found else _shown(wanted, found)


def _alert_lines(alert: ExpectedAlert) -> list[str]:
    annotations = [f"    {name}: {text}" for name, text in sorted(alert.annotations.items())]
    return [f"  labels: {labels_text(alert.labels)}", *annotations]


def samples_differ(expected: Sequence[Sample], got: Sequence[Sample]) -> str:
    """Return what differs, "" where nothing does."""
    wanted, found = _by_labels(expected), _by_labels(got)
    if len(wanted) == len(found) and all(
        labels == other and _near(value, seen)
        for (labels, value), (other, seen) in zip(wanted, found, strict=True)
    ):
        return ""
    return _shown(
        *([[f"  {labels} {value!r}"] for labels, value in one] for one in (wanted, found))
    )


def _by_labels(samples: Sequence[Sample]) -> list[tuple[str, float]]:
    return sorted((labels_text(_current(one.labels)), one.value) for one in samples)


def _current(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Return the labels with today's name: the engine reads older names under it."""
    return {**labels, NAME: current_name(labels[NAME])} if NAME in labels else labels


def _near(a: float, b: float) -> bool:
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-300)


def labels_text(labels: Mapping[str, str]) -> str:
    """Return labels as Prometheus writes them."""
    inside = [f'{name}="{_escaped(text)}"' for name, text in sorted(labels.items()) if name != NAME]
    return labels.get(NAME, "") + "{" + ", ".join(inside) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _shown(expected: Sequence[list[str]], got: Sequence[list[str]]) -> str:
    """Return both sides, and the lines that only one of them has."""
    left = [line for one in expected for line in one][:LINES_MAX]
    right = [line for one in got for line in one][:LINES_MAX]
    lines = ["exp:", *(left or ["  nothing"]), "got:", *(right or ["  nothing"])]
    if left and right:
        different = [line for line in difflib.ndiff(left, right) if line[0] in "-+"]
        lines += ["difference (- expected, + got):", *different]
    return "\n".join(lines)


def duration_text(t_ms: int) -> str:
    """Return a duration as Prometheus writes it: 1h30m."""
    parts = []
    for unit, size in _UNITS:
        if t_ms >= size:
            parts.append(f"{t_ms // size}{unit}")
            t_ms %= size
    return "".join(parts) or "0s"
