"""The command. In: a verb. Out: the process of the stage that owns it, or, for `up`, all of them.

The rule this file owns: stages are processes. It imports `schemas` only, maps each verb to a stage,
and for `up` starts an embedded broker, a rehearsal and the three stages as children that end with
it.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import click
from rich.console import Console
from rich.status import Status

from schemas import config, run
from schemas.clock import Clock
from schemas.errors import ConfigError, PlanewatchError, Problem
from schemas.kafka import EMBEDDED_PARTITIONS
from schemas.settings import Settings

READY_S_MAX: Final = 90.0
STOP_S_MAX: Final = 10.0
LOG_LINES_SHOWN: Final = 15
SCENARIOS: Final = ("calm", "list-storm")
UP: Final = "up"  # the run file of `up` itself

out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


# --- verbs that a stage owns ---------------------------------------------------------------------

STAGE_VERBS: Final = {
    # verb: (package, its verb, help)
    "producers": ("producers", "run", "Run the stage that reads clusters and writes to Kafka."),
    "streams": ("streams", "run", "Run the stage that turns records into indicators and alerts."),
    "sinks": ("sinks", "run", "Run the stage that stores rows and serves the console."),
    "topics": (
        "producers",
        "topics",
        "Compare the topics of the broker with the plan; create them.",
    ),
    "targets": ("producers", "targets", "Take targets over from a configuration of Prometheus."),
    "rules": ("streams", "rules", "Check, test, list and import rule files."),
    "alerts": ("streams", "alerts", "Show the newest state of each alert, or follow the topic."),
    "query": ("sinks", "query", "Ask the tables by a named query or by read-only SQL."),
    "verify": ("sinks", "verify", "Prove from the tables that no scrape was lost or doubled."),
    "migrate": ("sinks", "migrate", "Bring the tables to this release."),
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="planewatch")
def main() -> None:
    """Watch the control planes of Kubernetes clusters as a stream.

    \b
    Example: see it work, then ask it something
      planewatch up --rehearse list-storm
      planewatch alerts --follow
      planewatch query --sql "SELECT metric, count() FROM indicators GROUP BY 1"
    """


def _dispatch(package: str, verb: str, text: str) -> click.Command:
    """A command that becomes the process of its stage; the stage reads the arguments."""

    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def become(arguments: Sequence[str]) -> None:
        os.execv(sys.executable, stage_command(package, verb, *arguments))  # noqa: S606 no shell

    settings = {"ignore_unknown_options": True, "help_option_names": []}
    return click.command(help=text, context_settings=settings, add_help_option=False)(become)


def stage_command(package: str, verb: str, *arguments: str) -> list[str]:
    """Return the command line of a stage's verb; -P keeps the working folder off the path."""
    return [sys.executable, "-P", "-m", package, verb, *arguments]


for _name, (_package, _verb, _text) in STAGE_VERBS.items():
    main.add_command(_dispatch(_package, _verb, _text), _name)


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options that all verbs take."""
    file = click.Path(dir_okay=False, path_type=Path)
    folder = click.Path(file_okay=False, path_type=Path)
    command = click.option("--config", "file", type=file, help="Default: planewatch.yaml")(command)
    return click.option("--data", type=folder, help="Default: planewatch-data")(command)


def _load(file: Path | None, data: Path | None) -> config.Loaded:
    try:
        return config.load(file, flags={"data": str(data)} if data else None)
    except ConfigError as error:
        _refuse(error)


def _refuse(error: ConfigError) -> NoReturn:
    for problem in error.problems:
        err.print(f"configuration: {problem}", style="red")
    sys.exit(2)


@main.command("config")
@common
def show_config(file: Path | None, data: Path | None) -> None:
    """Print every setting that is in effect, and where it came from.

    \b
    Example: planewatch config --config planewatch.yaml
    """
    for path, value, origin in config.effective(_load(file, data)):
        click.echo(f"{path} = {value}  ({origin})")


# --- up ------------------------------------------------------------------------------------------


@main.command()
@common
@click.option("--rehearse", type=click.Choice(SCENARIOS), help="Play a control plane in trouble.")
def up(file: Path | None, data: Path | None, rehearse: str | None) -> None:
    """Run everything on this machine, with an embedded broker and ClickHouse.

    Without configured clusters it rehearses: a small control plane that it plays itself.

    \b
    Example: planewatch up --rehearse list-storm
    """
    sys.exit(Supervisor(_load(file, data).settings, rehearse, to_the_end=False).supervise())


@main.command()
@common
@click.argument("scenario", type=click.Choice(SCENARIOS))
def rehearse(file: Path | None, data: Path | None, scenario: str) -> None:
    """Play a scenario as `up --rehearse` does, and stop when its story ends; calm has no end.

    \b
    Example: planewatch rehearse list-storm
    """
    sys.exit(Supervisor(_load(file, data).settings, scenario, to_the_end=True).supervise())


@dataclass(frozen=True, slots=True)
class Child:
    """A running child process: its name, which is also its run file's, and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Stop(Exception):
    """Somebody asked to stop."""


class ChildEnded(PlanewatchError):
    """A child ended by itself; `code` is its exit code."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


class Supervisor:
    """Starts the children in order, waits until each is ready, and stops them in reverse."""

    def __init__(self, settings: Settings, scenario: str | None, *, to_the_end: bool) -> None:
        data = settings.data.absolute()
        self._settings = settings.model_copy(update={"data": data})
        self._scenario = scenario or (None if settings.clusters else "calm")
        self._rehearses = scenario is not None
        self._to_the_end = to_the_end
        self._asked_to_stop = False
        self._children: list[Child] = []

    def supervise(self) -> int:
        """Run until somebody stops it or a child ends; return the exit code."""
        started = time.monotonic()
        try:
            _on_signals(self._ask_to_stop)
            self._refuse_to_mix()
            self._refuse_a_second()
            run.announce(self._settings, UP)
            with out.status("starting") as status:
                settings = self._start(status)
            url = self._facts(run.SINKS)["console_url"]
            took = time.monotonic() - started
            out.print(f"planewatch is ready after {took:.1f} s: {url} (Ctrl-C stops it)")
            self._watch(settings)
        except Stop:
            pass
        except ConfigError as error:
            _refuse(error)
        except (PlanewatchError, OSError) as error:
            err.print(f"error: {error}", style="red")
            wrong_use = isinstance(error, ChildEnded) and error.code == 2
            return 2 if wrong_use else 1
        finally:
            self._stop()
        return 0

    def _start(self, status: Status) -> Settings:
        """Start what is configured; return the settings that the stages got."""
        _write_config(self._settings)
        if self._settings.kafka.bootstrap is None:
            self._begin(run.BROKER, "producers", "broker")
            self._await([run.BROKER], status)
        if self._scenario:
            self._begin(run.REHEARSAL, "producers", "rehearse", "--scenario", self._scenario)
            self._await([run.REHEARSAL], status)
        settings = self._for_stages()
        _write_config(settings)
        for stage in (run.SINKS, run.STREAMS, run.PRODUCERS):
            self._begin(stage, stage, "run")
        self._await([run.SINKS, run.STREAMS, run.PRODUCERS], status)
        return settings

    def _for_stages(self) -> Settings:
        """The given settings, with the rehearsal's cluster and clock, and ports that are free."""
        tree = self._settings.model_dump(mode="json")
        if self._scenario:
            tree |= rehearsed(tree, self._facts(run.REHEARSAL))
        if self._settings.kafka.bootstrap is None:
            tree["kafka"] |= {"partitions": EMBEDDED_PARTITIONS, "replication": 1}
        tree["console"]["port"] = _free_port(tree["console"]["port"])
        for stage in (run.PRODUCERS, run.STREAMS, run.SINKS):
            port = f"{stage}_port"
            tree["telemetry"][port] = _free_port(tree["telemetry"][port])
        return Settings.model_validate(tree)

    def _begin(self, name: str, package: str, verb: str, *options: str) -> None:
        """Start a child that ends with us: its stdin closes when we are gone, however we went."""
        file = _config_file(self._settings)
        log = self._settings.run / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as printed:
            process = subprocess.Popen(  # noqa: S603 our own program
                stage_command(package, verb, "--config", str(file), "--while-stdin", *options),
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=printed,
                env=config.without_settings(),  # what they say is in the file already
                start_new_session=True,  # the terminal's Ctrl-C reaches us alone
            )
        self._children.append(Child(name, process, log))

    def _await(self, names: Sequence[str], status: Status) -> None:
        """Wait until each child has announced itself."""
        pids = {child.name: child.process.pid for child in self._children}
        end = time.monotonic() + READY_S_MAX
        waiting = list(names)
        while waiting:
            text = f"starting: waiting for {', '.join(waiting)}"
            status.update(text)
            self._check()
            if time.monotonic() > end:
                raise PlanewatchError(
                    f"{waiting[0]} is not ready after {READY_S_MAX:.0f} s{self._tail(waiting[0])}"
                )
            time.sleep(0.05)
            waiting = [
                n for n in waiting if (run.find(self._settings, n) or {}).get("pid") != pids[n]
            ]
        if not out.is_terminal:
            out.print(f"ready: {', '.join(names)}")

    def _watch(self, settings: Settings) -> None:
        """Show what flows until a child ends, or, for `rehearse`, the story does."""
        clock = Clock(settings.clock.file)
        until_ms = self._facts(run.REHEARSAL).get("story_until_ms") if self._to_the_end else None
        with out.status("") if out.is_terminal else contextlib.nullcontext() as status:
            while until_ms is None or clock.now_ms() < until_ms:
                self._check()
                if status:
                    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(clock.now_ms() / 1000))
                    fast = clock.speed > 1
                    speed = f", {clock.speed:g} times as fast as the wall clock" if fast else ""
                    status.update(f"watching; event time {now} UTC{speed}")
                time.sleep(0.5)

    def _check(self) -> None:
        """Raise where somebody asked to stop, or a child has ended."""
        if self._asked_to_stop:
            raise Stop
        for child in self._children:
            if (code := child.process.poll()) is not None:
                tail = self._tail(child.name)
                raise ChildEnded(f"{child.name} ended with code {code}{tail}", code)

    def _tail(self, name: str) -> str:
        log = next(child.log for child in self._children if child.name == name)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return "".join(f"\n  | {line}" for line in [*lines, f"({log})"])

    def _facts(self, name: str) -> run.Facts:
        facts = run.find(self._settings, name)
        if facts is None:
            raise PlanewatchError(f"{name} is gone{self._tail(name)}")
        return facts

    def _refuse_to_mix(self) -> None:
        """A rehearsal has a clock and a cluster of its own: it must not touch real ones."""
        given = self._settings
        real = [
            Problem(path, "a rehearsal does not mix with it: --config /dev/null --data FOLDER")
            for path, value in (
                ("clusters", given.clusters),
                ("kafka.bootstrap", given.kafka.bootstrap),
                ("clickhouse.dsn", given.clickhouse.dsn),
            )
            if value
        ]
        if self._rehearses and real:
            raise ConfigError(real)

    def _refuse_a_second(self) -> None:
        for name in (UP, run.SINKS, run.STREAMS, run.PRODUCERS, run.BROKER, run.REHEARSAL):
            if found := run.find(self._settings, name):
                raise PlanewatchError(
                    f"{name} (process {found['pid']}) already runs on {self._settings.data}: "
                    "stop it, or take another folder with --data"
                )

    def _stop(self) -> None:
        """Stop the children: sources first, so that what was observed still flows through."""
        _on_signals(self._kill)
        order = [run.PRODUCERS, run.REHEARSAL, run.STREAMS, run.SINKS, run.BROKER]
        for child in sorted(self._children, key=lambda one: order.index(one.name)):
            child.process.terminate()
            try:
                child.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                err.print(f"{child.name} does not stop within {STOP_S_MAX:.0f} s; killed")
                child.process.kill()
                child.process.wait()
        run.withdraw(self._settings, UP)

    def _kill(self) -> None:
        """Asked twice: do not wait."""
        for child in self._children:
            child.process.kill()

    def _ask_to_stop(self) -> None:
        self._asked_to_stop = True


def _on_signals(act: Callable[[], None]) -> None:
    """Act on Ctrl-C, on a service manager's word, and on a terminal that closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: act())


def _config_file(settings: Settings) -> Path:
    return settings.run / "planewatch.yaml"


def rehearsed(tree: config.Tree, facts: run.Facts) -> config.Tree:
    """Return what is different of settings when the only cluster is the one that is rehearsed.

    Overrides of rules by cluster labels were meant for clusters that are not here.
    """
    overrides = [one for one in tree["rules"]["overrides"] if not one["cluster_labels"]]
    return {
        "clusters": facts["clusters"],
        "clock": {"file": facts.get("clock_file")},
        "rules": tree["rules"] | {"overrides": overrides},
    }


def _write_config(settings: Settings) -> None:
    """Leave the configuration of the children beside their run files, for its owner only."""
    file = _config_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(json.dumps(settings.model_dump(mode="json"), indent=1))  # JSON is YAML


def _free_port(port: int) -> int:
    """Return `port` where it is free, else 0, which takes any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


if __name__ == "__main__":
    main()
