"""Ask one endpoint for its metrics. In: where, with what identity, until when. Out: status and
body, or FetchError with the outcome.

The rule this file owns: one connection per target, kept alive; no redirect, no retry. Nothing makes
a request outlive its deadline (`dialing.py`) or a body outgrow its maximum (it is inflated in
pieces).
"""

import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import Final, Protocol
from urllib.parse import urlsplit

from isal import isal_zlib
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from producers.core.credentials import Identity
from producers.core.formats import ACCEPT, is_protobuf
from producers.core.outcomes import Verdict, verdict
from producers.core.probing import PATCH_BODY, PATCH_TYPE, is_dry_run
from producers.dialing import PlainConnection, TlsConnection, Watchdog
from schemas.records import Outcome
from schemas.settings import TargetSettings, Tls

READ_BYTES: Final = 65_536
INFLATED_BYTES: Final = 1_000_000  # at a time: a bomb is noticed before it fills memory
SAID_BYTES_MAX: Final = 10_000  # read of an error's body; shorter ones leave the connection usable
GZIP_WINDOW: Final = 31

_AGENT: Final = f"planewatch/{version('planewatch')}"
SCRAPE_HEADERS: Final = {"Accept": ACCEPT, "User-Agent": f"{_AGENT} (scrape)"}
PROBE_HEADERS: Final = {
    "Accept": "application/json, */*;q=0.5",  # else objects are refused with 406
    "User-Agent": f"{_AGENT} (probe)",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered."""

    status: int
    phrase: str
    body: bytes  # inflated; of an error, its beginning
    whole: bool  # False: the body went on beyond its maximum
    process_start_s: str | None
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """What it took to connect: TCP and TLS, on the clock of the wall."""

    took_s: float
    certificate_ends_s: float | None  # since 1970; None without TLS, or where it is not checked


class FetchError(Exception):
    """No usable answer; `verdict` says which outcome that is."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        self.verdict: Verdict = verdict(outcome, reason)
        super().__init__(self.verdict.reason)


class Credentials(Protocol):
    """Who we are, as somebody else keeps it fresh."""

    @property
    def identity(self) -> Identity:
        """Who we are now."""

    def refused(self) -> None:
        """Take note that this was of no use with a server."""


class Source(Protocol):
    """What a scrape asks. One request at a time; `abort` may come from any thread."""

    def get(self, *, timeout_s: float, body_bytes_max: int) -> Answer:
        """Return its answer, or raise FetchError."""

    def abort(self) -> None:
        """End the request in flight, and refuse others."""

    def close(self) -> None:
        """Close what is open; the next request opens it again."""


class Endpoint:
    """The connection to one target. One request at a time; `abort` may come from any thread."""

    def __init__(self, settings: TargetSettings, credentials: Credentials | None = None) -> None:
        """`credentials`: who we are now, in place of what the settings say of that."""
        parts = urlsplit(settings.url)
        self._settings, self._credentials = settings, credentials
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (settings.tls or Tls()) if parts.scheme == "https" else None
        self._path = settings.path + (f"?{parts.query}" if parts.query else "")
        self.patches = bool(settings.probe) and is_dry_run(parts.query)
        self._connection: PlainConnection | TlsConnection | None = None
        self._presented = self._tls  # with what the connection was made
        self._response: BaseHTTPResponse | None = None  # the newest, which may hold the socket
        self._watchdog: Watchdog | None = None
        self._aborted = threading.Event()
        self._encoding = "gzip"
        self.opened: Opened | None = None  # of the newest connection; None where it failed

    def get(self, *, timeout_s: float, body_bytes_max: int) -> Answer:
        """Return the answer of the endpoint; costs it one request.

        Raises:
            FetchError: no complete answer came in `timeout_s` of wall time.
        """
        asks = PROBE_HEADERS if self._settings.probe else SCRAPE_HEADERS
        headers = asks | {"Accept-Encoding": self._encoding} | self._authorization()
        if self.patches:
            headers["Content-Type"] = PATCH_TYPE
        with Watchdog(timeout_s) as watchdog:
            self._watchdog = watchdog
            try:
                answer = self._ask(headers, watchdog, body_bytes_max)
            except Exception as error:
                self.close()
                raise self._judge(error, watchdog) from error
            if watchdog.fired:  # a body without a length seems to end when its socket is closed
                self.close()
                raise self._judge(TimeoutError(), watchdog)
            return answer

    def abort(self) -> None:
        """End the request in flight, and refuse others: the producer stops."""
        self._aborted.set()
        if self._watchdog:
            self._watchdog.bite()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._response:  # a socket stays open as long as an answer may be read from it
            self._response.close()
            self._response = None
        if self._connection:
            self._connection.close()
            self._connection = None

    def _ask(self, headers: dict[str, str], watchdog: Watchdog, body_bytes_max: int) -> Answer:
        self._response = response = self._respond(headers, watchdog)
        start = response.headers.get("Process-Start-Time-Unix")
        if response.status != HTTPStatus.OK:
            said = response.read1(SAID_BYTES_MAX, decode_content=False) or b""
            # The rest of the page is of no interest; a certificate is read anew with a connection.
            if not response.closed or response.status == HTTPStatus.UNAUTHORIZED:
                self.close()
            return Answer(response.status, response.reason or "", said, True, start)
        pieces: list[bytes] = []
        room = body_bytes_max
        for piece in _inflated(response):
            pieces.append(piece[:room])
            room -= len(piece)
            if room < 0:
                self.close()
                break
        content_type = response.headers.get("Content-Type", "")
        # To compress protobuf costs a server more than to send it; text is six times as long.
        self._encoding = "identity" if is_protobuf(content_type) else "gzip"
        return Answer(response.status, "", b"".join(pieces), room >= 0, start, content_type)

    def _respond(self, headers: dict[str, str], watchdog: Watchdog) -> BaseHTTPResponse:
        """Send the request and return the answer up to its body."""
        connection = self._connection
        tls = self._identified()
        if tls != self._presented:  # another certificate needs another handshake
            self.close()
            connection, self._presented = None, tls
        fresh = connection is None or not connection.is_connected
        if connection is None or fresh:
            self.close()
            connection = self._connection = self._new_connection(watchdog)
            self._connect(connection)
        watchdog.guard(connection.sock)
        connection.timeout = watchdog.left_s
        try:
            method, body = ("PATCH", PATCH_BODY) if self.patches else ("GET", None)
            connection.request(method, self._path, body, headers, preload_content=False)
            return connection.getresponse()
        except http.client.RemoteDisconnected:
            raise
        except (ssl.SSLError, ConnectionError) as error:
            if fresh and self._tls and not watchdog.fired:
                # With TLS 1.3 a server refuses a missing certificate after the client's handshake.
                reason = f"hung up after the handshake, is a certificate missing? {error}"
                raise FetchError(Outcome.TLS, reason) from error
            raise

    def _new_connection(self, watchdog: Watchdog) -> PlainConnection | TlsConnection:
        connection: PlainConnection | TlsConnection
        if self._presented is None:
            connection = PlainConnection(self._host, self._port, timeout=watchdog.left_s)
        else:
            connection = TlsConnection(
                self._host,
                self._port,
                timeout=watchdog.left_s,
                ssl_context=_context(self._presented),
                server_hostname=self._presented.server_name,
            )
        connection.name, connection.watchdog = self._host, watchdog
        return connection

    def _connect(self, connection: PlainConnection | TlsConnection) -> None:
        start_s, self.opened = time.monotonic(), None
        try:
            connection.connect()
        except (ssl.SSLError, ConnectionError) as error:
            raise FetchError(Outcome.TLS, f"no TLS with {self._host}: {error}") from error
        self.opened = Opened(time.monotonic() - start_s, _certificate_ends_s(connection.sock))

    def _identified(self) -> Tls | None:
        """Return the TLS of a connection made now; the name of the target stays its own."""
        if self._tls is None or self._credentials is None:
            return self._tls
        name = self._tls.server_name
        return self._credentials.identity.tls.model_copy(update={"server_name": name})

    def _authorization(self) -> dict[str, str]:
        """Read the token anew each time: it is rotated under us."""
        if self._credentials:
            value = self._credentials.identity.authorization
            if not value.isascii() or not value.isprintable():
                raise FetchError(Outcome.UNAUTHORIZED, "the token of the kubeconfig is no token")
            return {"Authorization": value} if value else {}
        file = self._settings.bearer_token_file
        if file is None:
            return {}
        try:
            token = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise FetchError(Outcome.UNAUTHORIZED, f"cannot read {file}: {error}") from error
        if not token.isprintable() or not token:
            raise FetchError(Outcome.UNAUTHORIZED, f"there is no token in {file}")
        return {"Authorization": f"Bearer {token}"}

    def _judge(self, error: Exception, watchdog: Watchdog) -> FetchError:
        if self._aborted.is_set():
            return FetchError(Outcome.SKIPPED, "the producer stopped")
        if watchdog.fired or isinstance(error, ReadTimeoutError | TimeoutError):  # who was first
            return FetchError(Outcome.TIMEOUT, f"no complete answer in {watchdog.timeout_s:.1f} s")
        return error if isinstance(error, FetchError) else judge(error)


def judge(error: Exception) -> FetchError:
    """Return what an exception of the transport means."""
    outcomes: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Outcome], ...] = (
        ((NameResolutionError, LocationParseError, UnicodeError), Outcome.DNS),
        (NewConnectionError, Outcome.REFUSED),
        ((ConnectTimeoutError, ReadTimeoutError, TimeoutError), Outcome.TIMEOUT),
        ((ssl.SSLEOFError, ssl.SSLZeroReturnError), Outcome.TRUNCATED),
        ((ssl.SSLError, SSLError), Outcome.TLS),
        ((ProtocolError, ConnectionError, http.client.IncompleteRead), Outcome.TRUNCATED),
        (OSError, Outcome.REFUSED),
    )
    outcome = next((o for kinds, o in outcomes if isinstance(error, kinds)), Outcome.MALFORMED)
    root = error.__cause__ if isinstance(error, NewConnectionError) and error.__cause__ else error
    return FetchError(outcome, f"{type(root).__name__}: {root}")


def _context(tls: Tls) -> ssl.SSLContext:
    """Return what TLS is made with; read anew for each connection, since files are rotated."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca_file:
            context.load_verify_locations(tls.ca_file)
        else:
            context.load_default_certs()
        if tls.cert_file:
            context.load_cert_chain(
                tls.cert_file, tls.key_file, password=""
            )  # never ask a terminal
    except OSError as error:
        files = ", ".join(str(f) for f in (tls.ca_file, tls.cert_file, tls.key_file) if f)
        raise FetchError(Outcome.TLS, f"cannot use {files}: {error}") from error
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _certificate_ends_s(sock: object) -> float | None:
    told = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    return float(ssl.cert_time_to_seconds(str(told["notAfter"]))) if told else None


def _inflated(response: BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the body in pieces of a bounded size.

    Raises:
        FetchError: an encoding that was not asked for, or a broken one.
    """
    encoding = response.headers.get("Content-Encoding", "").lower()
    pieces = iter(lambda: response.read1(READ_BYTES, decode_content=False) or b"", b"")
    if encoding in {"", "identity"}:
        yield from pieces
    elif encoding == "gzip":
        yield from _gunzip(pieces)
    else:
        raise FetchError(Outcome.MALFORMED, f"encoded as {encoding}, which nobody asked for")


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(GZIP_WINDOW)
    for piece in pieces:
        left, full = piece, False
        while left or full:
            if inflater.eof:  # another member follows
                inflater = isal_zlib.decompressobj(GZIP_WINDOW)
            try:
                inflated = inflater.decompress(left, INFLATED_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # its stub forgot `type[...]`
                raise FetchError(Outcome.MALFORMED, f"not gzip: {error}") from error
            yield inflated
            left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            full = len(inflated) == INFLATED_BYTES and not inflater.eof
    if not inflater.eof:
        raise FetchError(Outcome.TRUNCATED, "the gzip stream was cut")
