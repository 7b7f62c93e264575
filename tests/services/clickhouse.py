"""A ClickHouse server for tests: our own front with writes allowed, over chDB, in its own process.

In: nothing but the embedded engine; no ClickHouse server can be installed on the machines of the
tests. Out: a URL that the unmodified client reads and writes through. Rule: the front, its requests
and its errors are those of production (`sinks/front.py`); only what executes a statement differs:
it has no guards, takes the client's settings, and stores the bodies of inserts. What a real server
does beyond that (replicas, users, its own time-outs) is not tested here; PLANEWATCH_TEST_CLICKHOUSE
points the same tests at one.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn

from sinks.core.asked import Statement
from sinks.core.failures import QueryError
from sinks.front import Login, create_front
from sinks.reader import Answer
from sinks.run import listen
from tests.services import process

READY_S_MAX = 60.0
BYTES_MAX = 1_000_000_000
TOKEN = ""  # as a server has it after its installation

_INSERT: Final = re.compile(rb"\s*(INSERT INTO .+?) FORMAT (\w+)[ \t]*\r?\n", re.IGNORECASE)
_CODE: Final = re.compile(r"Code: (\d+)")
_OF_THE_TRANSPORT: Final = frozenset(
    {
        *("buffer_size", "client_protocol_version", "compress", "database", "decompress"),
        *("default_format", "enable_http_compression", "http_headers_progress_interval_ms"),
        *("password", "query_id", "quota_key", "role", "send_progress_in_http_headers"),
        *("session_check", "session_id", "session_timeout", "user", "wait_end_of_query"),
    }
)


class ClickHouse:
    """One server. `with ClickHouse() as server:` removes its process and data at the end."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="planewatch-clickhouse-")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "ClickHouse":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._home.cleanup()

    def start(self) -> None:
        """Start on the data and the port that it had, and return when it answers."""
        home = Path(self._home.name)
        address = home / "address"
        port = self.url.rstrip("/").rpartition(":")[2] or "0"
        address.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.services.clickhouse", str(home), port]
        self._process = process.start(command, log=home / "log", cwd=Path(__file__).parents[2])
        end_s = time.monotonic() + READY_S_MAX
        while not address.exists():
            if self._process.poll() is not None or time.monotonic() > end_s:
                raise AssertionError(f"no ClickHouse: {(home / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        self.url = address.read_text()

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            process.kill(self._process)


class Engine:
    """Executes statements as a server does: each request with its own settings."""

    def __init__(self, folder: Path) -> None:
        chdb: Any = import_module("chdb")  # here: only the server's process has this engine
        self._connect = chdb.connect
        self._folder = str(folder)
        self._keeper = self._connect(self._folder)  # the engine stops with its last handle

    def execute(self, statement: Statement) -> Answer:
        """Run one statement on a handle of its own."""
        settings = {k: v for k, v in statement.settings.items() if k not in _OF_THE_TRANSPORT}
        handle = self._connect(self._folder)
        try:
            handle.query(f"USE `{statement.settings.get('database', 'default')}`")
            if insert := _INSERT.match(statement.text):
                return self._insert(handle, statement, insert, settings)
            for name in sorted(settings, key="readonly".__eq__):  # readonly last: it seals
                handle.query(f"SET {name} = {_quoted(settings[name])}")
            found = handle.query(
                statement.text.decode(), statement.form, params=dict(statement.parameters)
            )
            return Answer.of(
                found.bytes() or b"",
                statement.form,
                rows_read=found.rows_read(),
                bytes_read=found.bytes_read(),
            )
        except RuntimeError as error:
            text = str(error)[max(0, str(error).find("Code: ")) :]
            code = _CODE.match(text)
            raise QueryError(text, code=int(code[1]) if code else 1000) from error
        finally:
            handle.close()

    def _insert(
        self, handle: Any, statement: Statement, insert: re.Match[bytes], settings: dict[str, str]
    ) -> Answer:
        with tempfile.NamedTemporaryFile() as file:
            file.write(statement.text[insert.end() :])
            file.flush()
            clause = ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
            handle.query(
                f"{insert[1].decode()} FROM INFILE {_quoted(file.name)}"
                f"{' SETTINGS ' + clause if clause else ''} FORMAT {insert[2].decode()}"
            )
        return Answer.of(b"", statement.form)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _serve(home: Path, port: int) -> None:
    engine = Engine(home / "data")
    app = create_front(engine.execute, login=Login(TOKEN), bytes_max=BYTES_MAX)
    listening = listen("127.0.0.1", port, "clickhouse")
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()

    def stop(number: int, _: FrameType | None) -> None:
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
    written = home / "address.new"
    written.write_text(f"http://127.0.0.1:{listening.getsockname()[1]}/")
    os.replace(written, home / "address")
    thread.join()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
