"""Judge how a scrape ended. In: a status, or a body and what was read of it. Out: outcome and
reason.

The rule this file owns: each way in which a scrape can fail has one outcome (DESIGN section 4), and
the reason says to people what happened, in one line. A good scrape may have a reason too: what was
odd about it.
"""

from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from producers.core.exposition import Exposition
from schemas.records import Outcome

REASON_CHARS_MAX: Final = 300
NAMED_MAX: Final = 10  # families that are named, if there is room for so many

_BY_STATUS: Final = {
    401: Outcome.UNAUTHORIZED,
    403: Outcome.FORBIDDEN,
    429: Outcome.THROTTLED,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a scrape ended, and why."""

    outcome: Outcome
    reason: str = ""

    @property
    def keeps_rows(self) -> bool:
        """Tell whether the rows that were read go into the record."""
        return self.outcome in {Outcome.OK, Outcome.TOO_BIG}


def verdict(outcome: Outcome, reason: str) -> Verdict:
    """Return a verdict whose reason is one short line."""
    return Verdict(outcome, " ".join(reason.split())[:REASON_CHARS_MAX])


def of_status(status: int, phrase: str, said: bytes) -> Verdict:
    """Return the verdict on an answer other than 200; `said` is the beginning of its body."""
    outcome = _BY_STATUS.get(status, Outcome.HTTP_ERROR)
    return verdict(outcome, f"{status} {phrase}: {said.decode(errors='replace')}".rstrip(": \n"))


def of_body(exposition: Exposition, *, body_bytes: int, whole: bool) -> Verdict:
    """Return the verdict on the body of a 200.

    `whole`: False where reading stopped at the configured maximum.
    """
    odd = _odd(exposition)
    findings = (
        (body_bytes == 0, Outcome.TRUNCATED, "an empty answer"),
        (exposition.malformed, Outcome.MALFORMED, f"no exposition: {odd or 'another page'}"),
        (not whole, Outcome.TOO_BIG, f"kept the first {body_bytes} bytes (body_bytes_max)"),
        (exposition.more, Outcome.TOO_BIG, _left_out(exposition)),
        (exposition.cut, Outcome.TRUNCATED, f"no line end after {body_bytes} bytes"),
        (exposition.samples == 0, Outcome.MALFORMED, "no sample in it"),
    )
    return next(
        (verdict(outcome, reason) for found, outcome, reason in findings if found),
        verdict(Outcome.OK, odd),
    )


def _left_out(exposition: Exposition) -> str:
    """Say what there was no room for, the biggest families first."""
    lost = sorted(exposition.left_out, key=itemgetter(1), reverse=True)
    total = sum(samples for _, samples in lost)
    named = ", ".join(f"{name} {samples}" for name, samples in lost[:NAMED_MAX])
    kept = f"kept {exposition.samples} series (series_max)"
    return f"{kept}, left out {total} of {len(lost)} families: {named}"


def _odd(exposition: Exposition) -> str:
    """Say what was strange about a body; "" where nothing was."""
    found = [
        (exposition.unreadable, f"unreadable lines, the first: {exposition.example}"),
        (exposition.duplicates, "samples given again"),
        (exposition.negative, "histograms with a falling bucket"),
        (exposition.natives, "histograms without classic buckets, kept as count and sum"),
        (exposition.inexact, "histograms or summaries with a count cut to a whole one, or none"),
    ]
    return "; ".join(f"{count} {what}" for count, what in found if count)
