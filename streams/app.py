"""Make the Faust app in code. In: settings, the broker. Out: an app without topics of its own.

The rule this file owns: Faust declares no topic, elects no leader, serves no web and keeps nothing
on disk; a worker that comes back under its name has its partitions again at once.
"""

import socket
import ssl
from typing import Final

import faust
from faust.types.auth import CredentialsT

from schemas.errors import ConfigError, Problem
from schemas.run import Broker
from schemas.settings import KafkaSettings, Settings, Tls
from streams.consumer import ReplayingApp

RECORD_BYTES_MAX: Final = 2_000_000
"""Of the producer, before compression: above any record of ours."""

SESSION_S: Final = 10.0
EMBEDDED_SESSION_S: Final = 6.0
"""How long others wait for a worker that died; the embedded broker makes it wait for itself."""

QUEUE_RECORDS_MAX: Final = 64
"""Fetched and not handled, per topic; fetching pauses."""


def make_app(settings: Settings, broker: Broker, password: str | None) -> ReplayingApp:
    """Return the app of one worker; it must be made where its loop runs."""
    return ReplayingApp(
        f"{settings.kafka.prefix}-streams",
        broker=[f"kafka://{address}" for address in broker.bootstrap.split(",")],
        broker_credentials=credentials(settings.kafka, password),
        broker_session_timeout=EMBEDDED_SESSION_S if broker.embedded else SESSION_S,
        broker_heartbeat_interval=1.0,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        consumer_group_instance_id=None if broker.embedded else _instance_id(settings),
        producer_max_request_size=RECORD_BYTES_MAX,
        producer_compression_type="zstd",
        producer_acks=-1,
        stream_wait_empty=False,  # the worker itself waits for the record in hand
        stream_buffer_maxsize=QUEUE_RECORDS_MAX,
        store="memory://",
        datadir=str(settings.data / "streams"),
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        web_enabled=False,
        autodiscover=False,
    )


def _instance_id(settings: Settings) -> str:
    """The embedded broker knows no names: it would wait for the one that left."""
    return settings.streams.instance_id or socket.gethostname()


def credentials(kafka: KafkaSettings, password: str | None) -> CredentialsT | None:
    """Return how Faust is to prove who it is, and to whom; None for plain text.

    Raises:
        ConfigError: a file cannot be used.
    """
    context = _tls(kafka.tls) if kafka.tls else None
    if kafka.sasl:
        return faust.SASLCredentials(
            mechanism=kafka.sasl.mechanism,
            username=kafka.sasl.username,
            password=password,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None


def _tls(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
        if tls.cert_file and tls.key_file:
            context.load_cert_chain(str(tls.cert_file), str(tls.key_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([Problem("kafka.tls", f"cannot be used: {error}")]) from error
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
