"""Turn the series of a story into scrapes. In: series. Out: for each step what is scraped, and the
values that stand at a time.

The rules this file owns:
- Series with numbers at the same steps are one target that is scraped at just these steps: so a
  missing point leaves the value before it in place for the look-back of 5 minutes, as in promtool,
  and one that is stale ends it at once.
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
from streams.core.rules.unittests.model import InputSeries, Labels, Mark, Point, Sample
from streams.core.samples import Scrape

PATH: Final = "/story"


@dataclass(slots=True)
class _Rows:
    """The label columns of some series, made once."""

    columns: dict[str, pa.Array]
    layout: int


class Feed:
    """The scrapes of one story, step by step."""

    def __init__(self, series: Sequence[InputSeries], interval_ms: int, start_ms: int) -> None:
        self._interval_ms, self._start_ms = interval_ms, start_ms
        self._targets: dict[bytes, list[InputSeries]] = {}
        for one in series:
            if NAME in one.labels:
                self._targets.setdefault(_presence(one.points), []).append(one)
        self._rows: dict[tuple[int, ...], _Rows] = {}
        self._step = 0

    def until(self, t_ms: int) -> Iterator[Scrape]:
        """Yield the scrapes up to a time of the story that were not yielded before."""
        while self._step * self._interval_ms <= t_ms:
            for nth, (presence, series) in enumerate(self._targets.items()):
                if self._step < len(presence) and presence[self._step]:
                    yield self._scrape(nth, series)
            self._step += 1

    def _scrape(self, nth: int, series: Sequence[InputSeries]) -> Scrape:
        points = [one.points[self._step] for one in series]
        here = [(i, point) for i, point in enumerate(points) if not isinstance(point, Mark)]
        key = (nth, *(i for i, _ in here))
        if key not in self._rows:
            self._rows[key] = _columns([series[i].labels for i, _ in here])
        made = self._rows[key]
        values = pa.array([point for _, point in here], pa.float64())
        rows = pa.RecordBatch.from_arrays(
            [made.columns.get(field.name, values) for field in SCRAPE_SCHEMA], schema=SCRAPE_SCHEMA
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
        return Scrape(envelope, rows, made.layout)


def _presence(points: Sequence[Point]) -> bytes:
    return bytes(point is not Mark.MISSING for point in points)


def _columns(labels: Sequence[Labels]) -> _Rows:
    """Return all columns of a scrape but its values."""
    names = [current_name(one[NAME]) for one in labels]
    rest = [{name: text for name, text in one.items() if name != NAME} for one in labels]
    series = [series_id(name, one) for name, one in zip(names, rest, strict=True)]
    n = len(labels)
    columns = {
        "metric": _texts(names),
        "kind": _texts([Kind.UNTYPED] * n),
        **{core: _texts([one.get(core, "") for one in rest]) for core in CORE_LABELS},
        "labels": _texts([other_labels(one) for one in rest]),
        "series": pa.array(series, pa.uint64()),
        "count": pa.nulls(n, pa.uint64()),
        "buckets": pa.nulls(n, pa.list_(pa.int64())),
        "bounds": _texts([""] * n),
    }
    return _Rows(columns, layout_id(series))


def _texts(values: list[str]) -> pa.Array:
    return pa.array(values, pa.utf8()).dictionary_encode()


def standing(series: Sequence[InputSeries], interval_ms: int, t_ms: int) -> list[Sample]:
    """Return the values that stand at a time of the story, no older than the look-back."""
    found = []
    for one in series:
        newest = min(t_ms // interval_ms, len(one.points) - 1)
        for step in range(newest, -1, -1):
            if t_ms - step * interval_ms >= LOOKBACK_MS:
                break
            point = one.points[step]
            if not isinstance(point, Mark):
                found.append(Sample(one.labels, point))
            if point is not Mark.MISSING:
                break
    return found
