"""Know the newest state of each alert. In: records of the alert topic, in any repetition. Out: what
is news, what is open.

The rule this file owns: the greatest (epoch, seq) of a fingerprint counts; a tombstone forgets it.
"""

from schemas.codec import decode
from schemas.records import Alert, Status


class AlertView:
    """The newest record of each alert."""

    def __init__(self, cluster: str | None = None) -> None:
        self._cluster = cluster
        self._newest: dict[bytes, Alert] = {}

    def take(self, key: bytes, value: bytes | None) -> Alert | None:
        """Take a record; return it where it is news.

        Raises:
            DecodeError: it is no alert.
        """
        if value is None:
            self._newest.pop(key, None)
            return None
        alert = decode(value, Alert)
        if self._cluster not in {None, alert.cluster}:
            return None
        known = self._newest.get(key)
        if known and (known.epoch, known.seq) >= (alert.epoch, alert.seq):
            return None
        self._newest[key] = alert
        return alert

    def all(self) -> list[Alert]:
        """Return the newest records: open ones first, then by time, newest first."""
        return sorted(
            self._newest.values(),
            key=lambda alert: (alert.status is Status.RESOLVED, -alert.updated_at_ms),
        )
