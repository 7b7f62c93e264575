"""Play a control plane on loopback. In: a scenario. Out: HTTP servers, a log file, a clock, until
SIGTERM.

The rule this file owns: what a rehearsal needs of the machine lies in `<data>/rehearsal/` and
`<data>/run/`, and `up` learns all of it from the run file. A story with its own clock begins so far
in the past that it ends at the present; never before the end of an earlier story in this folder,
for event time does not go back. At the present, and while readers are behind, its clock is as fast
as ours.
"""

import asyncio
import json
import logging
import signal
import socket
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
import uvicorn
from starlette.applications import Starlette

from producers.rehearsal.api import apiserver_app, etcd_app
from producers.rehearsal.model import World
from producers.rehearsal.pace import Readers, behind
from producers.rehearsal.story import SERVERS, STORIES, Story
from schemas import run
from schemas.clock import Clock, ClockWriter, wall_ms
from schemas.command import configured
from schemas.errors import ConfigError, PlanewatchError
from schemas.kafka import client_settings
from schemas.settings import Settings

CLUSTER: Final = "rehearsal"
INTERVAL_S: Final = 5.0
STEP_S: Final = 0.25  # wall time between two looks at the clock
LOG_BYTES_MAX: Final = 10_000_000  # then the file is rotated, as logrotate does it

logger = logging.getLogger(__name__)


@click.command("rehearse", short_help="play a control plane on loopback")
@configured
@click.option("--scenario", type=click.Choice(sorted(STORIES)), default="calm", show_default=True)
def rehearse_command(settings: Settings, scenario: str) -> None:
    """Play two API servers and an etcd member on loopback, until terminated.

    Example: python -m producers rehearse --scenario list-storm --data planewatch-data
    """
    stop = threading.Event()

    def terminate(number: int, _: FrameType | None) -> None:
        logger.info("stopping signal=%s", signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    rehearsal = Rehearsal(settings, STORIES[scenario])
    rehearsal.start()
    run.announce(settings, run.REHEARSAL, **rehearsal.facts())
    click.echo(f"rehearsing {scenario}: cluster {CLUSTER}, {', '.join(rehearsal.urls)}")
    try:
        while not stop.wait(STEP_S):
            rehearsal.step()
    finally:
        run.withdraw(settings, run.REHEARSAL)
        rehearsal.stop()


class Rehearsal:
    """The servers, the log file and the clock of one story."""

    def __init__(self, settings: Settings, told: Story) -> None:
        self._folder = settings.data.absolute() / "rehearsal"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log = self._folder / "etcd.log"
        self._until = self._folder / "until-ms"
        self._clock_file: Path | None = None
        self._writer: ClockWriter | None = None
        origin_ms = self._origin_ms(told)
        if told.has_own_clock:
            self._clock_file = settings.run.absolute() / "clock"
            self._writer = ClockWriter(self._clock_file, event_ms=origin_ms, speed=told.speed)
        self._clock = Clock(self._clock_file)
        self._told = told
        self._readers = _readers(settings) if told.has_own_clock else None
        self._behind = False
        self._world = World(told, origin_ms)
        self._logged_ms = origin_ms
        self._servers = [
            *(_Server(apiserver_app(self._world, n, self._clock)) for n in range(SERVERS)),
            _Server(etcd_app(self._world, self._clock)),
        ]
        self.urls = [server.url for server in self._servers]
        self._thread = threading.Thread(target=self._serve, name="rehearsal-http", daemon=True)

    def start(self) -> None:
        """Begin to answer: the sockets listen already, so nobody is refused."""
        self._thread.start()
        self.step()

    def step(self) -> None:
        """Write what etcd logged meanwhile, and mind the clock.

        Raises:
            PlanewatchError: the servers have ended.
        """
        if not self._thread.is_alive():
            raise PlanewatchError("the HTTP servers of the rehearsal have ended")
        now_ms = self._clock.now_ms()
        lines = self._world.log(self._logged_ms, now_ms)
        self._logged_ms = now_ms
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as file:
            file.writelines(lines)
        self._until.write_text(str(now_ms))
        if self._writer:
            self._mind(self._writer, now_ms)

    def _mind(self, writer: ClockWriter, now_ms: int) -> None:
        """Set the speed of the clock: 1 at the present and for good, 1 while readers are behind."""
        if now_ms >= wall_ms():
            writer.set_speed(1.0)
            self._writer = None
            logger.info("story=%s has reached the present, its clock runs as ours", self._told.name)
            return
        lag = self._readers.lag() if self._readers else 0
        if behind(lag, before=self._behind) != self._behind:
            self._behind = not self._behind
            writer.set_speed(1.0 if self._behind else self._told.speed)
            logger.info("clock speed=%g readers_behind_records=%d", self._clock.speed, lag)

    def stop(self) -> None:
        """End the servers; open watches are cut."""
        for server in self._servers:
            server.should_exit = True
        self._thread.join()
        if self._readers:
            self._readers.close()

    def facts(self) -> run.Facts:
        """Return what `up` must know to configure the stages."""
        kubeconfig = self._folder / "kubeconfig.json"  # JSON is YAML
        kubeconfig.write_text(json.dumps(_kubeconfig(self.urls[0])))
        names = [("apiserver", f"apiserver-{n + 1}") for n in range(SERVERS)] + [("etcd", "etcd-1")]
        targets = [
            {"job": job, "instance": instance, "url": f"{url}/metrics", "interval_s": INTERVAL_S}
            for (job, instance), url in zip(names, self.urls, strict=True)
        ]
        cluster = {
            "id": CLUSTER,
            "name": f"rehearsal of {self._told.name}",
            "labels": {"environment": "rehearsal"},
            "targets": targets,
            "logs": [{"job": "etcd", "instance": "etcd-1", "path": str(self._log)}],
            "kubeconfig": str(kubeconfig),
        }
        return {
            "scenario": self._told.name,
            "clusters": [cluster],
            "clock_file": str(self._clock_file) if self._clock_file else None,
            "story_from_ms": self._world.origin_ms,
            "story_until_ms": self._world.ends_ms(),
        }

    def _origin_ms(self, told: Story) -> int:
        """When the story begins: it ends now + the wall time that it takes."""
        origin_ms = wall_ms() - int(1000 * told.length_s * (told.speed - 1) / told.speed)
        return max(origin_ms, _read_ms(self._until) + 1)

    def _serve(self) -> None:
        async def all_of_them() -> None:
            await asyncio.gather(*(server.run_here() for server in self._servers))

        asyncio.run(all_of_them())


class _Server(uvicorn.Server):
    """One HTTP server on a free port of loopback."""

    def __init__(self, app: Starlette) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)

    async def run_here(self) -> None:
        """Serve until `should_exit` is set."""
        await self.serve(sockets=[self._socket])


def _readers(settings: Settings) -> Readers | None:
    """Those who read from the embedded broker; a real one keeps what they have not read yet."""
    try:
        broker = run.broker(settings)
    except ConfigError:
        return None
    if not broker.embedded:
        return None
    client = client_settings(settings.kafka, broker.bootstrap, None)
    return Readers(settings.kafka, client, CLUSTER)


def _read_ms(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CLUSTER, "cluster": {"server": url}}],
        "users": [{"name": CLUSTER, "user": {}}],
        "contexts": [{"name": CLUSTER, "context": {"cluster": CLUSTER, "user": CLUSTER}}],
        "current-context": CLUSTER,
    }
