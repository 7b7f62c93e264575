"""What the commands of all stages share. In: arguments. Out: settings for a verb, an exit code.

The rule this file owns: every verb takes --config and --data and reads the configuration once;
0 is good, 1 a finding or a failure in one clear line, 2 wrong usage or configuration.
"""

import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from schemas import config
from schemas.errors import ConfigError, PlanewatchError

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Verbs(click.Group):
    """A group whose commands are imported when they are used: a query needs no web server."""

    def __init__(self, verbs: Mapping[str, str], **options: Any) -> None:
        """`verbs`: name -> "module:command"."""
        super().__init__(**options)
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one verb."""
        if cmd_name not in self._verbs:
            return None
        module, _, name = self._verbs[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise AssertionError(f"{self._verbs[cmd_name]} is no command")
        return command


def configured(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb --config and --data, and the settings as its first argument."""
    path = click.Path(path_type=Path)

    @click.option("--config", "file", type=path, help="default: planewatch.yaml, where it exists")
    @click.option("--data", type=path, help="default: planewatch-data")
    @click.option("--while-stdin", is_flag=True, hidden=True, help="end when stdin closes")
    @wraps(verb)
    def read(file: Path | None, data: Path | None, while_stdin: bool, **options: Any) -> None:
        if while_stdin:
            threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
        flags: dict[str, Any] = {"data": str(data)} if data else {}
        verb(config.load(file, flags=flags).settings, **options)

    return read


def _end_with_stdin() -> None:
    """`planewatch up` holds the other end: when it is gone, however it went, so are we."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def run_verb(stage: str, cli: click.Command) -> None:
    """Be the process of a stage's verb: log to stderr, end with the exit code of what happened."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        cli(prog_name=stage)
    except ConfigError as error:
        click.echo(error, err=True)
        sys.exit(2)
    except PlanewatchError as error:
        click.echo(f"{stage}: {error}", err=True)
        sys.exit(1)
