"""A real Prometheus server for tests and benches: from Debian, on loopback, no containers.

In: a configuration, or samples through its remote-write receiver. Out: answers of its query API,
as label sets and numbers. Rule: times are the caller's, of any year, and stale markers are samples
like others (None): what is asked is exactly what was written. The server leaves neither a process
nor data behind.
"""

import json
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import urllib3

from tests.services import debian, process

WHY: Final = "tests that ask Prometheus itself"
READY_TIMEOUT_S: Final = 60.0
REQUEST_TIMEOUT_S: Final = 60.0
SERIES_PER_WRITE: Final = 500

NO_TARGETS: Final = "global: {}\n"
"""Prometheus' defaults: without rules and targets it only stores and answers."""

STALE: Final = struct.pack("<Q", 0x7FF0000000000002)
"""The NaN that ends a series; packed from an integer, because a float register may change it."""

LabelSet = frozenset[tuple[str, str]]
Sample = tuple[int, float | None]
"""(time in ms, value); None is a stale marker."""


class QueryError(Exception):
    """Prometheus refused the query, or failed at it."""


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """One series, its samples in the order of time."""

    labels: Mapping[str, str]  # with __name__
    samples: Sequence[Sample]


def program() -> Path:
    """Return the server's program, fetched once for this user."""
    return debian.program("prometheus", "usr/bin/prometheus", why=WHY)


def version() -> str:
    """Return what the server calls itself, for example "prometheus, version 3.5.3+ds1 (...)"."""
    printed = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True)
    return printed.stdout.splitlines()[0].strip()


class Prometheus:
    """One server. `with Prometheus() as server:` removes its process and data at the end.

    config: the text of prometheus.yml; flags: more of the command line.
    """

    def __init__(self, config: str = NO_TARGETS, flags: Sequence[str] = ()) -> None:
        self._program = program()
        self._home = Path(tempfile.mkdtemp(prefix="planewatch-prometheus-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._flags = tuple(flags)
        self.config = self._home / "prometheus.yml"
        self.config.write_text(config)
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._http = urllib3.PoolManager(timeout=REQUEST_TIMEOUT_S, retries=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def log(self) -> Path:
        """What the server printed: warnings and worse."""
        return self._home / "prometheus.log"

    @property
    def pid(self) -> int:
        """The process, for those who measure it."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Start on the data that is there; return the seconds until queries are answered."""
        began_s = time.monotonic()
        self._process = process.start(
            [
                str(self._program),
                f"--config.file={self.config}",
                f"--storage.tsdb.path={self._home / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--web.enable-remote-write-receiver",
                "--log.level=warn",
                *self._flags,
            ],
            log=self.log,
            cwd=self._home,
        )
        self._wait_until_ready(began_s + READY_TIMEOUT_S)
        return time.monotonic() - began_s

    def close(self) -> None:
        """End it and remove its data."""
        if self._process:
            process.kill(self._process)
        self._http.clear()
        shutil.rmtree(self._home, ignore_errors=True)

    def write(self, series: Iterable[TimeSeries]) -> None:
        """Store samples. All of one series in one call, and all calls within an hour of samples:
        older ones than the newest less an hour are refused.
        """
        todo = list(series)
        for begin in range(0, len(todo), SERIES_PER_WRITE):
            body = b"".join(
                _field(1, _time_series(one)) for one in todo[begin : begin + SERIES_PER_WRITE]
            )
            answer = self._http.request(
                "POST",
                f"{self.url}/api/v1/write",
                body=pa.Codec("snappy").compress(body, asbytes=True),
                headers={"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"},
            )
            if answer.status >= 300:
                raise RuntimeError(f"remote write: {answer.status}: {answer.data.decode()[:2000]}")

    def query(self, expr: str, t_ms: int) -> dict[LabelSet, float]:
        """Return the results of an instant query; a scalar is one result without labels."""
        data = self.api("query", query=expr, time=f"{t_ms / 1000:.3f}")
        if data["resultType"] == "scalar":
            return {frozenset(): float(data["result"][1])}
        if data["resultType"] != "vector":
            raise QueryError(f"a {data['resultType']} is no instant vector")
        return {frozenset(one["metric"].items()): float(one["value"][1]) for one in data["result"]}

    def api(self, path: str, **fields: str) -> Any:
        """Return the data of /api/v1/`path`, or raise QueryError."""
        answer = self._http.request("POST", f"{self.url}/api/v1/{path}", fields=fields)
        try:
            found = json.loads(answer.data)
        except ValueError:
            raise QueryError(f"{answer.status}: {answer.data.decode()[:2000]}") from None
        if found["status"] != "success":
            raise QueryError(found["error"])
        return found["data"]

    def get(self, path: str) -> bytes:
        """Return a page of the server, for example "/metrics" of its own."""
        return bytes(self._http.request("GET", self.url + path).data)

    def _wait_until_ready(self, deadline_s: float) -> None:
        assert self._process is not None
        while time.monotonic() < deadline_s and self._process.poll() is None:
            try:
                if self._http.request("GET", f"{self.url}/-/ready").status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                pass  # it does not listen yet
            time.sleep(0.05)
        log = self.log.read_text()[-3000:]
        self.close()
        raise RuntimeError(f"Prometheus was not ready; its log ends: {log}")


def _time_series(one: TimeSeries) -> bytes:
    """Encode prometheus.TimeSeries of remote write 1.0: labels sorted by name, then samples."""
    labels = (
        _field(1, name.encode()) + _field(2, one.labels[name].encode())
        for name in sorted(one.labels)
    )
    samples = (b"\x09" + _double(value) + b"\x10" + _varint(t_ms) for t_ms, value in one.samples)
    return b"".join(
        [*(_field(1, label) for label in labels), *(_field(2, sample) for sample in samples)]
    )


def _field(number: int, body: bytes) -> bytes:
    """Encode a length-delimited field of a protobuf message."""
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _double(value: float | None) -> bytes:
    return STALE if value is None else struct.pack("<d", value)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
