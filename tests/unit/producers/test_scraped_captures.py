"""Every captured body of a real control plane is read whole and fits its records."""

import re
from collections.abc import Iterable, Iterator

import pytest

from producers.core.attempts import Attempt, Ending, envelope
from producers.core.chunks import Chunk, encode_chunks
from producers.core.exposition import Exposition, parse
from producers.core.keys import Keys
from producers.core.outcomes import of_body
from schemas.arrow import CHUNK_BYTES_MAX, decode_scrape
from schemas.identity import Target
from schemas.records import Outcome
from schemas.series import layout_id
from tests import fixtures
from tests.exposition import Sample, samples_of, samples_of_the_client

SAMPLES_MAX = 1_000_000
VERSIONS = ("1_31", "1_35")
PHASES = ("idle", "load", "load-formats", "burst", "after-election", "quorum-lost")

pytestmark = pytest.mark.usefixtures("shared_fixtures")


def bodies(group: str) -> Iterator[tuple[str, bytes]]:
    """The text bodies of a version, or of a phase of the captured cluster."""
    if group in VERSIONS:
        for name in fixtures.metrics_names():
            if name.startswith(group):
                yield name, fixtures.metrics(name)
        return
    for scrape in fixtures.cluster_index():
        if scrape.phase == group and scrape.file and scrape.format != "proto":
            yield scrape.file.name, scrape.body()


def read(body: bytes, keys: Keys) -> tuple[Exposition, list[Chunk]]:
    found = parse(body, keys, samples_max=SAMPLES_MAX)
    attempt = Attempt(Target("c", "apiserver", "i"), {}, 1, 15_000, 1, "g")
    said = of_body(found, body_bytes=len(body), whole=True)
    return found, encode_chunks(envelope(attempt, Ending(said, 1, 2)), found.columns)


def folded_count(samples: Iterable[Sample], text: str) -> int:
    """How many rows `samples` fold into, by the types that the body declares."""
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE "))
    rows = set()
    for name, labels, _ in samples:
        base = re.sub("_(bucket|sum|count)$", "", name)
        folded = types.get(base) in {"histogram", "summary"}
        rows.add((base if folded else name, tuple(one for one in labels if one[0] != "le")))
    return len(rows)


@pytest.mark.parametrize("group", [*VERSIONS, *PHASES])
def test_a_capture_loses_nothing_on_the_way_into_its_records(group: str) -> None:
    keys = Keys(SAMPLES_MAX)
    for name, body in bodies(group):
        found, chunks = read(body, keys)
        text = body.decode()
        samples = sorted(samples_of_the_client(text))
        lines = [line for line in body.splitlines() if line and not line.startswith(b"#")]
        assert (len(lines), 0, 0) == (found.samples, found.unreadable, found.duplicates), name
        assert samples == sorted(samples_of(found.rows)), name
        assert folded_count(samples, text) == len(found.rows), name
        frames = [decode_scrape(chunk.value) for chunk in chunks]
        assert len(found.rows) == sum(frame.rows.num_rows for frame in frames), name
        assert {Outcome.OK} == {frame.envelope.outcome for frame in frames}, name
        for number, (chunk, frame) in enumerate(zip(chunks, frames, strict=True)):
            assert len(chunk.value) <= CHUNK_BYTES_MAX, name
            assert (number, len(chunks)) == (frame.envelope.chunk, frame.envelope.chunks), name
            assert layout_id(frame.rows["series"].to_pylist()) == frame.envelope.layout, name
