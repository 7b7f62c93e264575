"""Talk to one API server through the official client. In: a path and a query. Out: an open answer,
or how the request ended.

The rule this file owns: the client package gives us configuration, credentials, TLS and a pool, and
nothing else: one call is one request, counted and paid for from the budget, with a time-out and a
deadline on everything, and never repeated by a library. Its watches and informers are not used:
they ask again without a pause.
"""

import threading
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

import urllib3
from kubernetes.client import ApiClient, ApiException
from kubernetes.client.api_client import RequestSerialized

from producers.access import Access
from producers.answers import Answer, Ended, bound_heads, ended_by
from producers.budget import Budget
from producers.core.watching import End, Signal, read_failure
from schemas.clock import Clock

CONNECT_MS: Final = 3_000
FAILURE_MS: Final = 10_000  # for the body of an answer other than 200
WALL_S_MIN: Final = 0.5  # a rehearsal's clock is fast, the machine below it is not
FAILURE_BYTES_MAX: Final = 64_000


class Connection:
    """Requests of one owner to the API server of one cluster; one thread at a time."""

    def __init__(self, access: Access, *, owner: str, budget: Budget, clock: Clock) -> None:
        """Read how the server is reached.

        Raises:
            ConfigError: the kubeconfig cannot be used.
        """
        self._access, self._owner, self._budget, self._clock = access, owner, budget, clock
        self._client: ApiClient | None = self._open()
        self.instance = str(self._client.configuration.host)

    def get(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        silence_ms: int,
        deadline_ms: int,
        stop: threading.Event,
    ) -> Answer:
        """Return the answer 200 to a GET, its body unread; its cost is for the caller to bound.

        `silence_ms`: event time after which a server that sends nothing is given up.
        `deadline_ms`: event time after which an answer that is not over is given up.

        Raises:
            Ended: another status, no answer, no credentials, or `stop` was set.
        """
        client, request = self._prepared(path, query)
        if not self._budget.wait(self.instance, stop):
            raise Ended(End(Signal.ENDED, "stopped"), target=self.instance)
        began_ms = self._clock.now_ms()
        timeout = (self._wall_s(CONNECT_MS), self._wall_s(silence_ms))
        response: urllib3.BaseHTTPResponse
        try:
            response = client.call_api(*request, _request_timeout=timeout).response
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            end = ended_by(error)
            self._report(end.signal, failed=True)
            if isinstance(error, ApiException):  # no TLS: the kubeconfig may hold another CA now
                self._forget()
            raise Ended(end, target=self.instance) from error
        self._report(str(response.status), failed=response.status == 429 or response.status >= 500)
        if response.status != 200:
            raise Ended(self._failure(response), target=self.instance)
        return self._answer(response, began_ms + deadline_ms - self._clock.now_ms())

    def read(self, *, garbled: bool = False) -> None:
        """Tell whether the newest answer made sense; one that does not is a failure, too."""
        self._budget.read(self.instance, garbled=garbled)

    def _open(self) -> ApiClient:
        """Return a client made of the kubeconfig, and of the files it names, as they are now."""
        settings, _ = self._access.open()
        settings.retries = False  # one call is one request
        settings.keep_alive = True  # finds half-open connections earlier
        client = ApiClient(settings)
        client.user_agent = f"planewatch/{version('planewatch')} ({self._owner})"
        bound_heads(client.rest_client.pool_manager)
        return client

    def _prepared(self, path: str, query: Mapping[str, str]) -> tuple[ApiClient, RequestSerialized]:
        """Return a client and a request for it, with credentials; a plug-in may renew them here."""
        try:
            self._client = client = self._client or self._open()
            return client, client.param_serialize(
                "GET",
                path,
                query_params=list(query.items()),
                header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"],
            )
        except Exception as error:  # whatever a plug-in raises is over once it is mended
            reason = f"no credentials: {type(error).__name__}: {error}"[:300]
            raise Ended(End(Signal.FAILED, reason), target=self.instance) from error

    def _failure(self, response: urllib3.BaseHTTPResponse) -> End:
        """Return the end that an answer other than 200 stands for; only its beginning is read.

        Who is denied may have credentials that were renewed or that a plug-in could not get, with
        which an API server answers 401, or 403 where it knows anonymous users: the next request
        reads them anew.
        """
        body = b""
        with self._answer(response, FAILURE_MS) as answer:
            try:
                for chunk in answer.chunks():
                    body += chunk
                    if len(body) >= FAILURE_BYTES_MAX:
                        break
            except Ended:
                pass  # the status says enough
        retry_after = response.headers.get("Retry-After", "")
        end = read_failure(response.status, body[:FAILURE_BYTES_MAX], retry_after)
        if end.signal is Signal.DENIED:
            self._forget()
        return end

    def _forget(self) -> None:
        """Let the next request read the kubeconfig anew."""
        if self._client:
            self._client.rest_client.close()
            self._client = None

    def _answer(self, response: urllib3.BaseHTTPResponse, left_ms: float) -> Answer:
        return Answer(response, self._clock, max(left_ms, WALL_S_MIN * 1000 * self._clock.speed))

    def _report(self, code: str, *, failed: bool) -> None:
        self._budget.report(self.instance, owner=self._owner, code=code, failed=failed)

    def _wall_s(self, event_ms: float) -> float:
        return max(WALL_S_MIN, self._clock.wall_s(event_ms))
