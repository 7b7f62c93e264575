"""Ask running workers how their rules do. In: the indicator topic. Out: the newest word on each.

The rule this file owns: workers say it with every step of facts, so what was written in the last
LOOK_BACK_MS is enough; an older word is no news.
"""

import logging
from typing import Final

from schemas.clock import wall_ms
from schemas.errors import DecodeError
from schemas.settings import Settings
from schemas.topics import TopicName
from streams.core.ruleview import RuleView
from streams.reading import Reader

LOOK_BACK_MS: Final = 300_000

logger = logging.getLogger(__name__)


def newest_word(settings: Settings) -> RuleView:
    """Return what workers say now.

    Raises:
        ConfigError: there is no broker.
        BrokerError: it does not answer.
    """
    view = RuleView()
    reader = Reader(settings, TopicName.INDICATORS, since_ms=wall_ms() - LOOK_BACK_MS)
    try:
        for message in reader.until_now():
            try:
                view.take(message.key() or b"", message.value())
            except DecodeError as error:
                logger.warning(
                    "no result partition=%s offset=%s: %s",
                    *(message.partition(), message.offset(), error),
                )
    finally:
        reader.close()
    return view
