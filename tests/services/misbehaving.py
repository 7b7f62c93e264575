"""A server on loopback that answers one request per connection, in any way a server can fail.

In: what to do with a connection once its request was read. Out: a port. Rule: the server does only
what the test says, byte by byte; it counts connections and keeps the requests.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

import trustme

Behaviour = Callable[[socket.socket, bytes], None]

IDLE_S = 30.0  # a connection that nobody uses ends, so that no thread outlives a test for long


class Server:
    """Listens until `close`; each connection has a thread."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self._behaviour, self._tls = behaviour, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:  # the other side may go at any moment
            connection.settimeout(IDLE_S)
            if self._tls is None:
                self._answer(connection)
            else:
                with self._tls.wrap_socket(connection, server_side=True) as secured:
                    self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        while request := read_request(connection):
            self.requests.append(request)
            self._behaviour(connection, request)


def server_context(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return what a server makes TLS with, under these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


def read_request(connection: socket.socket) -> bytes:
    """Return the head of the next request; nothing at the end of the connection.

    A TLS record, sent to a server without TLS, is taken for a request as it is.
    """
    request = b""
    while not request.endswith(b"\r\n\r\n") and not request.startswith(b"\x16"):
        piece = connection.recv(65_536)
        if not piece:
            return b""
        request += piece
    return request


def response(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return the bytes of an answer whose Content-Length is true unless `length` is given."""
    announced = len(body) if length is None else length
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {announced}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


def answering(answer: bytes) -> Behaviour:
    """Send these bytes and keep the connection open."""

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer)

    return behave


def cutting(answer: bytes) -> Behaviour:
    """Send these bytes and close the connection."""

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    return behave


def dripping(answer: bytes, *, after: bytes = b"", pause_s: float = 0.05) -> Behaviour:
    """Send `after` at once, then `answer` one byte at a time, again and again."""

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(after)
        pause = threading.Event()
        while True:
            for byte in answer:
                connection.sendall(bytes([byte]))
                pause.wait(pause_s)

    return behave


def silent(connection: socket.socket, _: bytes) -> None:
    """Say nothing until the other side goes."""
    connection.recv(1)
