"""Read rule files. In: settings, paths. Out: compiled rules, or who must mend what.

The rule this file owns: ours come first, then those of `rules.paths`, files or folders of *.yaml
and *.yml; each goes by the name that its problems are told under.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError, Problem
from schemas.settings import RulesSettings, Settings
from streams.core.rules.files import RuleSet, load_rules
from streams.core.rules.overrides import RuleSets

SUFFIXES: Final = (".yaml", ".yml")


def configured_rules(settings: RulesSettings) -> RuleSet:
    """Return the rules of a worker.

    Raises:
        ConfigError: a file cannot be read.
        RuleErrors: rules cannot be used.
    """
    return _loaded(settings, read_files(settings.paths))


def configured_rule_sets(settings: Settings) -> RuleSets:
    """Return the rules of each cluster of a worker.

    Raises:
        ConfigError: a file cannot be read, or an override cannot be done.
        RuleErrors: rules cannot be used.
    """
    return rule_sets(settings, read_files(settings.rules.paths))


def rule_sets(settings: Settings, yours: Mapping[str, str]) -> RuleSets:
    """Return the rules of each cluster, of files that were read.

    Raises:
        ConfigError: an override cannot be done.
        RuleErrors: rules cannot be used.
    """
    labels = {cluster.id: cluster.labels for cluster in settings.clusters}
    return RuleSets(_loaded(settings.rules, yours), settings.rules.overrides, labels)


def _loaded(settings: RulesSettings, yours: Mapping[str, str]) -> RuleSet:
    shipped = shipped_files() if settings.shipped else {}
    extrapolated = settings.rate_semantics == "prometheus"
    return load_rules({**shipped, **yours}, extrapolated=extrapolated)


def shipped_files() -> dict[str, str]:
    """Return our own rule files by name."""
    folder = files("streams") / "rules"
    return {
        f"streams/rules/{one.name}": one.read_text(encoding="utf-8")
        for one in sorted(folder.iterdir(), key=lambda one: one.name)
        if one.name.endswith(SUFFIXES)
    }


def read_files(paths: Sequence[Path]) -> dict[str, str]:
    """Return the texts of rule files, and of those in folders, by path.

    Raises:
        ConfigError: one cannot be read; lists all of these.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            found |= {str(one): one.read_text(encoding="utf-8") for one in _expanded(path)}
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem("rules.paths", f"cannot read {path}: {error}"))
    if problems:
        raise ConfigError(problems)
    return found


def _expanded(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    yield from sorted(one for one in path.iterdir() if one.name.endswith(SUFFIXES))
