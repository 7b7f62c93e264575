"""Prove the guarantees on a live system. In: a time range. Out: what was checked, what was found,
and an exit code.

The rule this file owns: it only reads, as `query` does, one cluster at a time, so that what it
takes does not grow with the number of clusters. Where nothing was stored nothing was proved, which
is a finding, too.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import click
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from schemas.clock import Clock
from schemas.command import configured
from schemas.identity import Target
from schemas.settings import Settings
from sinks.core.gaps import Judged, Odd, Streak, What, judge
from sinks.core.macros import expand
from sinks.core.moments import moment_ms
from sinks.core.queries import Value, load_queries
from sinks.query import WIDTH_MAX, ask

SHOWN_MAX: Final = 200
"""Lines of the table; findings come first."""

COLUMNS: Final = ("what", "target", "numbers", "count", "after", "before", "kafka")
SAID: Final = {
    What.KILLED: "a process was killed",
    What.LOST: "LOST",
    What.TWICE: "TWICE",
}

Named = Callable[[str, dict[str, Value]], pa.Table]
"""Answers a named query with its parameters, for the range that is verified."""


@click.command("verify", short_help="prove from the tables that nothing was lost or doubled")
@click.option("--scrapes", is_flag=True, help="each attempt to scrape is stored, once; required")
@click.option("--from", "begin", default="-1h", show_default=True, help="-1h, or a time in UTC")
@click.option("--to", "end", default="now", show_default=True)
@click.option("--cluster", default="", help="default: all clusters")
@configured
def verify_command(
    settings: Settings, *, scrapes: bool, begin: str, end: str, cluster: str
) -> None:
    """Prove from the stored scrapes that none was lost and none is there twice.

    Attempts of a target are numbered. A number that is missing, or that two attempts have, is a
    finding and ends with exit code 1. No findings, but told: what a killed process leaves, a gap
    before what another process stored next, of what it had in hand and what the other left out to
    be sure; records that Kafka was given twice, equal in everything. While records wait on the disk
    of producers (planewatch_spool_bytes is above 0) their numbers are missing until they are sent.

    \b
    Example: planewatch verify --scrapes --from -6h --cluster prod-eu-1
    """
    if not scrapes:
        raise click.UsageError(
            "verify needs --scrapes: nothing else can be verified yet "
            "(that tables hold what Kafka held will come)"
        )
    began_s = time.monotonic()
    now_ms = Clock(settings.clock.file).now_ms()
    try:
        from_ms, to_ms = moment_ms(begin, now_ms=now_ms), moment_ms(end, now_ms=now_ms)
    except ValueError as error:
        raise click.UsageError(str(error)) from error

    def named(name: str, parameters: dict[str, Value]) -> pa.Table:
        query = load_queries()[name]
        text = expand(query.sql, from_ms=from_ms, to_ms=to_ms, interval_s=1)
        return ask(settings, text, query.bind(parameters))

    judged = judge(stored_streaks(named, cluster))
    _print(judged, took_s=time.monotonic() - began_s)
    if not judged.targets:
        click.echo(f"nothing was proved: no scrape is stored from {_utc(from_ms)} to {_utc(to_ms)}")
    sys.exit(1 if judged.findings or not judged.targets else 0)


def stored_streaks(named: Named, cluster: str = "") -> dict[Target, list[Streak]]:
    """Return what is stored of each target of a cluster, or of all."""
    clusters = [cluster] if cluster else named("scraped_clusters", {})["cluster"].to_pylist()
    found: dict[Target, list[Streak]] = defaultdict(list)
    for one in clusters:
        for target, streak in _streaks(one, named("scrape_streaks", {"cluster": one})):
            found[target].append(streak)
    return found


def _streaks(cluster: str, answer: pa.Table) -> Iterator[tuple[Target, Streak]]:
    for row in answer.to_pylist():
        target = Target(cluster, row["job"], row["instance"], row["path"])
        yield (
            target,
            Streak(
                generation=row["generation"],
                first=row["first"],
                last=row["last"],
                first_ms=_ms(row["first_tick"]),
                last_ms=_ms(row["last_tick"]),
                removes=bool(row["removes"]),
                repeats=row["repeats"],
                partition=row["partition"],
                first_offset=row["first_offset"],
                last_offset=row["last_offset"],
            ),
        )


def _print(judged: Judged, *, took_s: float) -> None:
    out = Console(markup=False, highlight=False)
    if not out.is_terminal:
        out.width = WIDTH_MAX
    if judged.odd:
        grid = Grid(
            box=box.SIMPLE_HEAD if out.is_terminal else None, show_edge=False, pad_edge=False
        )
        for name in COLUMNS:
            grid.add_column(name, justify="right" if name == "count" else "left", overflow="fold")
        ordered = sorted(judged.odd, key=lambda one: not one[1].is_finding)
        for target, odd in ordered[:SHOWN_MAX]:
            grid.add_row(*_row(target, odd))
        out.print(grid)
        if len(ordered) > SHOWN_MAX:
            out.print(f"and {len(ordered) - SHOWN_MAX} more lines")
    for line in _summary(judged, took_s):
        out.print(line)


def _row(target: Target, odd: Odd) -> tuple[str, ...]:
    before, after = odd.before, odd.after
    numbers = str(odd.first) if odd.attempts == 1 else f"{odd.first}-{odd.last}"
    offsets = f"{before.last_offset}.." if before else ".."
    return (
        SAID[odd.what],
        str(target),
        numbers,
        str(odd.attempts),
        f"{_utc(before.last_ms)} by {before.generation}" if before else "its removal",
        f"{_utc(after.first_ms)} by {after.generation}",
        f"{after.partition}/{offsets}{after.first_offset}",
    )


def _summary(judged: Judged, took_s: float) -> Iterator[str]:
    yield (
        f"verified {judged.attempts} scrapes of {judged.targets} targets in {took_s:.1f} s"
        + _range(judged)
    )
    killed = [odd.attempts for _, odd in judged.odd if not odd.is_finding]
    yield f"killed processes left out {sum(killed)} numbers in {len(killed)} gaps: no finding"
    yield f"delivered again, equal in everything: {judged.repeats} records: no finding"
    yield f"findings: {judged.findings}"


def _range(judged: Judged) -> str:
    if judged.from_ms is None or judged.to_ms is None:
        return ""
    return f", ticks from {_utc(judged.from_ms)} to {_utc(judged.to_ms)}"


def _ms(when: datetime) -> int:
    return round(when.timestamp() * 1000)


def _utc(ms: int) -> str:
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
