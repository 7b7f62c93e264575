"""Keep the states of alerts."""

from collections.abc import Callable, Mapping, Sequence

from schemas.records import Alert, ClusterInfo
from streams.core.evaluate import ActiveAlert, Inputs
from streams.core.rules.files import AlertingRule, RuleSet
from streams.core.samples import FactSample

Present = Callable[[AlertingRule, Mapping[str, str]], Inputs | bool]


class AlertBook:
    """The states of all alerts of one cluster, in event time."""

    def __init__(self, cluster: str, epoch: int) -> None:
        self.cluster, self.epoch = cluster, epoch

    def update(
        self,
        active: Sequence[ActiveAlert],
        t_ms: int,
        *,
        watermark_ms: int,
        present: Present,
        cluster_info: ClusterInfo | None = None,
    ) -> list[Alert]:
        """Return the records to publish: firing, resolved, unknown."""
        return []

    def tombstones(self, t_ms: int) -> list[str]:
        """Forget the alerts resolved for 24 h; return their fingerprints."""
        return []

    def snapshot(self) -> bytes:
        """Return all states."""
        return b""

    @classmethod
    def restore(cls, cluster: str, data: bytes, rules: RuleSet) -> "AlertBook":
        """Return the book of a snapshot."""
        return cls(cluster, 0)

    def series(self) -> list[FactSample]:
        """Return ALERTS: 1 for each alert that is pending or firing."""
        return []
