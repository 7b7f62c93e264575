"""Keep credentials fresh. In: until when they are good, what reading them costs. Out: how long to
wait before they are read again.

The rule this file owns: files are read again each minute, for they are rotated under us; a plug-in
of a kubeconfig runs when its credentials come to their end, or when a server refuses them or shows
a certificate that we do not trust, and then ever more rarely while that does not help: behind it is
somebody's identity provider.
"""

from dataclasses import dataclass, field
from typing import Final

from schemas.nodes import Tls

FILES_S: Final = 60.0
EARLY_S: Final = 300.0  # before their end, or a fifth of what is left
SOON_S: Final = 30.0  # after credentials were refused, or could not be had; doubled while it lasts
SOON_S_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are to API servers, and whom we trust to be one."""

    tls: Tls
    authorization: str = field(default="", repr=False)  # the value of the header


@dataclass(frozen=True, slots=True)
class Reading:
    """Credentials as they were read. `left_s`: how long they are good, None where nobody says."""

    identity: Identity
    plugged: bool = False  # a program made them, or somebody it asked
    left_s: float | None = None

    @property
    def empty(self) -> bool:
        """Tell whether there are none; a plug-in that failed leaves it at that."""
        return not self.identity.authorization and self.identity.tls.cert_file is None


def renew_after_s(reading: Reading) -> float | None:
    """Return when credentials that nobody refuses are read again; None: when somebody does."""
    if not reading.plugged:
        return FILES_S
    if reading.empty:
        return SOON_S
    if reading.left_s is None:
        return None
    return max(SOON_S, reading.left_s - min(EARLY_S, reading.left_s / 5))


def retry_after_s(readings: int, due_s: float | None) -> float:
    """Return the least time between readings that were asked for, after so many in a row.

    `due_s`: when they are read again anyway.
    """
    return min(due_s or SOON_S_MAX, SOON_S * 2.0 ** min(readings - 1, 16), SOON_S_MAX)
