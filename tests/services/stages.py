"""Run the stages as a user does: real processes, one data folder, one configuration.

In: settings as a dictionary. Out: stages that can be started, waited for, stopped and killed. Rule:
a stage gets its settings by its file alone, and the environment of the test run stays outside.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas import run
from schemas.config import load
from schemas.settings import Settings
from tests.services import process

READY_S_MAX = 60.0
POLL_S = 0.05


class Stages:
    """The processes of one data folder."""

    def __init__(self, data: Path, tree: Mapping[str, Any]) -> None:
        """`tree`: the settings that differ from the defaults; ports are any free ones."""
        self.data = data
        data.mkdir(parents=True, exist_ok=True)
        self.config = data / "planewatch.yaml"
        ports = {"producers_port": 0, "streams_port": 0, "sinks_port": 0}
        base = {"data": str(data), "telemetry": ports, "console": {"port": 0}}
        self.config.write_text(json.dumps(base | dict(tree)))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def settings(self) -> Settings:
        """What the stages run with."""
        return load(self.config, environ={}).settings

    def start(self, stage: str, *, wait: bool = True, **environ: str) -> subprocess.Popen[bytes]:
        """Start producers, streams or sinks; by default return when it is ready."""
        command = [sys.executable, "-P", "-m", stage, "run", "--config", str(self.config)]
        started = process.start(command, log=self.log(stage), env=clean_environment() | environ)
        self._running[stage] = started
        if wait:
            self.wait_until_ready(stage)
        return started

    def wait_until_ready(self, stage: str) -> dict[str, Any]:
        """Return what the stage announced."""
        running = self._running[stage]
        end = time.monotonic() + READY_S_MAX
        while time.monotonic() < end:
            found = run.find(self.settings, stage)
            if found and found["pid"] == running.pid:
                return found
            if (code := running.poll()) is not None:
                raise AssertionError(f"{stage} ended with {code}: {self.tail(stage)}")
            time.sleep(POLL_S)
        raise AssertionError(f"{stage} was not ready after {READY_S_MAX} s: {self.tail(stage)}")

    def stop(self, stage: str) -> int:
        """End a stage as a service manager does; return its exit code."""
        return process.stop(self._running.pop(stage))

    def kill(self, stage: str) -> None:
        """End a stage as kill -9 does."""
        process.kill(self._running.pop(stage))

    def exit_code(self, stage: str) -> int | None:
        """Return how a stage ended; None while it runs."""
        return self._running[stage].poll()

    def close(self) -> None:
        """End what still runs, sources first."""
        for stage in sorted(self._running, key=[*self._running].index, reverse=True):
            self.kill(stage)

    def log(self, stage: str) -> Path:
        """What a stage printed, over all its starts."""
        return self.data / f"{stage}.log"

    def tail(self, stage: str) -> str:
        """The end of what a stage printed."""
        return self.log(stage).read_text(errors="replace")[-4_000:]


def clean_environment() -> dict[str, str]:
    """The environment without settings of planewatch and without what slows coverage down."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLANEWATCH_")}
