"""Serve the simulated processes of a cluster over HTTP on loopback, in a process of its own.

In: how many servers and members, samples of a server at least, their interval, a seed, a file.
Out: `/0`, `/1`, ... as a real process answers a scrape, compressed if the client likes; every
answer lets the time of that process pass by one interval. The file gets the port. Rule: the same
seed gives the same answers as `Cluster`, so two consumers can be measured on the same scrapes.
"""

import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.bench._servers import API_SERVER, ETCD, Cluster, exposition, shape

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GZIP_LEVEL = 4  # of an API server


def cluster(servers: int, members: int, samples_min: int, interval_ms: int, seed: int) -> Cluster:
    """Return the cluster that is served."""
    shapes = [shape(API_SERVER, samples_min)] * servers + [shape(ETCD)] * members
    return Cluster("bench", shapes, interval_ms=interval_ms, seed=seed)


def serve(one: Cluster, port_file: Path) -> None:
    """Serve until the process is ended."""
    locks = [threading.Lock() for _ in one.processes]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            number = int(self.path.strip("/"))
            with locks[number]:
                one.processes[number].advance(one.interval_ms / 1000)
                body = exposition(one.processes[number])
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                body = gzip.compress(body, GZIP_LEVEL)
                self.send_header("Content-Encoding", "gzip")
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
    numbers = [int(text) for text in sys.argv[1:6]]
    serve(cluster(*numbers), Path(sys.argv[6]))
