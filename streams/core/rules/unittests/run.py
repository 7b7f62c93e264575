"""Run a file of rule tests. In: the file and the texts of its rule files. Out: everything that is
not as it should be.

The rule this file owns: a rule that cannot be used here is a failure of the file, and all others
are tested; a story whose rules fail while they run ends there, as in promtool.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress
from typing import Final, TypeVar

from schemas.errors import RuleError
from streams.core.promql.labels import NAME
from streams.core.promql.nodes import Node
from streams.core.promql.vector import EvaluationError
from streams.core.rules.entries import Problems
from streams.core.rules.files import RuleSet, read_groups
from streams.core.rules.model import Group, RecordingRule
from streams.core.rules.program import compile_rules
from streams.core.rules.unittests.compare import alerts_differ, duration_text, samples_differ
from streams.core.rules.unittests.feed import Feed, Given
from streams.core.rules.unittests.idle import ALERTS
from streams.core.rules.unittests.model import AlertCheck, ExprCheck, Sample, Story, TestFile
from streams.core.rules.unittests.story import StoryEvaluator, in_order

EXPRESSIONS: Final = "promql_expr_test"
STEPS_MAX: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that is not as a file says."""

    story: str  # "" where it is about the file
    what: str  # alertname: X, expr: Y, rule: Z
    why: str
    t_ms: int | None = None

    def __str__(self) -> str:
        lines = [f"name: {self.story}"] if self.story else []
        at = f", time: {duration_text(self.t_ms)}" if self.t_ms is not None else ""
        if self.what:
            lines.append(f"{self.what}{at}")
        lines += [f"    {line}" if self.what else line for line in self.why.split("\n")]
        return "\n".join(f"    {line}" for line in lines)


class RateSemantics(StrEnum):
    """How `rate` and `increase` count."""

    LINEAR = "linear"  # as a worker does by default: a counter is linear between two scrapes
    PROMETHEUS = "prometheus"  # extrapolated, as the numbers in people's tests are


def run_file(
    test: TestFile, rule_files: Mapping[str, str], semantics: RateSemantics
) -> list[Failure]:
    """Return everything that is not as the file says."""
    stories = run_stories(test, rule_files, semantics)
    return [failure for _, failures in stories for failure in failures]


def run_stories(
    test: TestFile, rule_files: Mapping[str, str], semantics: RateSemantics
) -> Iterator[tuple[Story | None, list[Failure]]]:
    """Yield the failures of the file as such (None), then those of each story."""
    tested = _Tested(test, rule_files, semantics)
    yield None, [Failure("", "", str(error)) for error in tested.errors]
    for story in test.stories:
        yield story, list(tested.run(story))


class _Tested:
    """The compiled rules of a file, its expressions among them."""

    def __init__(
        self, test: TestFile, rule_files: Mapping[str, str], semantics: RateSemantics
    ) -> None:
        self._test = test
        problems = Problems()
        groups = read_groups(rule_files, problems)
        self._groups = in_order(groups, test.order)
        rules = [rule for group in groups for rule in group.rules]
        self._recorded = {rule.record for rule in rules if isinstance(rule, RecordingRule)}
        checks = dict.fromkeys(check.expr for one in test.stories for check in one.exprs)
        asked = Group(
            EXPRESSIONS,
            test.file,
            test.evaluation_ms,
            0,
            tuple(RecordingRule(f"{EXPRESSIONS}:{n}", one, {}, n) for n, one in enumerate(checks)),
        )
        every = (*self._groups, asked)
        program, errors = compile_rules(
            every,
            live=False,
            extrapolated=semantics is RateSemantics.PROMETHEUS,
            given=ALERTS,
        )
        wrong = [one for one in errors if one.file != test.file]
        self.errors: list[RuleError] = [*problems.found, *wrong]
        self._refused = {one.expr: one.message for one in errors if one.file == test.file}
        self._nodes: dict[str, Node] = {
            rule.expr: node for rule, node in program.records[EXPRESSIONS]
        }
        self._rules = RuleSet(every, "", program)

    def run(self, story: Story) -> Iterator[Failure]:
        """Yield what is not as a story says, in the order of time."""
        if story.wrong:
            yield from (Failure(story.name, "", why) for why in story.wrong)
            return
        try:
            yield from self._run(story)
        except EvaluationError as error:
            yield Failure(story.name, "", str(error))

    def _run(self, story: Story) -> Iterator[Failure]:
        every_ms, start_ms = self._test.evaluation_ms, story.start_ms
        if story.end_ms // min(every_ms, story.interval_ms) > STEPS_MAX:
            yield Failure(story.name, "", f"more than {STEPS_MAX} steps")
            return
        names = {one.labels.get(NAME, "") for one in story.series}
        evaluator = StoryEvaluator(self._rules, self._groups, names, story.external_labels)
        mine = [one.labels.get(NAME) in self._recorded for one in story.series]
        given = Given(list(compress(story.series, mine)), story.interval_ms)
        scraped = [one for one, is_mine in zip(story.series, mine, strict=True) if not is_mine]
        feed = Feed(scraped, story.interval_ms, start_ms)
        for t_ms in range(0, story.end_ms + 1, every_ms):
            for scrape in feed.until(t_ms):
                evaluator.accept(scrape)
            _give(evaluator, given, story, t_ms)
            failures = evaluator.evaluate_all(start_ms + t_ms)
            if failures:
                yield from (Failure(story.name, f"rule: {r}", why, t_ms) for r, why in failures)
                return
            for check in _due(story.alerts, t_ms, every_ms):
                yield from self._compare_alerts(story, check, evaluator)
            for asked in _due(story.exprs, t_ms, every_ms):
                yield from self._compare_samples(story, asked, evaluator)

    def _compare_alerts(
        self, story: Story, check: AlertCheck, evaluator: StoryEvaluator
    ) -> Iterator[Failure]:
        differs = alerts_differ(check.expected, evaluator.firing(check.alert))
        if differs:
            yield Failure(story.name, f"alertname: {check.alert}", differs, check.t_ms)

    def _compare_samples(
        self, story: Story, check: ExprCheck, evaluator: StoryEvaluator
    ) -> Iterator[Failure]:
        node = self._nodes.get(check.expr)
        if check.wrong:
            differs = "\n".join(check.wrong)
        elif node is None:
            differs = self._refused.get(check.expr, "cannot be evaluated")
        else:
            try:
                got = evaluator.query(node, story.start_ms + check.t_ms)
                differs = samples_differ(check.expected, got)
            except EvaluationError as error:
                differs = str(error)
        if differs:
            yield Failure(story.name, f'expr: "{check.expr}"', differs, check.t_ms)


def _give(evaluator: StoryEvaluator, given: Given, story: Story, t_ms: int) -> None:
    """Let recorded series of the story stand beside what the rules record."""
    for step_ms, samples in given.until(t_ms):
        for name in given.names:
            evaluator.remember(name, story.start_ms + step_ms, _named(samples, name))
    samples = given.standing(t_ms)
    for name in given.names:
        evaluator.give(name, story.start_ms + t_ms, _named(samples, name))


def _named(samples: Sequence[Sample], name: str) -> list[Sample]:
    return [one for one in samples if one.labels[NAME] == name]


C = TypeVar("C", AlertCheck, ExprCheck)


def _due(checks: Sequence[C], t_ms: int, every_ms: int) -> list[C]:
    """Return the checks that the evaluation at `t_ms` answers, in the order of their times."""
    due = [check for check in checks if t_ms <= check.t_ms < t_ms + every_ms]
    return sorted(due, key=lambda check: check.t_ms)
