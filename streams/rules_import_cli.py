"""Import other people's rules for people. In: files, a folder. Out: rule files, lines, a code.

The rules this file owns: each object becomes one file of its own name in the folder, and an import
that is repeated writes the same files again; what cannot be read keeps nothing else from it.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from schemas.errors import ConfigError
from streams.core.rules.imports import Imported, Refusal, imported
from streams.rulefiles import read_files

HEAD = "# Written by `planewatch rules import` from {source}; import again rather than edit.\n"


def import_rules(paths: Sequence[Path], out: Path) -> int:
    """Write rule files into `out` and say what became of each rule; 1 where one was refused."""
    texts: dict[str, str] = {}
    rules = refused = 0
    for path in paths:
        try:
            texts |= read_files([path])
        except ConfigError as error:
            refused += len(error.problems)
            for problem in error.problems:
                click.echo(problem.message, err=True)
    out.mkdir(parents=True, exist_ok=True)
    written: dict[Path, str] = {}
    for name, text in texts.items():
        for one in imported(Path(name).stem, text):
            rules += _write(one, name, out, written)
            refused += len(one.refused)
    click.echo(f"{rules} rules imported, {refused} refused")
    return 1 if refused else 0


def _write(one: Imported, source: str, out: Path, written: dict[Path, str]) -> int:
    """Write the rule file of one object; return how many rules it has."""
    path = out / f"{one.name}.yaml"
    if one.text and path in written:
        why = f"{path} was written for {written[path]} just now"
        one.refused.append(Refusal(0, "all of it", why))
        one.text = ""
    for kind, found in (("refused", one.refused), ("left out", one.notes)):
        for each in found:
            where = f"{source}:{each.line}" if each.line else source
            click.echo(f"{where}: {kind}: {each.what}: {each.why}", err=True)
    if not one.text:
        return 0
    written[path] = source
    path.write_text(HEAD.format(source=Path(source).name) + one.text, encoding="utf-8")
    click.echo(f"{path}: {one.rules} rules")
    return one.rules
