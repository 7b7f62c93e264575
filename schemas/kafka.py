"""Turn the configuration into values for Kafka clients. In: settings, an address. Out: librdkafka
settings, topic plans.

The rule this file owns: every producer is idempotent with acks=all and zstd, every consumer commits
by hand, and every topic is created from the registry with the same number of partitions.
"""

from dataclasses import dataclass
from typing import Final

from schemas.arrow import CHUNK_BYTES_MAX
from schemas.settings import KafkaSettings
from schemas.topics import HOUR_MS, Topic, TopicName, full_name, registry

EMBEDDED_PARTITIONS: Final = 4  # of librdkafka's mock cluster, which cannot be told otherwise
RECORD_BYTES_MAX: Final = 1_000_000  # librdkafka's default, checked before compression

assert CHUNK_BYTES_MAX < RECORD_BYTES_MAX

ClientSettings = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it must exist on the broker."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]


def client_settings(kafka: KafkaSettings, bootstrap: str, password: str | None) -> ClientSettings:
    """Return the settings that all librdkafka clients share: address, TLS, SASL."""
    settings: ClientSettings = {"bootstrap.servers": bootstrap}
    if kafka.tls or kafka.sasl:
        settings["security.protocol"] = {
            (True, False): "SSL",
            (False, True): "SASL_PLAINTEXT",
            (True, True): "SASL_SSL",
        }[kafka.tls is not None, kafka.sasl is not None]
    if kafka.tls:
        files = {
            "ssl.ca.location": kafka.tls.ca_file,
            "ssl.certificate.location": kafka.tls.cert_file,
            "ssl.key.location": kafka.tls.key_file,
        }
        settings |= {name: str(file) for name, file in files.items() if file}
        if kafka.tls.insecure_skip_verify:
            settings["enable.ssl.certificate.verification"] = False
    if kafka.sasl:
        settings |= {
            "sasl.mechanism": kafka.sasl.mechanism,
            "sasl.username": kafka.sasl.username,
            "sasl.password": password or "",
        }
    return settings


def producer_settings(base: ClientSettings, client_id: str, queue_bytes_max: int) -> ClientSettings:
    """Return the settings of a librdkafka producer: nothing is lost, nothing doubled, zstd."""
    return base | {
        "client.id": client_id,
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "zstd",
        "linger.ms": 20,
        "message.max.bytes": RECORD_BYTES_MAX,
        "queue.buffering.max.kbytes": max(1, queue_bytes_max // 1024),
        "delivery.timeout.ms": 120_000,
    }


def consumer_settings(base: ClientSettings, client_id: str, queue_bytes_max: int) -> ClientSettings:
    """Return the settings of a librdkafka consumer that keeps its own positions."""
    return base | {
        "client.id": client_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 100,
        "queued.max.messages.kbytes": max(1, queue_bytes_max // 1024),
    }


def topic_plans(kafka: KafkaSettings) -> list[TopicPlan]:
    """Return how every topic of the registry must exist."""
    return [
        TopicPlan(
            full_name(name, kafka.prefix), kafka.partitions, kafka.replication, _topic_config(topic)
        )
        for name, topic in registry().items()
    ]


def topic_names(kafka: KafkaSettings) -> dict[TopicName, str]:
    """Return the full name of every topic."""
    return {name: full_name(name, kafka.prefix) for name in TopicName}


def _topic_config(topic: Topic) -> dict[str, str]:
    retention = -1 if topic.retention_hours is None else topic.retention_hours * HOUR_MS
    config = {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(retention),
        "compression.type": "producer",
        "max.message.bytes": str(RECORD_BYTES_MAX + 100_000),  # headers and batch framing
    }
    if topic.cleanup == "compact":
        config["min.compaction.lag.ms"] = str(topic.compaction_lag_hours * HOUR_MS)
    return config
