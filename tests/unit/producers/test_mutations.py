"""Whatever a server sends, the reader does not fail, and what it believes is what was said.

A body whose outcome is ok, without a word about anything odd, is read a second time by the Python
client of Prometheus or the runtime of protobuf (tests/mutations.py): every value must be theirs,
none may be missing and none invented.
"""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.core.columns import Columns
from producers.core.formats import BodyReader
from producers.core.keys import Keys
from producers.core.outcomes import of_body
from schemas.records import Kind, Outcome
from schemas.series import CORE_LABELS, parse_labels
from tests.delimited import delimited
from tests.mutations import (
    NAN,
    PIECES,
    PROTOBUF_KINDS,
    TEXT_KINDS,
    Edit,
    Refused,
    Reserved,
    Sample,
    Samples,
    mutated,
    protobuf_samples,
    sample,
    text_samples,
)

SAMPLES_MAX = 1_000
BODIES = 10  # of one target, one after the other
TEXT = b"""# HELP h how long
# TYPE h histogram
h_bucket{verb="GET",le="0.1"} 1
h_bucket{verb="GET",le="1"} 3
h_bucket{verb="GET",le="+Inf"} 4
h_sum{verb="GET"} 2.5
h_count{verb="GET"} 4
h_bucket{verb="PUT",le="0.1"} 12
h_bucket{verb="PUT",le="1"} 12
h_bucket{verb="PUT",le="+Inf"} 13
h_sum{verb="PUT"} 0.5
h_count{verb="PUT"} 13
# TYPE q summary
q{quantile="0.5"} NaN
q{quantile="0.99"} 0.125
q_sum 17
q_count 3
# TYPE g gauge
g{name="a \\"b\\""} -1.5e-07
g{name="} 5",code="200"} +Inf
# TYPE c_total counter
c_total{group="apps"} 9.007199254740992e+15
c_total{group=""} 7 1700000000000
"""
PROTOBUF = delimited(TEXT + b"# TYPE plain untyped\nplain 3\n")
TYPES = {
    "text": "text/plain; version=0.0.4",
    "protobuf": "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
    "encoding=delimited",
}
GOOD = {"text": TEXT, "protobuf": PROTOBUF}
READ_BY_OTHERS = {"text": text_samples, "protobuf": protobuf_samples}
KINDS = {"text": TEXT_KINDS, "protobuf": PROTOBUF_KINDS}
LIMIT = 7  # samples; a body that is cut there ends anywhere


def sequences(form: str) -> st.SearchStrategy[list[list[Edit]]]:
    """Make edits of bodies that a target answers with, one after the other."""
    place, piece = st.integers(0, 4_000), st.integers(0, 40 * len(PIECES))
    edits = st.lists(st.tuples(st.sampled_from(KINDS[form]), place, piece), min_size=1, max_size=2)
    return st.lists(edits, min_size=BODIES, max_size=BODIES)


def samples(columns: Columns) -> Samples:
    """Return the samples that rows were folded from, in the names of the text format."""
    found: Samples = Counter()
    for row in columns.rows():
        core = dict(zip(CORE_LABELS, row.series.core, strict=True))
        labels = {k: v for k, v in core.items() if v} | parse_labels(row.series.labels)
        name = row.series.metric
        if row.series.kind not in {Kind.HISTOGRAM, Kind.SUMMARY}:
            found[sample(name, labels, row.value)] += 1
            continue
        found[sample(f"{name}_sum", labels, row.value)] += 1
        if row.count is not None:
            found[sample(f"{name}_count", labels, row.count)] += 1
        bounds = [*filter(None, row.bounds.split(",")), "+Inf"] if row.buckets else []
        cumulative = 0
        for bound, count in zip(bounds, row.buckets or (), strict=True):
            cumulative += count
            found[sample(f"{name}_bucket", labels | {"le": bound}, cumulative)] += 1
    return found


def invented(found: Samples, said: Samples) -> list[Sample]:
    """Return samples of rows that nobody said, but for what the format says they must be.

    A histogram row has a sum, a count and a last bucket. Where the body lacks the sum it is NaN;
    the count and the last bucket are the same number, so that one stands for the other.
    """
    more = []
    for name, labels, value in found - said:
        base, _, part = name.rpartition("_")
        rest = tuple(pair for pair in labels if pair != ("le", "inf"))
        last = (f"{base}_bucket", tuple(sorted((*rest, ("le", "inf")))), value)
        twin = {"count": last, "bucket": (f"{base}_count", rest, value)}.get(part)
        nameless = part == "sum" and value == NAN
        if not nameless and (twin is None or twin not in said):
            more.append((name, labels, value))
    return more


def check(form: str, sequence: Sequence[Sequence[Edit]], seen: Counter[str]) -> None:
    """Read bodies of one target, the good one first, and judge each; count what became of them."""
    reader, keys = BodyReader(), Keys(500)
    for edits in ([], *sequence):
        body = mutated(GOOD[form], edits)
        found = reader.read(body, TYPES[form], keys, samples_max=SAMPLES_MAX)
        cut = BodyReader().read(body, TYPES[form], keys, samples_max=LIMIT, whole=False)
        assert cut.samples <= LIMIT, body
        keys.trim()
        seen["mutated"] += body != GOOD[form]
        said = of_body(found, body_bytes=len(body), whole=True)
        if said.outcome is not Outcome.OK or said.reason:
            seen["told"] += 1
            continue
        try:
            wanted = READ_BY_OTHERS[form](body)
        except Reserved:
            seen["not read by the other"] += 1
            continue
        except Refused as refused:
            raise AssertionError(f"{body!r} was believed; the other says {refused}") from refused
        seen["compared"] += body != GOOD[form]
        rows = samples(found.columns)
        assert ([], Counter()) == (invented(rows, wanted), wanted - rows), body
        assert wanted.total() == found.samples, body
        names = [(one.metric, one.core, one.labels) for one in found.columns.layout.series]
        assert len(names) == len(set(names)), body


@pytest.mark.parametrize(
    "examples", [200, pytest.param(10_500, marks=pytest.mark.torture)], ids=["2000", "105000"]
)
@pytest.mark.parametrize("form", GOOD)
def test_mutated_bodies_are_read_as_others_read_them_or_told_to_be_odd(
    form: str, examples: int
) -> None:
    seen: Counter[str] = Counter()

    @settings(deadline=None, database=None, max_examples=examples)
    @given(sequences(form))
    def read(sequence: list[list[Edit]]) -> None:
        check(form, sequence, seen)

    read()
    print(f"\n{form}: {dict(seen)}")
    assert seen["mutated"] >= 0.95 * BODIES * examples
    assert seen["compared"] >= 0.1 * seen["mutated"]  # or nothing was proved
    assert seen["told"] >= 0.1 * seen["mutated"]
    assert seen["not read by the other"] <= 0.01 * seen["mutated"]
