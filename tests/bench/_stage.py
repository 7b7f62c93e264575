"""Feed records to the rule engine as a worker does, without Kafka. In: encoded scrapes. Out: what
each led to, and the CPU time of each step.

Rule: everything goes through `Shard.on_record`, with the rules that are shipped. Steps are timed
around the functions that the stage itself calls; the time of a step is CPU time of this process.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from schemas.topics import TopicName
from streams.core import shard
from streams.core.context import Context
from streams.core.evaluate import Evaluator
from streams.core.hearing import Now
from streams.core.outputs import Outputs
from streams.core.rules.files import AlertingRule, RuleSet, load_rules
from streams.core.rules.overrides import RuleSets
from streams.core.state import INPUTS
from streams.rulefiles import shipped_files

REWIND_MS = 660_000
CLUSTERS_MAX = 10_000
STEPS: dict[str, tuple[Any, str]] = {
    "decode": (shard, "decode_scrape"),
    "update": (Evaluator, "accept"),
    "aligned evaluation": (Evaluator, "evaluate_records"),
    "live evaluation": (Evaluator, "evaluate_alerts"),
}
REST = "time, alert states, what is saved"


class Stage:
    """The only partition of a worker."""

    def __init__(self, rules: RuleSet | None = None) -> None:
        self.rules = rules or shipped()
        self.shard = shard.Shard(
            0, 1, Context(RuleSets(self.rules), REWIND_MS), clusters_max=CLUSTERS_MAX
        )
        zeros = dict.fromkeys(INPUTS, 0)
        self.shard.begin(zeros, zeros, zeros)
        self._next = 0

    def take(self, value: bytes, t_ms: int) -> Outputs:
        """Take one record of scrapes, heard at `t_ms`."""
        result = self.shard.on_record(TopicName.SCRAPES, self._next, value, Now(t_ms, t_ms))
        self._next += 1
        return result.outputs if result else Outputs()


def shipped() -> RuleSet:
    """Return the rules that we ship."""
    return load_rules(shipped_files())


def described(rules: RuleSet) -> str:
    """Return how many rules there are."""
    every = [rule for group in rules.groups for rule in group.rules]
    alerts = sum(isinstance(rule, AlertingRule) for rule in every)
    return f"{len(every)} rules ({alerts} alerts, {len(every) - alerts} records)"


@contextmanager
def replaced(owner: Any, name: str, by: Callable[..., Any]) -> Iterator[None]:
    """Put a function in the place of another for a while."""
    before = getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def steps() -> Iterator[dict[str, float]]:
    """Time the steps of the stage; yields the CPU seconds of each so far."""
    spent = dict.fromkeys(STEPS, 0.0)
    with ExitStack() as stack:
        for step, (owner, name) in STEPS.items():
            timed = _timed(step, getattr(owner, name), spent)
            stack.enter_context(replaced(owner, name, timed))
        yield spent


def _timed(step: str, run: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return run(*args, **kwargs)
        finally:
            spent[step] += time.process_time() - began

    return timed
