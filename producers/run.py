"""The stage itself. In: settings. Out: scrapes, changes and logs in Kafka, until SIGTERM.

The rule this file owns: nothing starts before Kafka has our topics, or had them before it went
away; on SIGTERM nothing new begins, what is in flight gets 3 s, what was observed is flushed, and
all of that takes less than 5 s.
"""

import logging
import signal
import threading
from types import FrameType
from typing import Final

import click

from producers.logs import start_logs
from producers.memory import share_arenas
from producers.observation import Observation
from producers.sending import Sender
from producers.sharing import Sharing
from producers.topics import TIMEOUT_S, Topics
from producers.topics_seen import Confirmation, partitions_seen, remember
from schemas import run
from schemas.clock import Clock
from schemas.command import configured
from schemas.config import kafka_password
from schemas.errors import BrokerError, ConfigError, Problem
from schemas.kafka import client_settings
from schemas.metrics import Metric
from schemas.settings import Settings
from schemas.telemetry import Telemetry

STAGE: Final = "producers"
LOGS_S: Final = 0.1  # they stop while all else does
FLUSH_S: Final = 0.8
CHECK_S: Final = 0.5
AWAY_S: Final = 3.0  # after so long Kafka is away, for who knows its topics

NOTHING_TO_DO: Final = """nothing to observe: no target, API server or log file. Write, say:
  clusters:
    - id: prod-eu-1
      targets:
        - {job: apiserver, instance: cp-1, url: "https://10.0.0.11:6443/metrics",
           tls: {ca_file: ca.crt, server_name: kubernetes.default.svc}, bearer_token_file: token}"""

logger = logging.getLogger(__name__)


@click.command("run", short_help="scrape, watch and tail until terminated")
@configured
def run_command(settings: Settings) -> None:
    """Observe all configured clusters and write what is seen to Kafka.

    Example: planewatch producers --config planewatch.yaml
    """
    share_arenas()
    stop = threading.Event()

    def terminate(number: int, _: FrameType | None) -> None:
        logger.info("stopping signal=%s", signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    observe(settings, stop)


def observe(settings: Settings, stop: threading.Event) -> None:
    """Run the whole stage until `stop` is set.

    Raises:
        ConfigError: the configuration gives nothing to do, or something that cannot be used.
        BrokerError: Kafka cannot take our records.
    """
    if not any(one.targets or one.logs or one.asks for one in settings.clusters):
        raise ConfigError([Problem("clusters", NOTHING_TO_DO)])
    clock = _clock(settings)
    telemetry = Telemetry(STAGE)
    port = _serve(settings, telemetry)
    broker, password = run.broker(settings), kafka_password(settings.kafka)
    topics = Topics(settings.kafka, broker, password)
    seen = partitions_seen(settings, broker)
    there = _await(topics, stop, seen)
    if stop.is_set():
        return
    sender = Sender(settings, broker, password, telemetry, partitions=None if there else seen)
    try:
        logger.info("kafka=%s partitions=%d", broker.bootstrap, sender.partitions())
        remember(settings, broker, sender.partitions())
        confirmation = None if there else Confirmation(topics, sender, stop)
        observed: Observation | Sharing
        if settings.producers.shared:
            kafka = client_settings(settings.kafka, broker.bootstrap, password)
            observed = Sharing(settings, sender, kafka=kafka, clock=clock, telemetry=telemetry)
        else:
            observed = Observation(settings, sender, clock=clock, telemetry=telemetry)
            telemetry.set(Metric.CLUSTERS, len(settings.clusters))
        logs = start_logs(settings, sender, clock, telemetry, stop)
        observed.start()
        url = f"http://{settings.telemetry.host}:{port}/metrics"
        run.announce(settings, run.PRODUCERS, telemetry_url=url)
        try:
            while not stop.wait(CHECK_S):
                sender.check()
                observed.check()
                logs.check()
                if confirmation:
                    confirmation.check()
        finally:
            stop.set()
            run.withdraw(settings, run.PRODUCERS)
            observed.stop()
            logs.join(LOGS_S)
            sender.flush(FLUSH_S)
    finally:
        stop.set()
        sender.close()


def _await(topics: Topics, stop: threading.Event, seen: int | None) -> bool:
    """Return whether Kafka is there, with all topics; without it only where they were seen before.

    Raises:
        BrokerError: it does not answer, or cannot take our records.
    """
    try:
        if not topics.wait(stop, timeout_s=TIMEOUT_S if seen is None else AWAY_S):
            return False
    except BrokerError as error:
        if seen is None:
            raise
        logger.error("observing into the spool, with partitions=%d as last seen: %s", seen, error)
        return False
    for name in topics.create_missing():
        logger.info("created topic=%s", name)
    return True


def _clock(settings: Settings) -> Clock:
    try:
        return Clock(settings.clock.file)
    except OSError as error:
        raise ConfigError([Problem("clock.file", f"cannot be used: {error}")]) from error


def _serve(settings: Settings, telemetry: Telemetry) -> int:
    host, port = settings.telemetry.host, settings.telemetry.producers_port
    try:
        return telemetry.serve(host, port)
    except OSError as error:
        problem = Problem("telemetry.producers_port", f"cannot listen on {host}:{port}: {error}")
        raise ConfigError([problem]) from error
