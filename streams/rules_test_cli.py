"""Run rule tests for people. In: paths. Out: lines as promtool prints them, an exit code.

The rule this file owns: every file is run and all of its failures are told, whatever became of the
files before.
"""

from collections.abc import Sequence
from glob import glob
from pathlib import Path

import click

from schemas.errors import ConfigError
from streams.core.rules.entries import Problems
from streams.core.rules.unittests.run import RateSemantics, run_file
from streams.core.rules.unittests.testfile import parse
from streams.rulefiles import read_files


def test_rules(paths: Sequence[Path], semantics: RateSemantics) -> int:
    """Run test files and say of each SUCCESS, or FAILED and why; return 1 where one failed."""
    failed = [path for path in paths if not _succeeds(path, semantics)]
    return 1 if failed else 0


def _succeeds(path: Path, semantics: RateSemantics) -> bool:
    click.echo(f"Unit Testing:  {path}")
    try:
        failures = _failures(path, semantics)
    except ConfigError as error:
        failures = [f"    {problem.message}" for problem in error.problems]
    if failures:
        click.echo("  FAILED:", err=True)
        for failure in failures:
            click.echo(f"{failure}\n", err=True)
    else:
        click.echo("  SUCCESS")
    click.echo()
    return not failures


def _failures(path: Path, semantics: RateSemantics) -> list[str]:
    """Return everything that is not as a test file says."""
    ((name, text),) = read_files([path]).items()
    problems = Problems()
    found = parse(name, text, problems)
    if found is None or problems.found:
        return [f"    {error}" for error in problems.found]
    rule_files, without = _rule_files(path, found.rule_files)
    for pattern in without:
        click.echo(f"  WARNING: no file match pattern {pattern}", err=True)
    return [str(failure) for failure in run_file(found, rule_files, semantics)]


def _rule_files(test_file: Path, patterns: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the rule files that a test file names, by path, and the patterns without any."""
    found: dict[str, None] = {}
    without: list[str] = []
    for pattern in patterns:
        paths = sorted(glob(str(test_file.parent / pattern)))
        without += [] if paths else [pattern]
        found |= dict.fromkeys(paths)
    return read_files([Path(path) for path in found]), without
