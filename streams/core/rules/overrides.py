"""Make the rules of a cluster different from those of the files. In: a rule set, the overrides of
the configuration, the labels of the clusters. Out: the rule set of each cluster, or every override
that cannot be done.

The rules this file owns:
- Overrides apply in their order; of two that set the same of a rule, the later counts.
- Clusters to which the same overrides apply share one compiled rule set; without overrides it is
  that of the files, with its hash.
- What is disabled is left out of its group. A recorded name that other rules read cannot be.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from schemas.errors import ConfigError, Problem
from schemas.settings import RuleOverride
from streams.core.promql.plan import PlanError
from streams.core.rules.entries import parsed_ms
from streams.core.rules.files import (
    AlertingRule,
    Group,
    RecordingRule,
    RuleSet,
    recompiled,
    revised,
)
from streams.core.rules.judged import names_read
from streams.core.rules.threshold import ThresholdError, with_threshold

Rule = AlertingRule | RecordingRule
Labels = Mapping[str, str]

_ADVICE: Final = "disable it, and write the rule with your number into a file of rules.paths"


class RuleSets:
    """The rules of every cluster of a worker."""

    def __init__(
        self,
        rules: RuleSet,
        overrides: Sequence[RuleOverride] = (),
        labels: Mapping[str, Labels] | None = None,
    ) -> None:
        """labels: of the configured clusters, by id.

        Raises:
            ConfigError: an override cannot be done; lists all of these.
        """
        self.loaded = rules
        """As the files have them: nothing that a cluster evaluates needs more."""
        self._overrides, self._labels = tuple(overrides), labels or {}
        self._made: dict[tuple[int, ...], RuleSet] = {(): rules}  # by what applies
        if problems := [*self._problems()]:
            raise ConfigError(problems)

    def of(self, cluster: str) -> RuleSet:
        """Return the rules of a cluster; one that nobody configured has no labels."""
        key = self._applying(cluster)
        if key not in self._made:
            groups = overridden(self.loaded.groups, self._chosen(key))
            made = recompiled(groups, extrapolated=self.loaded.extrapolated)
            same = (one for one in self._made.values() if one.hash == made.hash)
            self._made[key] = next(same, made)
        return self._made[key]

    def _applying(self, cluster: str) -> tuple[int, ...]:
        labels = self._labels.get(cluster, {})
        return tuple(
            i for i, one in enumerate(self._overrides) if _selects_cluster(one, cluster, labels)
        )

    def _chosen(self, key: tuple[int, ...]) -> list[RuleOverride]:
        return [self._overrides[i] for i in key]

    def _problems(self) -> Iterator[Problem]:
        for i, one in enumerate(self._overrides):
            path = f"rules.overrides.{i}"
            yield from _of_rule(one, path, self.loaded.groups)
            yield from self._of_labels(one, path)
        applying = {self._applying(cluster): cluster for cluster in self._labels}
        applying[tuple(i for i, one in enumerate(self._overrides) if not _selector(one))] = ""
        for key, cluster in applying.items():
            yield from _of_disabled(self.loaded.groups, self._chosen(key), cluster)

    def _of_labels(self, one: RuleOverride, path: str) -> Iterator[Problem]:
        for name, wanted in one.cluster_labels.items():
            given = {labels.get(name, "") for labels in self._labels.values()}
            if not any(fnmatchcase(text, wanted) for text in given):
                advice = "labels are those of clusters[].labels, as this process is configured"
                message = f"no configured cluster has {name}={wanted}: {advice}"
                yield Problem(f"{path}.cluster_labels", message)


@dataclass(frozen=True, slots=True)
class Effective:
    """A rule as some clusters have it."""

    group: Group
    rule: Rule
    enabled: bool
    clusters: str  # which; "": all that no other line of the rule is about


def effective(groups: Sequence[Group], overrides: Sequence[RuleOverride]) -> Iterator[Effective]:
    """Yield each rule, and again for each selector of clusters for which it is different.

    A cluster that several selectors are about has what all of them set.
    """
    for group in groups:
        for rule in group.rules:
            mine = [one for one in overrides if selects(one, group, rule)]
            for selector in dict.fromkeys(["", *map(_selector, mine)]):
                applying = [one for one in mine if _selector(one) in {"", selector}]
                made = changed(rule, applying) if isinstance(rule, AlertingRule) else rule
                yield Effective(group, made, is_enabled(applying), selector)


def overridden(groups: Sequence[Group], overrides: Sequence[RuleOverride]) -> tuple[Group, ...]:
    """Return the groups as the overrides make them; what one cannot change stays as it is."""
    return tuple(replace(group, rules=tuple(_enabled(group, overrides))) for group in groups)


def _enabled(group: Group, overrides: Sequence[RuleOverride]) -> Iterator[Rule]:
    for rule in group.rules:
        mine = [one for one in overrides if selects(one, group, rule)]
        if is_enabled(mine):
            yield changed(rule, mine) if isinstance(rule, AlertingRule) else rule


def is_enabled(overrides: Sequence[RuleOverride]) -> bool:
    """Tell whether these overrides of a rule leave it enabled."""
    said = [one.enabled for one in overrides if one.enabled is not None]
    return said[-1] if said else True


def selects(one: RuleOverride, group: Group, rule: Rule) -> bool:
    """Tell whether an override is about a rule, by its name or by `group/name`."""
    names = [rule.name] + ([f"{group.name}/{rule.name}"] if "/" in one.rule else [])
    return any(fnmatchcase(name, one.rule) for name in names)


def changed(rule: AlertingRule, overrides: Sequence[RuleOverride]) -> AlertingRule:
    """Return an alert as these overrides make it."""
    before = rule
    for one in overrides:
        if one.threshold is not None:
            rule = replace(rule, expr=with_threshold(before.expr, one.threshold))
        if one.for_ is not None:
            rule = replace(rule, for_ms=parsed_ms(one.for_))
        if one.keep_firing_for is not None:
            rule = replace(rule, keep_firing_for_ms=parsed_ms(one.keep_firing_for))
        if one.severity is not None:
            rule = replace(rule, labels={**rule.labels, "severity": one.severity})
    return rule if rule == before else revised(rule)


def _selector(one: RuleOverride) -> str:
    """Return which clusters an override is about; "" for all."""
    ids = [", ".join(one.clusters)] if one.clusters else []
    return " and ".join([*ids, *(f"{name}={text}" for name, text in one.cluster_labels.items())])


def _selects_cluster(one: RuleOverride, cluster: str, labels: Labels) -> bool:
    named = not one.clusters or any(fnmatchcase(cluster, wanted) for wanted in one.clusters)
    return named and all(
        fnmatchcase(labels.get(name, ""), wanted) for name, wanted in one.cluster_labels.items()
    )


def _of_rule(one: RuleOverride, path: str, groups: Sequence[Group]) -> Iterator[Problem]:
    """Yield what is wrong between an override and the rules that it is about."""
    rules = [(group, rule) for group in groups for rule in group.rules]
    mine = [rule for group, rule in rules if selects(one, group, rule)]
    if not mine:
        yield Problem(f"{path}.rule", f"no rule is called {one.rule}{_near(one.rule, rules)}")
        return
    alerts = [rule for rule in mine if isinstance(rule, AlertingRule)]
    if not alerts and (wrong := [name for name in one.changes if name != "enabled"]):
        yield Problem(f"{path}.{wrong[0]}", f"{one.rule} records a series: only alerts have this")
    for name, text in (("for", one.for_), ("keep_firing_for", one.keep_firing_for)):
        try:
            parsed_ms(text or "0")
        except ValueError as error:
            yield Problem(f"{path}.{name}", str(error))
            return
    for rule in alerts if one.threshold is not None else ():
        try:
            changed(rule, [one])
        except (ThresholdError, PlanError) as error:
            yield Problem(f"{path}.threshold", f"{rule.id} {error}: {_ADVICE}")


def _near(wanted: str, rules: Sequence[tuple[Group, Rule]]) -> str:
    full = "/" in wanted
    names = {f"{group.name}/{rule.name}" if full else rule.name for group, rule in rules}
    near = difflib.get_close_matches(wanted, sorted(names), 3)
    return f"; did you mean {' or '.join(near)}?" if near else "; see planewatch rules list"


def _of_disabled(
    groups: Sequence[Group], overrides: Sequence[RuleOverride], cluster: str
) -> Iterator[Problem]:
    """Yield the recorded names that are disabled and read."""
    try:
        left = [rule for group in overridden(groups, overrides) for rule in group.rules]
    except (ThresholdError, PlanError, ValueError):
        return  # told by _of_rule
    before = {rule.name for group in groups for rule in group.rules if _records(rule)}
    gone = before - {rule.name for rule in left if _records(rule)}
    where = f" in {cluster}" if cluster else ""
    for rule in left if gone else ():
        for name in sorted(gone & names_read(rule.expr)):
            message = f"{name} is disabled{where}, but {rule.name} reads it: disable both, or none"
            yield Problem("rules.overrides", message)


def _records(rule: Rule) -> bool:
    return isinstance(rule, RecordingRule)
