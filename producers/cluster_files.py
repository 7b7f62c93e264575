"""Keep what belongs to a cluster. In: what another owner handed over. Out: what we would hand over.

The rule this file owns: all that an observation remembers of a cluster is in one file a folder;
each part of it reads and writes its own, and here they are moved as they are.
"""

import logging
import uuid
from collections.abc import Mapping
from pathlib import Path

from producers.core.handover import SUFFIXES
from schemas.errors import ConfigError, Problem

logger = logging.getLogger(__name__)


class ClusterFiles:
    """The files of all clusters in one data folder; nobody else may use those that are moved."""

    def __init__(self, folder: Path) -> None:
        """Read the name of this data folder, which is made up once.

        Raises:
            ConfigError: the folder cannot be used.
        """
        self._folder = folder
        file = folder / "owner"
        try:
            if not file.exists():
                folder.mkdir(parents=True, exist_ok=True)
                file.write_text(uuid.uuid4().hex, encoding="utf-8")
            self.owner = file.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError([Problem("data", f"cannot be used: {error}")]) from error

    def read(self, cluster: str) -> dict[str, str]:
        """Return the text of the files of a cluster, by folder."""
        found = {}
        for folder, file in self._of(cluster).items():
            try:
                found[folder] = file.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                logger.warning("not handed over, unreadable file=%s error=%s", file, error)
        return found

    def adopt(self, cluster: str, files: Mapping[str, str]) -> None:
        """Put the files of another owner in place of ours.

        Raises:
            ConfigError: the folder cannot be written.
        """
        try:
            for folder, file in self._of(cluster).items():
                if folder in files:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(files[folder], encoding="utf-8")
                else:
                    file.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError([Problem("data", f"cannot be written: {error}")]) from error

    def _of(self, cluster: str) -> dict[str, Path]:
        return {
            folder: self._folder / folder / f"{cluster}{suffix}"
            for folder, suffix in SUFFIXES.items()
        }
