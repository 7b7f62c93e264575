"""Remember the topics of Kafka across restarts. In: how many partitions they have. Out: a file,
`<data>/producers/topics.json`.

The rule this file owns: what was seen under the same address and prefix is trusted while Kafka is
away, so that a restart then observes at once, into the spool. Topics never change their number of
partitions; whether they are the same is asked again as soon as Kafka answers. An embedded broker
ends with its process, so nothing is remembered of it.
"""

import logging
import threading
from pathlib import Path
from typing import Final

import msgspec

from producers.sending import Sender
from producers.supervised import Supervised
from producers.topics import Topics
from schemas.errors import BrokerError
from schemas.run import Broker
from schemas.settings import Settings

ASK_S: Final = 60.0  # of one round; it ends as soon as Kafka answers

logger = logging.getLogger(__name__)


class _File(msgspec.Struct, frozen=True):
    bootstrap: str
    prefix: str
    partitions: int


def partitions_seen(settings: Settings, broker: Broker) -> int | None:
    """Return how many partitions each topic had when Kafka was last there; None: nobody knows."""
    try:
        seen = msgspec.json.decode(_path(settings).read_bytes(), type=_File)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("nothing is known of the topics, unreadable file: %s", error)
        return None
    same = (seen.bootstrap, seen.prefix) == (broker.bootstrap, settings.kafka.prefix)
    return seen.partitions if same and seen.partitions > 0 and not broker.embedded else None


def remember(settings: Settings, broker: Broker, partitions: int) -> None:
    """Take note of what Kafka has; a full disk must not end the stage."""
    if broker.embedded:
        return
    seen = _File(broker.bootstrap, settings.kafka.prefix, partitions)
    try:
        _path(settings).parent.mkdir(parents=True, exist_ok=True)
        _path(settings).write_bytes(msgspec.json.encode(seen))
    except OSError as error:
        logger.error("topics not remembered error=%s", error)


class Confirmation:
    """Asks Kafka, once it answers, whether its topics are as they were remembered."""

    def __init__(self, topics: Topics, sender: Sender, stop: threading.Event) -> None:
        self._topics, self._sender, self._stop = topics, sender, stop
        self._done = threading.Event()
        self._thread = Supervised("topics-confirmation", self._ask, self._done)
        self._thread.start()

    def check(self) -> None:
        """Raise BrokerError if they are not."""
        self._thread.check()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                if not self._topics.wait(self._stop, timeout_s=ASK_S):
                    return
            except BrokerError:
                continue
            for name in self._topics.create_missing():
                logger.info("created topic=%s", name)
            self._sender.confirm_partitions()
            logger.info("kafka is there again")
            self._done.set()
            return


def _path(settings: Settings) -> Path:
    return settings.data / "producers" / "topics.json"
