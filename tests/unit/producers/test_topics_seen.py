"""What was seen of Kafka is trusted for the same Kafka only."""

from pathlib import Path

import pytest

from producers.topics_seen import partitions_seen, remember
from schemas.run import Broker
from schemas.settings import KafkaSettings, Settings

BROKER = Broker("kafka-1:9092")


def settings(tmp_path: Path, prefix: str = "planewatch") -> Settings:
    return Settings(data=tmp_path, kafka=KafkaSettings(prefix=prefix))


def test_the_same_kafka_has_what_it_had(tmp_path: Path) -> None:
    assert partitions_seen(settings(tmp_path), BROKER) is None
    remember(settings(tmp_path), BROKER, 24)
    assert 24 == partitions_seen(settings(tmp_path), BROKER)


def test_another_kafka_or_prefix_is_not_known(tmp_path: Path) -> None:
    remember(settings(tmp_path), BROKER, 24)
    assert partitions_seen(settings(tmp_path), Broker("kafka-2:9092")) is None
    assert partitions_seen(settings(tmp_path, "other"), BROKER) is None


def test_an_embedded_broker_is_another_each_time(tmp_path: Path) -> None:
    embedded = Broker(BROKER.bootstrap, incarnation="x")
    remember(settings(tmp_path), embedded, 4)
    assert not list(tmp_path.rglob("*.json"))
    remember(settings(tmp_path), BROKER, 24)
    assert partitions_seen(settings(tmp_path), embedded) is None


@pytest.mark.parametrize("text", ["", "{}", '{"bootstrap": "kafka-1:9092"', "\\xff"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    remember(settings(tmp_path), BROKER, 24)
    (tmp_path / "producers" / "topics.json").write_text(text)
    assert partitions_seen(settings(tmp_path), BROKER) is None


def test_a_disk_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "producers").write_text("a file in the way")
    remember(settings(tmp_path), BROKER, 24)
