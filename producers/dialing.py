"""Connect within a deadline. In: a host, and when a request must be over. Out: a socket, or the
error of the last address that was tried.

The rule this file owns: nothing makes a request outlive its deadline. A watchdog closes its socket
then, so dripping does not help; the addresses of a name share the time that is left, so that one
which swallows packets leaves some for the others.
"""

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]  # as getaddrinfo has it
Options = Sequence[tuple[int, int, int | bytes]]


class Watchdog:
    """Closes the socket of a request at its deadline, or when told to."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.fired = False
        self._until = time.monotonic() + timeout_s
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._timer = threading.Timer(timeout_s, self.bite)
        self._timer.daemon = True

    def __enter__(self) -> "Watchdog":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @property
    def left_s(self) -> float:
        """Wall seconds until the deadline, never 0, which sockets take for something else."""
        return max(0.001, self._until - time.monotonic())

    def guard(self, sock: socket.socket) -> None:
        """Close this socket from now on."""
        with self._lock:
            self._sock = sock
        if self.fired:
            self.bite()

    def bite(self) -> None:
        """End the request: whoever reads from the socket finds its end."""
        with self._lock:
            self.fired = True
            if self._sock:
                with suppress(OSError):  # closed already
                    # Not SSLSocket.shutdown, which forgets its TLS state while another thread reads
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


class PlainConnection(HTTPConnection):
    """A connection whose set-up counts against the deadline too."""

    name: str  # as it was configured; urllib3 takes away the dot of one that is absolute
    watchdog: Watchdog

    def _new_conn(self) -> socket.socket:
        return _dial(self)


class TlsConnection(HTTPSConnection):
    """The same with TLS: the handshake gets what connecting left of the time."""

    name: str  # as it was configured; urllib3 takes away the dot of one that is absolute
    watchdog: Watchdog

    def _new_conn(self) -> socket.socket:
        return _dial(self)


def connect(addresses: Sequence[Address], watchdog: Watchdog, options: Options) -> socket.socket:
    """Return a socket that is connected to the first address that answers.

    Raises:
        OSError: none did; the error of the last one, which is TimeoutError where it was silent.
    """
    failed = OSError("no address")
    for place, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options:
                sock.setsockopt(*option)
            watchdog.guard(sock)
            sock.settimeout(watchdog.left_s / (len(addresses) - place))
            sock.connect(address)
            if watchdog.fired:  # a socket that was shut meanwhile seems to be connected
                raise TimeoutError("cut off while it connected")
        except OSError as error:
            sock.close()
            failed = error
        else:
            sock.settimeout(watchdog.left_s)
            return sock
    raise failed


def _dial(connection: PlainConnection | TlsConnection) -> socket.socket:
    """Return a socket for a connection, with the errors of urllib3.

    Looking up a name cannot be interrupted; the resolver of the system has limits of its own.
    """
    name, port = connection.name, connection.port
    try:
        addresses = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(name, connection, error) from error
    try:
        return connect(addresses, connection.watchdog, connection.socket_options or ())
    except TimeoutError:
        raise
    except OSError as error:
        raise NewConnectionError(connection, f"no connection: {error}") from error
