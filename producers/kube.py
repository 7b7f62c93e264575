"""Talk to one API server through the official client. In: a path and a query. Out: an open answer,
or how the request ended.

The rule this file owns: the client package gives us configuration, credentials, TLS and a pool, and
nothing else: one call is one request, counted and paid for from the budget, with a time-out on
everything, and never repeated by a library. Its watches and informers are not used: they ask again
without a pause.
"""

import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import urllib3
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import ConfigException, load_kube_config

from producers.budget import Budget
from producers.core.watching import End, Signal, read_failure
from schemas.clock import Clock
from schemas.errors import ConfigError, Problem, SourceError

CONNECT_MS: Final = 3_000
WALL_S_MIN: Final = 0.5  # a rehearsal's clock is fast, the machine below it is not
FAILURE_BYTES_MAX: Final = 64_000
CHUNK_BYTES: Final = 65_536


class Ended(SourceError):
    """A request ended without an answer to read; `end` says how."""

    def __init__(self, end: End, *, target: str) -> None:
        super().__init__(f"{end.signal} {end.reason}", target=target)
        self.end = end


class Connection:
    """Requests of one owner to the API server of one cluster."""

    def __init__(
        self,
        kubeconfig: Path,
        context: str | None,
        *,
        setting: str,
        owner: str,
        budget: Budget,
        clock: Clock,
    ) -> None:
        """`setting`: the path of the kubeconfig in the configuration, for messages.

        Raises:
            ConfigError: the kubeconfig cannot be used.
        """
        settings = Configuration()
        try:
            load_kube_config(  # type: ignore[no-untyped-call]  # the package has no types there
                str(kubeconfig), context, client_configuration=settings, persist_config=False
            )
        except (ConfigException, OSError, ValueError) as error:
            raise ConfigError([Problem(setting, f"{kubeconfig}: {error}")]) from error
        settings.retries = False  # one call is one request
        settings.keep_alive = True  # finds half-open connections earlier
        self._client = ApiClient(settings)
        self._client.user_agent = f"planewatch/{version('planewatch')} ({owner})"
        self._owner, self._budget, self._clock = owner, budget, clock
        self.instance = str(settings.host)

    def get(
        self, path: str, query: Mapping[str, str], *, silence_ms: int, stop: threading.Event
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer 200 to a GET, its body unread; its cost is for the caller to bound.

        `silence_ms`: event time after which a server that sends nothing is given up.

        Raises:
            Ended: another status, no answer, or `stop` was set.
        """
        if not self._budget.wait(self.instance, stop):
            raise Ended(End(Signal.ENDED, "stopped"), target=self.instance)
        request = self._client.param_serialize(
            "GET",
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        timeout = (self._wall_s(CONNECT_MS), self._wall_s(silence_ms))
        answer: urllib3.BaseHTTPResponse
        try:
            answer = self._client.call_api(*request, _request_timeout=timeout).response
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            end = ended_by(error)
            self._report(end.signal, failed=True)
            raise Ended(end, target=self.instance) from error
        self._report(str(answer.status), failed=answer.status == 429 or answer.status >= 500)
        if answer.status != 200:
            raise Ended(_failure(answer), target=self.instance)
        return answer

    def _report(self, code: str, *, failed: bool) -> None:
        self._budget.report(self.instance, owner=self._owner, code=code, failed=failed)

    def _wall_s(self, event_ms: int) -> float:
        return max(WALL_S_MIN, self._clock.wall_s(event_ms))


def chunks(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the bytes of an answer as they come.

    Raises:
        Ended: the connection broke, or nothing came for too long.
    """
    try:
        yield from answer.stream(CHUNK_BYTES, decode_content=True)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Ended(ended_by(error), target=str(answer.url)) from error


def ended_by(error: Exception) -> End:
    """Return the end that an error of the client stands for."""
    silent = isinstance(error, urllib3.exceptions.ReadTimeoutError)
    return End(Signal.SILENT if silent else Signal.FAILED, f"{type(error).__name__}: {error}"[:300])


def _failure(answer: urllib3.BaseHTTPResponse) -> End:
    """The end that an answer other than 200 stands for; only the beginning of it is read."""
    try:
        body = answer.read(FAILURE_BYTES_MAX)
    except (urllib3.exceptions.HTTPError, OSError):
        body = b""
    answer.close()
    return read_failure(answer.status, body, answer.headers.get("Retry-After", ""))
