"""What the rule engine eats. In: facts. Out: the types of a scrape and of a fact, and facts in the
shape of a scrape.

The rule this file owns: a scrape is whole. Its chunks were joined in order, or it never existed. A
closed step of facts is a scrape like any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import pyarrow as pa

from schemas.arrow import SCRAPE_SCHEMA
from schemas.records import Kind, Outcome, ScrapeEnvelope
from schemas.series import CORE_LABELS, layout_id, other_labels, series_id

FACTS_JOB: Final = "planewatch"
FACTS_PATH: Final = "/facts"

SERIES_SETS_MAX: Final = 256
"""Sets of series of facts whose columns are remembered; others are made anew, at each step."""

_Series = tuple[str, tuple[tuple[str, str], ...]]
"""Metric and labels."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """All chunks of one scrape of one target, joined."""

    envelope: ScrapeEnvelope  # of its last chunk
    rows: pa.RecordBatch | pa.Table  # SCRAPE_SCHEMA, all chunks in order; none when it failed
    layout: int  # hash over the layouts of the chunks: same layout, same rows


@dataclass(frozen=True, slots=True)
class FactSample:
    """One sample of a series that planewatch itself computes; the engine adds job="planewatch"."""

    metric: str
    labels: Mapping[str, str]
    value: float


def facts_scrape(cluster: str, t_ms: int, step_ms: int, samples: Sequence[FactSample]) -> Scrape:
    """Return a closed step of facts as a complete scrape at `t_ms`."""
    layout, labels = _labelled(
        tuple((one.metric, tuple(sorted(one.labels.items()))) for one in samples)
    )
    columns = labels | {
        "value": pa.array([sample.value for sample in samples], pa.float64()),
        "count": pa.nulls(len(samples), pa.uint64()),
        "buckets": pa.nulls(len(samples), pa.list_(pa.int64())),
    }
    rows = pa.RecordBatch.from_arrays(
        [columns[field.name] for field in SCRAPE_SCHEMA], schema=SCRAPE_SCHEMA
    )
    envelope = ScrapeEnvelope(
        cluster=cluster,
        job=FACTS_JOB,
        instance="",
        path=FACTS_PATH,
        scrape_id=f"facts-{t_ms}",
        tick_ms=t_ms,
        start_ms=t_ms,
        end_ms=t_ms,
        interval_ms=step_ms,
        sequence=0,
        outcome=Outcome.OK,
        series=len(samples),
        rows=len(samples),
        layout=layout,
    )
    return Scrape(envelope, rows, layout)


@lru_cache(maxsize=SERIES_SETS_MAX)
def _labelled(series: tuple[_Series, ...]) -> tuple[int, dict[str, pa.Array]]:
    """Return the layout and the columns of samples but for their values.

    A cluster has the same facts step after step, and a replay closes a hundred steps of each.
    """
    named = [(metric, dict(labels)) for metric, labels in series]
    ids = [series_id(metric, labels) for metric, labels in named]
    return layout_id(ids), {
        "metric": _texts([metric for metric, _ in named]),
        "kind": _texts([Kind.UNTYPED] * len(named)),
        **{name: _texts([own.get(name, "") for _, own in named]) for name in CORE_LABELS},
        "labels": _texts([other_labels(own) for _, own in named]),
        "series": pa.array(ids, pa.uint64()),
        "bounds": _texts([""] * len(named)),
    }


def _texts(values: list[str]) -> pa.Array:
    return pa.array(values, pa.utf8()).dictionary_encode()
