"""Run files: found while their process lives, and never mistaken for another's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas import run
from schemas.errors import ConfigError
from schemas.settings import KafkaSettings, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


def test_what_is_announced_is_found_until_it_is_withdrawn(settings: Settings) -> None:
    run.announce(settings, run.FRONT, url="http://127.0.0.1:1/", token="secret")
    found = run.find(settings, run.FRONT)
    assert found is not None
    assert (os.getpid(), "secret") == (found["pid"], found["token"])
    run.withdraw(settings, run.FRONT)
    assert run.find(settings, run.FRONT) is None


def test_a_run_file_is_for_its_owner_only(settings: Settings) -> None:
    run.announce(settings, run.FRONT, token="secret")
    assert 0o600 == (settings.run / "front.json").stat().st_mode & 0o777


def test_the_file_of_a_dead_process_counts_as_absent(settings: Settings) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write(settings, pid=ended.pid, started="1")
    assert run.find(settings, run.SINKS) is None


def test_another_process_with_the_number_of_a_dead_one_is_not_it(settings: Settings) -> None:
    write(settings, pid=os.getpid(), started="1")  # as pid 1 of a container finds its own
    assert run.find(settings, run.SINKS) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": "x"}', "{}"])
def test_a_broken_file_counts_as_absent(settings: Settings, text: str) -> None:
    settings.run.mkdir(parents=True)
    (settings.run / "sinks.json").write_text(text)
    assert run.find(settings, run.SINKS) is None


def test_a_configured_broker_wins_and_none_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="planewatch up"):
        run.broker(settings)
    run.announce(settings, run.BROKER, bootstrap="127.0.0.1:1", incarnation="a")
    assert run.broker(settings).embedded
    configured = Settings(data=settings.data, kafka=KafkaSettings(bootstrap="kafka:9092"))
    assert run.Broker("kafka:9092") == run.broker(configured)


def write(settings: Settings, **facts: object) -> None:
    settings.run.mkdir(parents=True, exist_ok=True)
    (settings.run / "sinks.json").write_text(json.dumps(facts))
