"""Probe one server. In: a small request. Out: how it went, with the connection that it took.

The rule this file owns: each probe makes a connection of its own, as a client that has just started
does: one that is kept alive does not see that others get none, or that a certificate ends.
"""

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from producers.core.outcomes import Verdict
from producers.core.probing import Seen, refused
from producers.fetch import Endpoint, FetchError
from schemas.records import Outcome

BODY_BYTES_MAX: Final = 100_000  # of an answer; the rest is not read


@dataclass(frozen=True, slots=True)
class Probe:
    """What is asked, and the name under which that is told."""

    name: str
    endpoint: Endpoint

    def look(self, *, timeout_s: float, speed: float) -> Seen:
        """Ask once and return how that went; `speed`: event seconds in a second of the wall."""
        start_s = time.monotonic()
        status, body, said = 0, b"", Verdict(Outcome.OK)
        self.endpoint.close()
        try:
            answer = self.endpoint.get(timeout_s=timeout_s, body_bytes_max=BODY_BYTES_MAX)
        except FetchError as failed:
            said = failed.verdict
        else:
            status, body = answer.status, answer.body
            if status >= HTTPStatus.MULTIPLE_CHOICES:
                patched = self.endpoint.patches
                said = refused(status, answer.phrase, body, patched=patched)
        took_s = time.monotonic() - start_s
        self.endpoint.close()
        opened = self.endpoint.opened
        return Seen(
            said,
            status,
            took_s * speed,
            opened.took_s * speed if opened else None,
            opened.certificate_ends_s if opened else None,
            body,
        )

    def abort(self) -> None:
        """End the request in flight, and refuse others."""
        self.endpoint.abort()

    def close(self) -> None:
        """Close what is open."""
        self.endpoint.close()
