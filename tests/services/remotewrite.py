"""A storage that others write to by Prometheus' remote write, and that can be away.

In: writes of Prometheus and of vmagent on loopback. Out: the values of one metric, by a label.
Rule: what is acknowledged has been noted; while the storage is away nobody listens on its port, and
connections that are open end without an answer.
"""

import sys
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto

PACKAGE: Final = "planewatch.tests"
MESSAGES: Final[dict[str, dict[str, tuple[int, Any]]]] = {
    "Label": {"name": (1, Field.TYPE_STRING), "value": (2, Field.TYPE_STRING)},
    "Sample": {"value": (1, Field.TYPE_DOUBLE), "timestamp": (2, Field.TYPE_INT64)},
    "TimeSeries": {"labels": (1, "Label"), "samples": (2, "Sample")},
    "WriteRequest": {"timeseries": (1, "TimeSeries")},
}
"""What is read of remote write 1.0: https://prometheus.io/docs/specs/prw/remote_write_spec/."""


class Receiver:
    """The storage. It listens from `start` to `stop`, always on the same port."""

    def __init__(self, metric: str, label: str) -> None:
        self._metric, self._label = metric, label
        self._lock = threading.Lock()
        self._values: dict[str, set[float]] = defaultdict(set)
        self._server: _Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where to write to."""
        return f"http://127.0.0.1:{self._port}/api/v1/write"

    def start(self) -> None:
        """Listen."""
        self._server = _Server(self, self._port)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Be away."""
        if self._server:
            self._server.alive = False
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def values(self, of: str) -> set[float]:
        """Return all values that were stored of the series whose label is `of`."""
        with self._lock:
            return set(self._values[of])

    def store(self, body: bytes, encoding: str) -> None:
        """Note what a write says."""
        request = _WriteRequest.FromString(_decompressed(body, encoding))
        with self._lock:
            for one in request.timeseries:
                labels = {label.name: label.value for label in one.labels}
                if labels.get("__name__") == self._metric:
                    self._values[labels[self._label]].update(s.value for s in one.samples)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, receiver: Receiver, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.receiver, self.alive = receiver, True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet where a writer was killed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.alive:
            self.close_connection = True
            return
        self.server.receiver.store(body, self.headers["Content-Encoding"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def _decompressed(body: bytes, encoding: str) -> bytes:
    """Prometheus writes snappy blocks, vmagent zstd; a snappy block begins with its length."""
    if encoding == "zstd":
        return bytes(pa.CompressedInputStream(pa.BufferReader(body), "zstd").read())
    assert encoding == "snappy", encoding
    size = shift = 0
    for byte in body:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return bytes(pa.Codec("snappy").decompress(body, decompressed_size=size, asbytes=True))


def _write_request() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="write.proto", package=PACKAGE, syntax="proto3")
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = made.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
            if isinstance(kind, str):
                field.label, field.type = Field.LABEL_REPEATED, Field.TYPE_MESSAGE
                field.type_name = f".{PACKAGE}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{PACKAGE}.WriteRequest")
    return message_factory.GetMessageClass(found)


_WriteRequest: Final = _write_request()
