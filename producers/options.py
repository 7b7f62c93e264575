"""Options that all verbs of the producers share. In: flags. Out: settings.

The rule this file owns: every verb takes --config and --data, and reads the configuration once.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from schemas import config


def configured(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb --config and --data, and the settings as its first argument."""

    @click.option("--config", "file", type=click.Path(path_type=Path), help="configuration file")
    @click.option("--data", type=click.Path(path_type=Path), help="folder of run files and state")
    @wraps(verb)
    def read(file: Path | None, data: Path | None, **options: Any) -> None:
        flags: dict[str, Any] = {"data": str(data)} if data else {}
        verb(config.load(file, flags=flags).settings, **options)

    return read
