"""What the rule engine eats. In: nothing. Out: the types of a scrape and of a fact.

The rule this file owns: a scrape is whole. Its chunks were joined in order, or it never existed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from schemas.records import ScrapeEnvelope


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
