"""Serve bodies of simulated API servers to whoever scrapes, and take remote writes, on loopback.

In: samples of a body at least, a seed, a file. Out: `/0`, `/1`, ... in protobuf for who prefers it,
else in text, compressed if the client likes; each answer is the next body of that number. `/write`
takes and acknowledges everything; `/counts` says how much was asked and written. The file gets the
port. Rule: all bodies are made before the first request, so that the server costs little.
"""

import gzip
import json
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from producers.core.formats import ACCEPT
from tests.bench._servers import API_SERVER, Process, exposition, shape
from tests.delimited import delimited

BODIES = 8
INTERVAL_S = 15.0  # between two bodies, in the time of the simulated server
GZIP_LEVEL = 4  # of an API server
TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROTOBUF = ACCEPT.partition(";q=")[0]


@dataclass(frozen=True, slots=True)
class Body:
    """One answer in all formats."""

    text: bytes
    zipped: bytes
    protobuf: bytes


def bodies(samples_min: int, seed: int) -> list[Body]:
    """Return the answers of one server, one after the other."""
    process = Process(shape(API_SERVER, samples_min), seed)
    found = []
    for _ in range(BODIES):
        process.advance(INTERVAL_S)
        text = exposition(process)
        found.append(Body(text, gzip.compress(text, GZIP_LEVEL), delimited(text)))
    return found


def serve(answers: list[Body], port_file: Path) -> None:
    """Serve until the process is ended."""
    lock = threading.Lock()
    counts: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    turn = [*range(len(answers)), *range(len(answers) - 2, 0, -1)]  # to and fro: no leaps

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/counts":
                with lock:
                    self._answer(json.dumps(counts).encode(), "application/json")
                return
            with lock:
                number = asked[self.path]
                asked[self.path] += 1
                counts["scrapes"] += 1
            body = answers[turn[number % len(turn)]]
            if self.headers.get("Accept", "").startswith("application/vnd.google.protobuf"):
                self._answer(body.protobuf, PROTOBUF)
            elif "gzip" in self.headers.get("Accept-Encoding", ""):
                self._answer(body.zipped, TEXT, ("Content-Encoding", "gzip"))
            else:
                self._answer(body.text, TEXT)

        def do_POST(self) -> None:
            written = len(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                counts["writes"] += 1
                counts["written_bytes"] += written
            self.send_response(204)
            self.end_headers()

        def _answer(self, body: bytes, content_type: str, *headers: tuple[str, str]) -> None:
            self.send_response(200)
            for name, value in (("Content-Type", content_type), *headers):
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        draft = port_file.with_suffix(".draft")
        draft.write_text(str(server.server_port))
        draft.rename(port_file)
        server.serve_forever()


if __name__ == "__main__":
    serve(bodies(int(sys.argv[1]), int(sys.argv[2])), Path(sys.argv[3]))
