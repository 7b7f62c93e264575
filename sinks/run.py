"""The stage itself. In: settings. Out: rows in ClickHouse, the console, the front, until SIGTERM.

The rule this file owns: the tables are migrated before anything reads or writes them; one process
per data folder; on SIGTERM reading stops, what was read is flushed, and all of that takes less than
5 s. If any part fails for good, the process ends with the reason.
"""

import logging
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
import uvicorn

from schemas import run
from schemas.clock import Clock
from schemas.command import configured
from schemas.config import secret
from schemas.errors import ConfigError, Problem
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from sinks.console.app import create_app
from sinks.consume import Stage, consume
from sinks.engine import address, own_temporary_folder
from sinks.front import Login, create_front
from sinks.migrate import migrate
from sinks.readers import Readers
from sinks.store import Store

log = logging.getLogger(__name__)

STAGE: Final = "sinks"
CHECK_S: Final = 0.2
STOP_S_MAX: Final = 4.0
SERVER_STOP_S: Final = 1
CONNECTIONS_MAX: Final = 200
"""Of a front; further ones are answered 503."""

PASSWORD_LENGTH_MIN: Final = 12
"""Nobody slows down who tries passwords at the front."""


@click.command("run", short_help="store records and serve the console until terminated")
@configured
def run_command(settings: Settings) -> None:
    """Store what Kafka has in ClickHouse; serve the console and, embedded, the read-only front.

    Example: planewatch sinks --config planewatch.yaml
    """
    stopping = threading.Event()

    def terminate(number: int, _: FrameType | None) -> None:
        log.info("stopping signal=%s", signal.Signals(number).name)
        stopping.set()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    serve(settings, stopping)


def serve(settings: Settings, stopping: threading.Event) -> None:
    """Run the whole stage until `stopping` is set.

    Raises:
        ConfigError: the configuration gives no Kafka, or a port that cannot be had.
        SinkRefused, BrokerError: an operator must act; the message says how.
    """
    with ExitStack() as held:
        telemetry = Telemetry(STAGE)
        telemetry_port = _serve_telemetry(settings, telemetry)
        run.broker(settings)
        if address(settings).folder is not None:
            keeper = Store.open(settings, database="default")  # holds the lock and the engine
            held.callback(keeper.close)
            own_temporary_folder(settings)
        for line in migrate(settings):
            log.info("tables: %s", line)
        console_url = held.enter_context(_console(settings, telemetry))
        if address(settings).folder is not None:
            held.enter_context(_front(settings, telemetry))
        url = f"http://{settings.telemetry.host}:{telemetry_port}/metrics"
        facts = {"console_url": console_url, "telemetry_url": url}
        _store_records(settings, telemetry, stopping, facts)


def _store_records(
    settings: Settings, telemetry: Telemetry, stopping: threading.Event, facts: dict[str, str]
) -> None:
    """Consume on a thread of its own, so that signals reach this one; announce when it reads."""
    reading = threading.Event()
    failure: list[BaseException] = []

    def work() -> None:
        try:
            consume(Stage(settings, telemetry, stopping, reading.set))
        except BaseException as error:
            failure.append(error)

    worker = threading.Thread(target=work, name="sink", daemon=True)
    worker.start()
    announced = False
    try:
        while worker.is_alive() and not stopping.wait(CHECK_S):
            if reading.is_set() and not announced:
                run.announce(settings, run.SINKS, **facts)
                log.info("ready console=%s", facts["console_url"])
                announced = True
    finally:
        stopping.set()
        run.withdraw(settings, run.SINKS)
        worker.join(STOP_S_MAX)
    if failure:
        raise failure[0]
    if worker.is_alive():
        log.warning("stopped without a last flush: what was not stored is read again")


@contextmanager
def _console(settings: Settings, telemetry: Telemetry) -> Iterator[str]:
    """Serve the console; yield its URL."""
    app = create_app(settings, Clock(settings.clock.file), telemetry)
    with served(app, settings.console.host, settings.console.port, "console") as url:
        yield url


@contextmanager
def _front(settings: Settings, telemetry: Telemetry) -> Iterator[None]:
    """Serve the front; announce where it listens and the token that opens it.

    That one is for the verbs of this machine; where a password is configured, analysts have a port
    of their own beside it, which shares its limits.
    """
    where, front = address(settings), settings.front
    assert where.folder is not None
    readers = Readers(where.folder, where.database, telemetry, front)
    token = secrets.token_urlsafe(32)
    open_to = partial(create_front, readers.execute, bytes_max=front.statement_bytes_max)
    with ExitStack() as held:
        held.callback(readers.close)
        held.callback(run.withdraw, settings, run.FRONT)
        here = ("127.0.0.1", 0) if front.password_file else (front.host, front.port)
        app = open_to(login=Login(token))
        bounded = partial(served, name="front", connections_max=CONNECTIONS_MAX)
        url = held.enter_context(bounded(app, *here))
        if front.password_file:
            password = secret(front.password_file, "front.password_file")
            app = open_to(login=_login(front.username, password))
            shown = held.enter_context(bounded(app, front.host, front.port, tls=front.tls))
            log.info("front for analysts url=%s username=%s", shown, front.username)
        run.announce(settings, run.FRONT, url=url, token=token, database=where.database)
        yield


def _login(username: str, password: str) -> Login:
    if len(password) < PASSWORD_LENGTH_MIN:
        advice = f"a password of {len(password)} characters; at least {PASSWORD_LENGTH_MIN} needed"
        raise ConfigError([Problem("front.password_file", advice)])
    return Login(password, username)


@contextmanager
def served(
    app: Any,
    host: str,
    port: int,
    name: str,
    *,
    tls: tuple[Path, Path] | None = None,
    connections_max: int | None = None,
) -> Iterator[str]:
    """Serve an application on a thread of its own; yield its URL when it listens.

    `tls`: the files of the server's certificate and its key.
    """
    listening = listen(host, port, name)
    cert_file, key_file = tls or (None, None)
    config = uvicorn.Config(
        app,
        ssl_certfile=cert_file,
        ssl_keyfile=key_file,
        limit_concurrency=connections_max,
        log_level="warning",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SERVER_STOP_S,  # streams to browsers do not end by themselves
    )
    try:
        config.load()  # here, not on its thread: a certificate may not fit its key
    except OSError as error:
        listening.close()
        raise ConfigError(
            [Problem(f"{name}.cert_file", f"cannot use {cert_file}: {error}")]
        ) from error
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name=name, daemon=True
    )
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"{'https' if tls else 'http'}://{shown}:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(STOP_S_MAX)
        listening.close()


def listen(host: str, port: int, name: str) -> socket.socket:
    """Return a listening socket; the kernel keeps connections until the server takes them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle off: an answer in 1 ms instead of 40.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        advice = f"cannot listen on {host}:{port}: {error.strerror}; 0 takes any free port"
        raise ConfigError([Problem(f"{name}.port", advice)]) from error
    return listening


def _serve_telemetry(settings: Settings, telemetry: Telemetry) -> int:
    where = settings.telemetry
    try:
        return telemetry.serve(where.host, where.sinks_port)
    except OSError as error:
        advice = f"cannot listen on {where.host}:{where.sinks_port}: {error.strerror}"
        raise ConfigError([Problem("telemetry.sinks_port", advice)]) from error
