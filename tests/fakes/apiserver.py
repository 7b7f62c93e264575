"""A small API server for one kind, exact in its protocol, that fails as it is told to.

In: how it shall answer LISTs and watches from now on, and what else it shall serve. Out: HTTP on
loopback, and every request for its kind. Rule: bodies, codes and the framing of streams are those
of a real server (see the captures in `../shared/fixtures/cluster/http`); state changes only by
`put` and `delete`, each with a version. It is stricter than a real one where that protects: a PATCH
that is no dry run is refused, and noted.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
CONFIG_MAPS = "/api/v1/namespaces/planewatch/configmaps/"

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request: LIST or watch, its query and its user agent."""

    watch: bool
    query: dict[str, str]
    agent: str


@dataclass(frozen=True)
class Patched:
    """One PATCH of a ConfigMap: its name, its query, and what it would have made of the object."""

    name: str
    query: dict[str, str]
    result: JsonObject


class FakeApi:
    """The state of the server, and what it does wrong."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.lists: Callable[[Handler, dict[str, str]], None] | None = None
        self.watches: Callable[[Handler, dict[str, str]], None] | None = None
        self.others: dict[str, Callable[[Handler, dict[str, str]], None]] = {}  # by path
        self.config_maps: dict[str, JsonObject] = {}  # by name; of the namespace planewatch
        self.patched: list[Patched] = []
        self.writes = 0  # PATCHes that would have been written
        self.patches: Callable[[Handler], None] | None = None  # what it does wrong
        self.page_objects = 500
        self._version = 1_000
        self._objects: dict[str, JsonObject] = {}
        self._history: list[tuple[int, bytes]] = []
        self._oldest = 0  # history before this version is gone
        self._changed = threading.Condition()
        self.url = ""

    def put(self, name: str, **spec: Any) -> None:
        """Create or change a Lease."""
        with self._changed:
            self._version += 1
            kind = "MODIFIED" if name in self._objects else "ADDED"
            self._objects[name] = lease(name, self._version, spec)
            self._log(kind, self._objects[name])

    def delete(self, name: str) -> None:
        """Delete a Lease."""
        with self._changed:
            self._version += 1
            gone = lease(name, self._version, self._objects.pop(name)["spec"])
            self._log("DELETED", gone)

    def forget(self) -> None:
        """Lose the history of events, as after a restart."""
        with self._changed:
            self._history.clear()
            self._oldest = self._version

    def recover(self) -> None:
        """Answer as a healthy server again."""
        self.lists = self.watches = None

    def count(self, *, watch: bool) -> int:
        """How many LISTs or watches were asked for."""
        return sum(one.watch == watch for one in self.asked)

    # --- what a healthy server does ---

    def list_page(self, query: dict[str, str]) -> JsonObject:
        start = int(query.get("continue", "0"))
        with self._changed:
            items = sorted(self._objects.items())[start : start + self.page_objects]
            metadata = {"resourceVersion": str(self._version)}
            if start + len(items) < len(self._objects):
                metadata["continue"] = str(start + len(items))
        bare = [{k: v for k, v in one.items() if k not in {"kind", "apiVersion"}}
                for _, one in items]  # fmt: skip
        return {"kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1",
                "metadata": metadata, "items": bare}  # fmt: skip

    def events(self, version: int, alive: Callable[[], bool]) -> Iterator[bytes]:
        if version < self._oldest:
            message = f"too old resource version: {version} ({self._oldest})"
            yield event("ERROR", status(410, "Expired", message))
            return
        while alive():
            with self._changed:
                news = [line for at, line in self._history if at > version]
                version = self._version
                if not news:
                    self._changed.wait(0.05)
            yield from news

    def bookmark(self) -> bytes:
        return event("BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})

    def _log(self, kind: str, value: JsonObject) -> None:
        self._history.append((self._version, event(kind, value)))
        self._changed.notify_all()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        if not self.server.alive():  # connections outlive the listener
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        api, watch = self.server.api, query.get("watch") == "true"
        if other := api.others.get(parts.path):
            other(self, query)
            return
        assert parts.path == LEASES, parts.path
        api.asked.append(Asked(watch, query, self.headers["User-Agent"]))
        try:
            if special := api.watches if watch else api.lists:
                special(self, query)
            elif watch:
                self.stream(api.events(int(query["resourceVersion"]), self.server.alive))
            else:
                self.json(200, api.list_page(query))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_PATCH(self) -> None:
        """Do as the API server does with a dry run of a merge patch; all else is refused."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts, api = urlsplit(self.path), self.server.api
        query = {name: ",".join(values) for name, values in parse_qs(parts.query).items()}
        if query.get("dryRun") != "All":
            api.writes += 1
            self.json(405, status(405, "MethodNotAllowed", "only dry runs are served here"))
        elif api.patches:
            api.patches(self)
        elif self.headers["Content-Type"] != "application/merge-patch+json":
            message = "the body of the request was in an unknown format"
            self.json(415, status(415, "UnsupportedMediaType", message))
        else:
            self.dry_run(parts.path, query, json.loads(body))

    def dry_run(self, path: str, query: dict[str, str], patch: JsonObject) -> None:
        assert path.startswith(CONFIG_MAPS), path
        name = path.removeprefix(CONFIG_MAPS)
        there = self.server.api.config_maps.get(name)
        if there is None:
            self.json(404, status(404, "NotFound", f'configmaps "{name}" not found'))
            return
        result = merged(there, patch)
        self.server.api.patched.append(Patched(name, query, result))
        self.json(200, result)

    def json(self, code: int, value: JsonObject, **headers: str) -> None:
        self.answer(code, json.dumps(value).encode(), "application/json", **headers)

    def answer(self, code: int, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(code)
        for name, text in {"Content-Type": content_type, **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, lines: Iterator[bytes]) -> None:
        """Send lines chunk by chunk and end the stream in order."""
        self.begin()
        for line in lines:
            self.chunk(line)
        self.chunk(b"")

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def hang(self) -> None:
        """Send nothing more and keep the connection open."""
        while self.server.alive():
            time.sleep(0.02)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, api: FakeApi, tls: ssl.SSLContext | None, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.api, self._alive, self._tls = api, True, tls

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Make TLS in the thread of the connection."""
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with self._tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet: the other side may go at any moment."""

    def alive(self) -> bool:
        return self._alive

    def end(self) -> None:
        self._alive = False
        self.shutdown()
        self.server_close()


@contextmanager
def serving(api: FakeApi, tls: ssl.SSLContext | None = None, *, port: int = 0) -> Iterator[None]:
    """Serve on a port of loopback, a free one by default."""
    server = _Server(api, tls, port)
    api.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.end()
        thread.join()


def config_map(name: str) -> JsonObject:
    metadata = {"name": name, "namespace": "planewatch", "uid": f"uid-{name}",
                "resourceVersion": "7"}  # fmt: skip
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}


def merged(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    found = dict(value) if isinstance(value, dict) else {}
    for name, one in patch.items():
        if one is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), one)
    return found


def lease(name: str, version: int, spec: JsonObject) -> JsonObject:
    metadata = {"name": name, "namespace": "kube-system", "uid": f"uid-{name}",
                "resourceVersion": str(version), "managedFields": [{}]}  # fmt: skip
    return {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
            "metadata": metadata, "spec": spec}  # fmt: skip


def status(code: int, reason: str, message: str) -> JsonObject:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code}  # fmt: skip


def event(kind: str, value: JsonObject) -> bytes:
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"
