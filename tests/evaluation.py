"""A small world for tests of the rule engine. In: expressions and expositions. Out: results."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import yaml

from schemas.records import Outcome
from schemas.series import CORE_LABELS, parse_labels
from streams.core.evaluate import Evaluator, GroupResult
from streams.core.rules.files import RuleSet, load_rules
from tests.scrapes import CLUSTER, Body, failed, scrape


@dataclass(frozen=True)
class Result:
    """One result of an expression, without job and instance where a test says nothing of them."""

    labels: tuple[tuple[str, str], ...]
    value: float
    coverage: float


def by_labels(labels: dict[str, str], value: float, *, coverage: float = 1.0) -> object:
    """Return what a result with these labels must equal; numbers nearly."""
    return _Expected(tuple(sorted(labels.items())), value, coverage)


@dataclass(frozen=True)
class _Expected:
    labels: tuple[tuple[str, str], ...]
    value: float
    coverage: float

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Result)
            and self.labels == other.labels
            and other.value == pytest.approx(self.value, nan_ok=True)
            and other.coverage == pytest.approx(self.coverage, rel=1e-6)
        )

    def __hash__(self) -> int:
        return hash(self.labels)


def rules_of(expressions: Sequence[str], *, interval: str = "15s", limit: int = 0) -> RuleSet:
    """Return a rule set that records the expressions as r:0:x, r:1:x, ..."""
    rules = [{"record": f"r:{i}:x", "expr": expr} for i, expr in enumerate(expressions)]
    group = {"name": "g", "interval": interval, "limit": limit, "rules": rules}
    return load_rules({"test.yaml": yaml.safe_dump({"groups": [group]})})


class World:
    """A cluster with one or more targets, and expressions over it."""

    def __init__(self, expressions: Sequence[str], *, limit: int = 0) -> None:
        self.rules = rules_of(expressions, limit=limit)
        self.evaluator = Evaluator(self.rules, CLUSTER)

    def scrape(self, text: str | Body, t_ms: int, **more: object) -> None:
        """Take a scrape; with an outcome that is no answer, a failed one."""
        outcome = more.get("outcome", Outcome.OK)
        if outcome not in (Outcome.OK, Outcome.TOO_BIG):
            names = {k: str(v) for k, v in more.items() if k in ("job", "instance")}
            self.evaluator.accept(failed(t_ms, Outcome(str(outcome)), **names))
        else:
            self.evaluator.accept(scrape(text, t_ms, **more))  # type: ignore[arg-type]  # a test's own names

    def group(self, t_ms: int) -> GroupResult:
        """Return the result of the aligned evaluation as it is published."""
        return self.evaluator.evaluate_records(self.rules.groups[0], t_ms)

    def aligned(self, t_ms: int) -> list[Result]:
        """Return the results of all expressions as of `t_ms`, in the order of expressions."""
        found = self.group(t_ms)
        assert not found.failures, found.failures
        return [_result(row) for row in found.rows.to_pylist()]

    def live(self, t_ms: int) -> list[Result]:
        """Return the results as an alerting rule would see them now, without a number included."""
        context = self.evaluator._context(t_ms, live=True)
        results = []
        for _, node in self.evaluator._program.records["g"]:
            found = context.vector(node)
            for i in range(found.n):
                if found.present[i]:
                    labels = found.labels.row(i, self.evaluator._strings)
                    results.append(
                        Result(_shown(labels), float(found.values[i]), float(found.coverage[i]))
                    )
        return results


def _result(row: dict[str, object]) -> Result:
    labels = {name: str(row[name]) for name in CORE_LABELS if row[name]}
    labels |= parse_labels(str(row["labels"]))
    return Result(_shown(labels), float(str(row["value"])), float(str(row["coverage"])))


def _shown(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    hidden = {"cluster"}
    if labels.get("job") == "apiserver":
        hidden.add("job")
    if labels.get("instance") == "a":
        hidden.add("instance")
    return tuple(sorted((k, v) for k, v in labels.items() if k not in hidden))
