"""What benches measure with is what it says it is: the same process in records and as text."""

import math

import numpy as np
import pyarrow as pa
import pytest

from schemas.arrow import decode_scrape
from schemas.records import ScrapeEnvelope
from tests.bench._servers import API_SERVER, ETCD, Process, envelope_of, exposition, keys, shape
from tests.scrapes import read


def _envelope() -> ScrapeEnvelope:
    return envelope_of("c", "apiserver", "i", 15_000, 15_000)


@pytest.mark.parametrize(("capture", "samples_min"), [(ETCD, 0), (API_SERVER, 30_000)])
def test_records_and_exposition_say_the_same(capture: str, samples_min: int) -> None:
    process = Process(shape(capture, samples_min), seed=1)
    process.advance(15.0)
    text = read(exposition(process))
    frames = [decode_scrape(value) for value in process.records(_envelope())]
    assert _rows(text.rows) == [row for frame in frames for row in _rows(frame.rows)]
    assert {text.samples} == {frame.envelope.series for frame in frames}
    assert len(keys(process.shape)) == text.samples >= samples_min


def _rows(batch: pa.RecordBatch) -> list[dict[str, object]]:
    """Return rows that compare: NaN is not equal to itself."""
    rows = batch.to_pylist()
    return [row | {"value": None if math.isnan(row["value"]) else row["value"]} for row in rows]


def test_a_seed_gives_the_same_scrapes_again() -> None:
    kind = shape(ETCD)
    one, two, other = Process(kind, seed=1), Process(kind, seed=1), Process(kind, seed=2)
    for process in (one, two, other):
        process.advance(15.0)
    assert one.records(_envelope()) == two.records(_envelope())
    assert one.records(_envelope()) != other.records(_envelope())


def test_counters_only_grow_and_half_of_a_busy_server_changes() -> None:
    process = Process(shape(API_SERVER), seed=1)
    before = np.array(process.samples())
    buckets = process.buckets.copy()
    process.advance(15.0)
    after = np.array(process.samples())
    assert (process.buckets >= buckets).all()
    assert 0.3 < float((after != before)[~np.isnan(before)].mean()) < 0.7


def test_a_record_has_the_chunks_that_a_producer_makes() -> None:
    kind = shape(API_SERVER, 100_000)
    frames = [decode_scrape(value) for value in Process(kind, seed=1).records(_envelope())]
    assert [frame.envelope.chunk for frame in frames] == [*range(len(frames))]
    assert {frame.envelope.chunks for frame in frames} == {len(frames)} != {1}
    assert sum(len(frame.rows) for frame in frames) == len(kind.rows)
