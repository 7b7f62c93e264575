"""Read answers in bounded time. In: an answer of urllib3, and when it must be over. Out: its bytes,
or how it ended.

The rule this file owns: time-outs of sockets bound silence, not answers: each byte that drips sets
them back. So the head of an answer has to be there within the time-out of its first byte, and its
body by a deadline in event time; who reads on beyond finds the end.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from producers.budget import pause
from producers.core.watching import End, Signal
from schemas.clock import Clock
from schemas.errors import DecodeError, SourceError

CHUNK_BYTES: Final = 65_536


class Ended(SourceError):
    """A request ended without an answer to read on; `end` says how."""

    def __init__(self, end: End, *, target: str) -> None:
        super().__init__(f"{end.signal} {end.reason}", target=target)
        self.end = end


class TooLong(DecodeError):
    """An answer goes on beyond its maximum."""


def ended_by(error: Exception) -> End:
    """Return the end that an error of the client stands for."""
    silent = isinstance(error, urllib3.exceptions.ReadTimeoutError)
    return End(Signal.SILENT if silent else Signal.FAILED, f"{type(error).__name__}: {error}"[:300])


class Answer:
    """An open answer. Whoever has it closes it; any thread may `end` it."""

    def __init__(self, response: urllib3.BaseHTTPResponse, clock: Clock, left_ms: float) -> None:
        """`left_ms`: event time that is left for the body."""
        self._response, self._clock, self._left_ms = response, clock, left_ms
        self._late = False
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="answer-deadline", daemon=True).start()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the body as they come.

        Raises:
            Ended: the connection broke, nothing came for too long, or the body was not over in
                time.
        """
        try:
            for chunk in self._response.stream(CHUNK_BYTES, decode_content=True):
                if self._late:
                    break
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._ended(ended_by(error)) from error
        if self._late:  # a body without a length seems to end when its socket is closed
            raise self._ended(End(Signal.FAILED))

    def whole(self, bytes_max: int) -> bytes:
        """Return the body.

        Raises:
            Ended: as `chunks`.
            TooLong: it goes on beyond `bytes_max`; the rest is not read.
        """
        pieces, left = [], bytes_max
        for chunk in self.chunks():
            pieces.append(chunk)
            left -= len(chunk)
            if left < 0:
                raise TooLong(f"an answer of more than {bytes_max} bytes")
        return b"".join(pieces)

    def end(self) -> None:
        """Let whoever reads the body find its end."""
        with contextlib.suppress(ValueError, RuntimeError, OSError):  # it has just ended
            self._response.shutdown()

    def close(self) -> None:
        """Close the connection of the answer; an answer unread makes it useless for others."""
        self._closed.set()
        self._response.close()

    def _ended(self, end: End) -> Ended:
        late = End(Signal.FAILED, f"it went on longer than {self._left_ms / 1000:.0f} s")
        return Ended(late if self._late else end, target=str(self._response.url))

    def _watch(self) -> None:
        if pause(self._clock, self._left_ms, self._closed):
            self._late = True
            self.end()


def bound_heads(manager: urllib3.PoolManager) -> None:
    """Let connections of a new pool manager bound the heads of answers; over SOCKS they cannot."""
    if manager.pool_classes_by_scheme["http"] is HTTPConnectionPool:
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


class _Plain(HTTPConnection):
    """A connection whose answers begin in time."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does
        with _cut_after(self):
            return super().getresponse()


class _Tls(HTTPSConnection):
    """The same with TLS."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 does
        with _cut_after(self):
            return super().getresponse()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


@contextlib.contextmanager
def _cut_after(connection: HTTPConnection) -> Iterator[None]:
    """Shut the socket of a connection if what is done with it lasts longer than its time-out.

    Raises:
        TimeoutError: it did.
    """
    late = threading.Event()
    sock, limit_s = connection.sock, connection.timeout

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError):  # closed already
            # Not SSLSocket.shutdown, which forgets its TLS state while another thread reads
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(limit_s or 0, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():  # a head that was cut may seem to be whole
        raise TimeoutError(f"no head of an answer in {limit_s:.1f} s")
