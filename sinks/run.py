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
from types import FrameType
from typing import Any, Final

import click
import uvicorn

from schemas import run
from schemas.clock import Clock
from schemas.command import configured
from schemas.errors import ConfigError, Problem
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from sinks.console.app import create_app
from sinks.consume import Stage, consume
from sinks.engine import address, own_temporary_folder
from sinks.front import Readers, create_front
from sinks.migrate import migrate
from sinks.store import Store

log = logging.getLogger(__name__)

STAGE: Final = "sinks"
CHECK_S: Final = 0.2
STOP_S_MAX: Final = 4.0
SERVER_STOP_S: Final = 1


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
    """Serve the front; announce where it listens and the token that opens it."""
    where = address(settings)
    assert where.folder is not None
    readers = Readers(where.folder, where.database, telemetry)
    token = secrets.token_urlsafe(32)
    app = create_front(readers.execute, token=token)
    try:
        with served(app, "127.0.0.1", settings.front.port, "front") as url:
            run.announce(settings, run.FRONT, url=url, token=token, database=where.database)
            yield
    finally:
        run.withdraw(settings, run.FRONT)
        readers.close()


@contextmanager
def served(app: Any, host: str, port: int, name: str) -> Iterator[str]:
    """Serve an application on a thread of its own; yield its URL when it listens."""
    listening = listen(host, port, name)
    config = uvicorn.Config(
        app,
        log_level="warning",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SERVER_STOP_S,  # streams to browsers do not end by themselves
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name=name, daemon=True
    )
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{listening.getsockname()[1]}/"
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
