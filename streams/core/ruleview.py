"""Keep the newest word of the workers on their rules. In: records of the indicator topic. Out: what
is wrong with which rule, and where.

The rule this file owns: of each cluster the newest facts count, however records come.
"""

import json
from collections.abc import Mapping
from typing import Final

from schemas.arrow import decode_indicators
from streams.core import failing, missing

FACTS_KEY: Final = b"/facts"

Row = Mapping[str, object]


class RuleView:
    """What the newest facts of each cluster say about rules."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, int]] = {}  # by cluster: epoch, time
        self._rows: dict[str, list[Row]] = {}

    @property
    def clusters(self) -> list[str]:
        """The clusters of which there was any word."""
        return sorted(self._newest)

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take a record; only facts matter.

        Raises:
            DecodeError: it is no result.
        """
        if not key.endswith(FACTS_KEY) or value is None:
            return
        frame = decode_indicators(value)
        cluster, at = frame.envelope.cluster, (frame.envelope.epoch, frame.envelope.t_ms)
        if at < self._newest.get(cluster, (0, 0)):
            return
        if at > self._newest.get(cluster, (0, 0)):  # otherwise another chunk of the same
            self._newest[cluster], self._rows[cluster] = at, []
        metrics = frame.rows.column("metric").to_pylist()
        mine = [i for i, name in enumerate(metrics) if name in {missing.METRIC, failing.METRIC}]
        self._rows[cluster] += frame.rows.take(mine).to_pylist()

    def said(self, group: str, rule: str) -> str:
        """Return what is wrong with a rule; "" where nothing is."""
        parts = [
            f"{cluster}: {text}"
            for cluster in self.clusters
            for row in self._rows[cluster]
            if (text := _said(row, group, rule))
        ]
        return "; ".join(parts)


def _said(row: Row, group: str, rule: str) -> str:
    labels = json.loads(str(row["labels"]))
    if labels["rule"] != rule:
        return ""
    count = f"{float(str(row['value'])):g}"
    if row["metric"] == failing.METRIC:
        return f"failed {count} times ({labels['reason']})"
    return f"{count} selectors match nothing" if row["group"] == group else ""
