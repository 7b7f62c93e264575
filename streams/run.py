"""The stage itself. In: settings. Out: indicators and alerts in Kafka, until SIGTERM.

The rule this file owns: it is ready when its partitions are assigned and replayed; on SIGTERM it
finishes the record in hand, commits and leaves within 5 s; whatever stops it otherwise says why.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from typing import Final

from schemas import run
from schemas.clock import Clock
from schemas.config import kafka_password
from schemas.errors import BrokerError, ConfigError, Problem
from schemas.records import ClusterInfo
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from schemas.topics import TopicName
from streams.app import make_app
from streams.consumer import ReplayingApp
from streams.core.context import Context
from streams.core.evaluate import Limits
from streams.kafka import LogEnds, partitions_of, topic_ids
from streams.reload import Reload
from streams.rulefiles import configured_rule_sets
from streams.silence import Silence
from streams.stage import Stage
from streams.worker import STAGE_NAME, Worker

REST_S: Final = 2.0
STOP_S: Final = 2.5
LEAVE_S: Final = 4.5

logger = logging.getLogger(__name__)


def stream(settings: Settings) -> None:
    """Run the stage until it is told to stop.

    Raises:
        ConfigError: something in the configuration cannot be used.
        RuleErrors: rules cannot be used.
        BrokerError: Kafka cannot do what we need.
    """
    rules = configured_rule_sets(settings)
    settings.data.mkdir(parents=True, exist_ok=True)  # Faust makes but the last folder of its path
    clock, telemetry = _clock(settings), Telemetry(STAGE_NAME)
    url = _serve(settings, telemetry)
    broker, password = run.broker(settings), kafka_password(settings.kafka)
    partitions = partitions_of(settings, broker, password)
    logger.info(
        "kafka=%s partitions=%d rules=%s groups=%d",
        *(broker.bootstrap, partitions, rules.loaded.hash, len(rules.loaded.groups)),
    )
    limits = Limits(settings.streams.results_max, settings.streams.alerts_max)
    rewind_ms = int(settings.streams.rewind_s * 1000)
    logs = topic_ids(settings, broker, password)
    context = Context(rules, rewind_ms, cluster_infos(settings), limits, logs)
    stage = Stage(settings, context, partitions, clock, telemetry)
    asyncio.run(_stream(stage, broker, password, url))


async def _stream(stage: Stage, broker: run.Broker, password: str | None, url: str) -> None:
    settings = stage.settings
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = make_app(settings, broker, password)
    worker = Worker(app, stage)
    log_ends = LogEnds(settings, broker, password, TopicName.SCRAPES)
    silence = Silence(worker.partitions, worker.publisher, log_ends, worker.now)
    reload = Reload(settings, stage.context.rules, worker.use, stage.telemetry)
    ends: set[asyncio.Future[None]] = {
        worker.failed,
        asyncio.ensure_future(_until_set(stop)),
        asyncio.ensure_future(_faust(app)),
        asyncio.ensure_future(silence.run()),
        asyncio.ensure_future(reload.run()),
    }
    announced = asyncio.ensure_future(_announce(settings, worker, url))
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        announced.cancel()
        run.withdraw(settings, run.STREAMS)
        _leave_in_time(0 if stop.is_set() else 1, sys.exception())
        await _close(app, worker)


def _leave_in_time(code: int, why: BaseException | None) -> None:
    """End the process when closing takes too long: Faust waits for a Kafka that is gone.

    Nothing is lost: what was not committed is read again, what was sent is recognised.
    """

    def leave() -> None:
        logger.warning("still closing after %.1f s, leaving; ended by: %s", LEAVE_S, why or "order")
        logging.shutdown()
        os._exit(code)

    timer = threading.Timer(LEAVE_S, leave)
    timer.daemon = True
    timer.start()


async def _close(app: ReplayingApp, worker: Worker) -> None:
    """Finish the record in hand, commit, leave."""
    await worker.partitions.rest(REST_S)
    try:
        await asyncio.wait_for(app.stop(), STOP_S)
    except TimeoutError:
        logger.warning("Faust does not stop, leaving without it")


async def _announce(settings: Settings, worker: Worker, telemetry_url: str) -> None:
    await worker.partitions.ready.wait()
    run.announce(settings, run.STREAMS, telemetry_url=telemetry_url)


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()
    logger.info("stopping")


async def _faust(app: ReplayingApp) -> None:
    """Run Faust until it fails or is stopped."""
    app.finalize()
    await app.start()
    await app.wait_until_stopped()
    if app.crash_reason is not None:
        raise BrokerError(f"Faust cannot go on: {app.crash_reason!r}") from app.crash_reason


def cluster_infos(settings: Settings) -> dict[str, ClusterInfo]:
    """Return the attributes of the configured clusters, for alert records."""
    return {
        cluster.id: ClusterInfo(
            name=cluster.name,
            environment=cluster.labels.get("environment", ""),
            region=cluster.labels.get("region", ""),
        )
        for cluster in settings.clusters
    }


def _clock(settings: Settings) -> Clock:
    try:
        return Clock(settings.clock.file)
    except OSError as error:
        raise ConfigError([Problem("clock.file", f"cannot be used: {error}")]) from error


def _serve(settings: Settings, telemetry: Telemetry) -> str:
    host, port = settings.telemetry.host, settings.telemetry.streams_port
    try:
        port = telemetry.serve(host, port)
    except OSError as error:
        problem = Problem("telemetry.streams_port", f"cannot listen on {host}:{port}: {error}")
        raise ConfigError([problem]) from error
    return f"http://{host}:{port}/metrics"
