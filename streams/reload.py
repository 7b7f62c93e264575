"""Take rule files that changed while we run. In: the files of `rules.paths`. Out: other rules in
force, or why the old ones stay.

The rules this file owns:
- Files are looked at every CHECK_S seconds and taken when they look the same twice: half a file
  that is still being written is none.
- Where anything is wrong with the new ones, all of the old ones stay in force. That is logged once,
  and a metric tells it for as long as it is so.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from schemas.errors import ConfigError
from schemas.metrics import Metric
from schemas.settings import Settings
from schemas.telemetry import Telemetry
from streams.core.rules.files import RuleErrors
from streams.core.rules.overrides import RuleSets
from streams.rulefiles import read_files, rule_sets

CHECK_S: Final = 2.0

Texts = Mapping[str, str]
"""Rule files by path."""

logger = logging.getLogger(__name__)


class Reload:
    """Watches the rule files of a worker."""

    def __init__(
        self,
        settings: Settings,
        rules: RuleSets,
        apply: Callable[[RuleSets], Awaitable[None]],
        telemetry: Telemetry,
    ) -> None:
        """apply: puts other rules in force."""
        self._settings, self._apply, self._telemetry = settings, apply, telemetry
        self._hash = rules.loaded.hash  # of what is in force
        self._seen: Texts | str = ""  # at the last look; a text: why they could not be read
        # What we decided about last; the start read the files, but perhaps other texts of them.
        self._judged: Texts | str | None = None if settings.rules.paths else {}
        telemetry.set(Metric.RULE_PROBLEMS, 0)

    async def run(self) -> None:
        """Look again and again.

        Raises:
            BrokerError: Kafka fails as other rules are put in force; a start takes them, too.
        """
        while True:
            await asyncio.sleep(CHECK_S)
            await self.look()

    async def look(self) -> None:
        """Look at the files once; what has changed and settled is put in force."""
        found = await asyncio.to_thread(self._read)
        settled, self._seen = found == self._seen, found
        if not settled or found == self._judged:
            return
        self._judged = found
        if isinstance(found, str):
            self._refuse(found, 1)
            return
        try:
            rules = await asyncio.to_thread(self._compiled, found)
        except RuleErrors as error:
            self._refuse(str(error), len(error.errors))
        except ConfigError as error:
            self._refuse(str(error), len(error.problems))
        else:
            await self._use(rules)

    def _read(self) -> Texts | str:
        try:
            return read_files(self._settings.rules.paths)
        except ConfigError as error:
            return str(error)

    def _compiled(self, texts: Texts) -> RuleSets:
        """Return the rules, those of the configured clusters made: it takes a while."""
        rules = rule_sets(self._settings, texts)
        for cluster in self._settings.clusters:
            rules.of(cluster.id)
        return rules

    async def _use(self, rules: RuleSets) -> None:
        self._telemetry.set(Metric.RULE_PROBLEMS, 0)
        if rules.loaded.hash == self._hash:
            return  # as they were, or but for remarks
        groups = len(rules.loaded.groups)
        logger.info("rule files changed rules=%s groups=%d", rules.loaded.hash, groups)
        await self._apply(rules)
        self._hash = rules.loaded.hash
        self._telemetry.count(Metric.RULE_RELOADS, outcome="applied")

    def _refuse(self, why: str, problems: int) -> None:
        logger.error("changed rule files are not used, the rules stay as they were:\n%s", why)
        self._telemetry.set(Metric.RULE_PROBLEMS, problems)
        self._telemetry.count(Metric.RULE_RELOADS, outcome="refused")
