"""What the rule engine eats. In: facts. Out: the types of a scrape and of a fact, and facts in the
shape of a scrape.

The rule this file owns: a scrape is whole. Its chunks were joined in order, or it never existed. A
closed step of facts is a scrape like any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from schemas.arrow import SCRAPE_SCHEMA
from schemas.records import Kind, Outcome, ScrapeEnvelope
from schemas.series import CORE_LABELS, layout_id, other_labels, series_id

FACTS_JOB: Final = "planewatch"
FACTS_PATH: Final = "/facts"


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
    series = [series_id(sample.metric, sample.labels) for sample in samples]
    layout = layout_id(series)
    columns: dict[str, pa.Array] = {
        "metric": _texts([sample.metric for sample in samples]),
        "kind": _texts([Kind.UNTYPED] * len(samples)),
        **{name: _texts([s.labels.get(name, "") for s in samples]) for name in CORE_LABELS},
        "labels": _texts([other_labels(sample.labels) for sample in samples]),
        "series": pa.array(series, pa.uint64()),
        "value": pa.array([sample.value for sample in samples], pa.float64()),
        "count": pa.nulls(len(samples), pa.uint64()),
        "buckets": pa.nulls(len(samples), pa.list_(pa.int64())),
        "bounds": _texts([""] * len(samples)),
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


def _texts(values: list[str]) -> pa.Array:
    return pa.array(values, pa.utf8()).dictionary_encode()
