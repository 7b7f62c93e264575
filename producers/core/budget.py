"""Ration unplanned requests. In: the time, how requests ended. Out: how long the next one waits.

The rule this file owns: one cluster gets 1 request a second and a burst of 10 for everything that
is not a planned scrape. After 3 failures in a row on an instance only one request per back-off
tries it; all others wait.
"""

from dataclasses import dataclass, replace
from typing import Final

FAILURES_MAX: Final = 3  # in a row; then an instance is tried by one request at a time
BACKOFF_MS: Final = 800  # doubled with each failure in a row
BACKOFF_MS_MAX: Final = 30_000  # a watch cache remembers 75 s: longer pauses would mean new LISTs
TRIAL_MS_MAX: Final = 120_000  # a trial that has not ended by then is taken for lost


def backoff_ms(failures: int, jitter: float) -> int:
    """Return the pause after `failures` failures in a row; `jitter` in [0, 1) is all of it."""
    ceiling = min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** min(max(failures - 1, 0), 16))
    return int(ceiling * jitter)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tokens of a cluster. They may be negative: then somebody waits for one already."""

    tokens: float
    at_ms: int


def refilled(bucket: Bucket, now_ms: int, *, per_s: float, burst: int) -> Bucket:
    """Return the bucket with what time has brought; a clock that went back brings nothing."""
    gained = max(0, now_ms - bucket.at_ms) / 1000 * per_s
    return Bucket(min(float(burst), bucket.tokens + gained), max(now_ms, bucket.at_ms))


def take(bucket: Bucket, now_ms: int, *, per_s: float, burst: int) -> tuple[Bucket, int]:
    """Return the bucket less one token, and how many ms must pass before it may be used."""
    full = refilled(bucket, now_ms, per_s=per_s, burst=burst)
    left = full.tokens - 1
    wait_ms = 0 if left >= 0 else int(-left / per_s * 1000) + 1
    return Bucket(left, full.at_ms), wait_ms


@dataclass(frozen=True, slots=True)
class Instance:
    """How requests to one instance have gone."""

    failures: int = 0  # in a row
    retry_ms: int = 0  # before this nobody tries
    trial_until_ms: int = 0  # until this, one request is on its way to find out
    garbled: bool = False  # the newest body was nonsense: another good head proves nothing

    @property
    def ailing(self) -> bool:
        """Tell whether only one request per back-off may try it."""
        return self.failures >= FAILURES_MAX


def admit(instance: Instance, now_ms: int) -> tuple[Instance, int]:
    """Return the instance with this request on its way, and 0; or as it is, and a wait in ms."""
    if not instance.ailing:
        return instance, 0
    wait_ms = max(instance.retry_ms, instance.trial_until_ms) - now_ms
    if wait_ms > 0:
        return instance, wait_ms
    return replace(instance, trial_until_ms=now_ms + TRIAL_MS_MAX), 0


def failed(instance: Instance, now_ms: int, jitter: float, *, garbled: bool = False) -> Instance:
    """Return the instance after a failure, or after an answer that nobody can read (`garbled`).

    All that ask it wait for this pause, so it is never shorter than half of its ceiling.
    """
    failures = instance.failures + 1
    retry_ms = now_ms + backoff_ms(failures, 0.5 + jitter / 2)
    return Instance(failures, retry_ms, garbled=garbled or instance.garbled)


def answered(instance: Instance) -> Instance:
    """Return the instance after a good status, before its body was read."""
    return instance if instance.garbled else Instance()


def understood() -> Instance:
    """Return an instance whose answer made sense."""
    return Instance()
