"""Turn the series of a story into scrapes. In: series. Out: for each step what is scraped, and the
values that stand at a time.

The rules this file owns:
- Series with numbers at the same steps are one target that is scraped at just these steps: so a
  missing point leaves the value before it in place for the look-back of 5 minutes, as in promtool,
  and one that is stale ends it at once.
- A whole histogram is one row, as in a scrape; anything else is a row for each series.
- These targets have no labels of their own and do not make `up`: all labels, and `up`, are what
  the story says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from schemas.arrow import SCRAPE_SCHEMA
from schemas.eras import current_name
from schemas.records import Kind, Outcome, ScrapeEnvelope
from schemas.series import CORE_LABELS, layout_id, other_labels, series_id
from streams.core.promql.labels import NAME
from streams.core.promql.wanted import LOOKBACK_MS
from streams.core.rules.unittests.fold import Row, rows_of
from streams.core.rules.unittests.model import InputSeries, Mark, Point, Sample
from streams.core.samples import Scrape

PATH: Final = "/story"


@dataclass(slots=True)
class _Columns:
    """The label columns of some rows, made once."""

    columns: dict[str, pa.Array]
    layout: int


class Feed:
    """The scrapes of one story, step by step."""

    def __init__(self, series: Sequence[InputSeries], interval_ms: int, start_ms: int) -> None:
        self._interval_ms, self._start_ms = interval_ms, start_ms
        alike: dict[bytes, list[InputSeries]] = {}
        for one in series:
            if NAME in one.labels:
                alike.setdefault(_presence(one.points), []).append(one)
        self._targets = {presence: rows_of(found) for presence, found in alike.items()}
        self._made: dict[tuple[int, ...], _Columns] = {}
        self._step = 0

    def until(self, t_ms: int) -> Iterator[Scrape]:
        """Yield the scrapes up to a time of the story that were not yielded before."""
        while self._step * self._interval_ms <= t_ms:
            for nth, (presence, rows) in enumerate(self._targets.items()):
                if self._step < len(presence) and presence[self._step]:
                    yield self._scrape(nth, rows)
            self._step += 1

    def _scrape(self, nth: int, rows: Sequence[Row]) -> Scrape:
        step = self._step
        here = [i for i, row in enumerate(rows) if not isinstance(row.values[step], Mark)]
        key = (nth, *here)
        if key not in self._made:
            self._made[key] = _columns([rows[i] for i in here])
        made = self._made[key]
        columns = {**made.columns, **_values([rows[i] for i in here], step)}
        batch = pa.RecordBatch.from_arrays(
            [columns[field.name] for field in SCRAPE_SCHEMA], schema=SCRAPE_SCHEMA
        )
        t_ms = self._start_ms + self._step * self._interval_ms
        envelope = ScrapeEnvelope(
            cluster="",
            job="",
            instance="",
            path=f"{PATH}/{nth}",
            scrape_id=f"{nth}-{self._step}",
            tick_ms=t_ms,
            start_ms=t_ms,
            end_ms=t_ms,
            interval_ms=self._interval_ms,
            sequence=self._step,
            outcome=Outcome.OK,
            series=len(here),
            rows=len(here),
            layout=made.layout,
        )
        return Scrape(envelope, batch, made.layout)


def _presence(points: Sequence[Point]) -> bytes:
    return bytes(point is not Mark.MISSING for point in points)


def _columns(rows: Sequence[Row]) -> _Columns:
    """Return all columns of a scrape but its values."""
    names = [current_name(row.name) for row in rows]
    series = [series_id(name, row.labels) for name, row in zip(names, rows, strict=True)]
    kinds = [Kind.UNTYPED if row.counts is None else Kind.HISTOGRAM for row in rows]
    columns = {
        "metric": _texts(names),
        "kind": _texts(kinds),
        **{core: _texts([row.labels.get(core, "") for row in rows]) for core in CORE_LABELS},
        "labels": _texts([other_labels(row.labels) for row in rows]),
        "series": pa.array(series, pa.uint64()),
        "bounds": _texts([row.bounds for row in rows]),
    }
    return _Columns(columns, layout_id(series))


def _values(rows: Sequence[Row], step: int) -> dict[str, pa.Array]:
    counts = [None if row.counts is None else row.counts[step] for row in rows]
    buckets = [None if row.counts is None else row.buckets[step] for row in rows]
    return {
        "value": pa.array([row.values[step] for row in rows], pa.float64()),
        "count": pa.array(counts, pa.float64()).cast(pa.uint64()),
        "buckets": pa.array(buckets, pa.list_(pa.int64())),
    }


def _texts(values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.utf8()).dictionary_encode()


class Given:
    """The series of a story whose names are recorded, too."""

    def __init__(self, series: Sequence[InputSeries], interval_ms: int) -> None:
        self._series, self._interval_ms, self._step = series, interval_ms, 0
        self.names = tuple(dict.fromkeys(one.labels[NAME] for one in series))

    def until(self, t_ms: int) -> Iterator[tuple[int, list[Sample]]]:
        """Yield the time and the samples of each step up to `t_ms` that was not yielded before."""
        while self._step * self._interval_ms <= t_ms:
            here = [one for one in self._series if self._step < len(one.points)]
            points = [(one.labels, one.points[self._step]) for one in here]
            found = [Sample(of, point) for of, point in points if not isinstance(point, Mark)]
            yield self._step * self._interval_ms, found
            self._step += 1

    def standing(self, t_ms: int) -> list[Sample]:
        """Return the values that stand at a time of the story, no older than the look-back."""
        found = (_newest(one, self._interval_ms, t_ms) for one in self._series)
        return [one for one in found if one is not None]


def _newest(one: InputSeries, interval_ms: int, t_ms: int) -> Sample | None:
    for step in range(min(t_ms // interval_ms, len(one.points) - 1), -1, -1):
        point = one.points[step]
        if point is Mark.STALE or t_ms - step * interval_ms >= LOOKBACK_MS:
            return None
        if not isinstance(point, Mark):
            return Sample(one.labels, point)
    return None
