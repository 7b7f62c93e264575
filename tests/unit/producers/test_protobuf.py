"""Protobuf bodies say what text bodies say, whatever was read before."""

import gzip
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.core import protobuf, repeated
from producers.core.exposition import Exposition, parse
from producers.core.keys import Keys
from producers.core.metricfamily import CLASSES, Told, told
from producers.core.outcomes import of_body
from producers.core.protobuf import ProtobufReader
from producers.core.text import TextReader
from schemas.records import Kind, Outcome
from tests import fixtures
from tests.delimited import body_of, delimited, length
from tests.unit.producers.test_text import BODY

SAMPLES_MAX = 100_000
HISTOGRAMS = b"# TYPE h histogram\n" + b"".join(
    b'h_bucket{i="%d",le="0.1"} %d\nh_bucket{i="%d",le="+Inf"} %d\n' % (i, i, i, i + 3)
    + b'h_sum{i="%d"} 2\nh_count{i="%d"} %d\n' % (i, i, i + 3)
    for i in range(20)
)


def read(reader: ProtobufReader, body: bytes, keys: Keys | None = None) -> Exposition:
    return reader.read(body, keys or Keys(10_000), samples_max=SAMPLES_MAX)


def assert_same(reader: ProtobufReader, body: bytes, keys: Keys) -> None:
    """Compare with a reader that has seen nothing."""
    found, wanted = read(reader, body, keys), read(ProtobufReader(), body, keys)
    assert str(wanted.rows) == str(found.rows)  # NaN is equal to NaN
    for name in ("samples", "duplicates", "unreadable", "example", "negative", "cut", "more"):
        assert getattr(wanted, name) == getattr(found, name), name
    assert (wanted.plausible, wanted.natives) == (found.plausible, found.natives)


@pytest.fixture
def from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note the bodies that are read from the beginning."""
    bodies: list[bytes] = []
    before = protobuf._read

    def noted(body: bytes, keys: Keys, samples_max: int) -> Any:
        bodies.append(body)
        return before(body, keys, samples_max)

    monkeypatch.setattr(protobuf, "_read", noted)
    return bodies


def family(name: str, kind: int, *metrics: Any) -> Any:
    made = CLASSES["MetricFamily"](name=name.encode(), type=kind)
    made.metric.extend(metric.SerializeToString() for metric in metrics)
    return made


def metric(**labels: str) -> Any:
    made = CLASSES["Metric"]()
    for name, value in labels.items():
        made.label.add(name=name.encode(), value=value.encode())
    return made


def histogram(count: int, *buckets: tuple[float, int], **labels: str) -> Any:
    made = metric(**labels)
    made.histogram.sample_count, made.histogram.sample_sum = count, 1.5
    for bound, cumulative in buckets:
        made.histogram.bucket.add(upper_bound=bound, cumulative_count=cumulative)
    return made


def test_it_says_what_the_text_says() -> None:
    wanted = parse(BODY, Keys(1000), samples_max=SAMPLES_MAX)
    found = read(ProtobufReader(), delimited(BODY))

    assert str([row for row in wanted.rows if row.series.metric != "plain"]) == str(
        [row for row in found.rows if row.series.metric != "plain"]
    )
    assert wanted.samples == found.samples
    assert wanted.columns.layout.id == found.columns.layout.id


def test_the_rows_of_both_formats_are_the_same_objects() -> None:
    keys = Keys(1000)
    text = parse(BODY, keys, samples_max=SAMPLES_MAX)
    found = read(ProtobufReader(), delimited(BODY), keys)

    assert all(a.series is b.series for a, b in zip(text.rows, found.rows, strict=True))


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b'i="7"} 2', b'i="7"} 2.25'),
        (b'i="7",le="0.1"} 7', b'i="7",le="0.1"} 8'),
        (b'i="7",le="0.1"} 7', b'i="7",le="0.1"} 300'),  # a longer varint
        (b'i="7",le="0.1"} 7', b'i="7",le="0.1"} 11'),  # a falling bucket
    ],
)
def test_other_numbers_are_no_reason_to_begin_anew(
    was: bytes, now: bytes, from_the_beginning: list[bytes]
) -> None:
    reader, keys = ProtobufReader(), Keys(10_000)
    read(reader, delimited(HISTOGRAMS), keys)
    from_the_beginning.clear()
    text = HISTOGRAMS.replace(was, now)

    found = read(reader, delimited(text), keys)

    assert [] == from_the_beginning
    assert str(parse(text, Keys(10_000), samples_max=SAMPLES_MAX).rows) == str(found.rows)


def test_a_count_that_grows_is_no_reason_to_begin_anew(from_the_beginning: list[bytes]) -> None:
    reader, keys = ProtobufReader(), Keys(10_000)
    for count in (5, 1_000_000, 7):
        found = read(reader, body_of([family("h", 4, histogram(count, (1.0, 5)))]), keys)
        assert (5, count - 5) == found.rows[0].buckets
    assert 1 == len(from_the_beginning)


def test_a_count_that_needs_more_bytes_is_not_left_to_the_decoder(decoded: list[bytes]) -> None:
    reader, keys = ProtobufReader(), Keys(10_000)
    read(reader, body_of([family("h", 4, *map(grown, range(20)))]), keys)
    for more in (1, 100, 101):
        decoded.clear()
        metrics = [grown(i, 5 * more if i == 7 else more) for i in range(20)]
        body = body_of([family("h", 4, *metrics)])
        read(reader, body, keys)
        assert [] == decoded
        assert_same(reader, body, keys)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Metrics of bodies that repeat others which are decoded nevertheless."""
    found: list[bytes] = []

    def noted(kind: Kind, metric: bytes) -> Told:
        found.append(metric)
        return told(kind, metric)

    monkeypatch.setattr(repeated, "told", noted)
    return found


def grown(i: int, more: int = 0) -> Any:
    return histogram(3 + more, (0.1, 1 + more), (0.5, 2 + more), i=str(i))


def test_a_process_that_began_anew_is_decoded_once(
    from_the_beginning: list[bytes], decoded: list[bytes]
) -> None:
    reader, keys = ProtobufReader(), Keys(10_000)
    read(reader, delimited(HISTOGRAMS), keys)
    from_the_beginning.clear()
    for sum_of_all, expected in ((2, 20), (3, 0)):
        metrics = []
        for i in range(20):
            one = histogram(i + 4, (0.1, i + 1), i=str(i))
            one.histogram.sample_sum = sum_of_all
            one.histogram.created_timestamp.seconds = 1_800_000_000
            metrics.append(one)
        later = body_of([family("h", 4, *metrics)])
        decoded.clear()
        read(reader, later, keys)
        assert (expected, 0) == (len(decoded), len(from_the_beginning))
        assert_same(reader, later, keys)
        from_the_beginning.clear()


def test_what_the_decoder_reads_otherwise_is_always_left_to_it(decoded: list[bytes]) -> None:
    """Of a value given twice the last counts; Go's encoder never writes that."""
    reader, keys = ProtobufReader(), Keys(100)
    for value in (1.0, 2.0, 3.0):
        one = metric(verb="GET")
        one.gauge.value = value
        twice = one.SerializeToString()
        last = b"\x09" + struct.pack("<d", 7.0)
        twice = twice[:-10] + bytes([18]) + twice[-9:] + last
        message = b"\x0a\x01g\x18\x01\x22" + length(len(twice)) + twice
        body = length(len(message)) + message
        assert [7.0] == [row.value for row in read(reader, body, keys).rows]
    assert 2 == len(decoded)


def test_exemplars_and_a_bucket_without_bound_are_read_one_by_one(
    from_the_beginning: list[bytes],
) -> None:
    keys = Keys(10_000)
    reader = ProtobufReader()
    for count in (4, 5, 6):
        one = histogram(count, (0.1, 2), (math.inf, count), verb="GET")
        # An exemplar is field 3 of a bucket, which the classes leave out.
        bucket = one.histogram.bucket[0].SerializeToString() + b"\x1a\x09\x11" + bytes(8)
        other = metric(verb="PUT")
        other.MergeFromString(
            b"\x3a" + length(13 + len(bucket)) + b"\x08\x03\x11" + bytes(8) + b"\x1a"
            + length(len(bucket)) + bucket
        )  # fmt: skip
        body = body_of([family("h", 4, one, other)])
        found = read(reader, body, keys)
        assert [(2, count - 2), (2, 1)] == [row.buckets for row in found.rows]
    assert 1 == len(from_the_beginning)


def test_classic_buckets_count_where_native_ones_stand_beside_them() -> None:
    one = histogram(4, (0.1, 2))
    one.histogram.schema = 3
    alone = histogram(7, verb="GET")
    alone.histogram.schema = 3
    found = read(ProtobufReader(), body_of([family("h", 4, one, alone)]))

    assert [(2, 2), (7,)] == [row.buckets for row in found.rows]
    assert [4, 7] == [row.count for row in found.rows]
    assert (1, 7) == (found.natives, found.samples)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([family("g", 5, metric())], "type 5"),
        ([family("g", 1, metric())], "without a value of type gauge"),
        ([family("h", 4, histogram(1, (math.nan, 1)))], "not a number"),
        ([family("h", 4, histogram(1, (1.0, 1), le="1"))], "label le on a whole histogram"),
        ([family("good", 0, metric())], "of type 0, and was of another"),
    ],
)
def test_what_cannot_be_read_is_counted_and_named(messages: list[Any], why: str) -> None:
    good = metric(verb="GET")
    good.gauge.value = 3
    found = read(ProtobufReader(), body_of([family("good", 1, good), *messages]))

    assert (1, 1) == (found.samples, found.unreadable)
    assert why in found.example


def test_a_label_twice_is_refused() -> None:
    one = metric(verb="GET")
    one.label.add(name=b"verb", value=b"PUT")
    one.gauge.value = 1
    found = read(ProtobufReader(), body_of([family("g", 1, one)]))

    assert (0, 1) == (found.samples, found.unreadable)
    assert "label verb twice" in found.example


def test_a_metric_given_again_counts_once() -> None:
    one = histogram(4, (0.1, 2))
    found = read(ProtobufReader(), body_of([family("h", 4, one, one)]))

    assert (1, 4, 4) == (len(found.rows), found.samples, found.duplicates)


def test_counts_that_no_float_holds_are_exact() -> None:
    reader, keys = ProtobufReader(), Keys(1000)
    for count in (5, 2**53 + 1, 2**53 + 3, 7):
        found = read(reader, body_of([family("h", 4, histogram(count, (1.0, 5)))]), keys)
        assert count == found.rows[0].count


def test_a_limit_of_samples_keeps_whole_metrics() -> None:
    body = delimited(HISTOGRAMS)
    found = ProtobufReader().read(body, Keys(1000), samples_max=9)

    assert (True, 8, 2) == (found.more, found.samples, len(found.rows))


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"<html><body>sign in here, please; this is a page of another kind", Outcome.MALFORMED),
        (b"\xff" * 40, Outcome.MALFORMED),
        (b"", Outcome.TRUNCATED),
        (delimited(BODY)[:-1], Outcome.TRUNCATED),
        (b"\x02\x18\x01", Outcome.MALFORMED),  # no name
    ],
)
def test_what_is_no_exposition_has_an_outcome(body: bytes, outcome: Outcome) -> None:
    found = read(ProtobufReader(), body)

    assert outcome is of_body(found, body_bytes=len(body), whole=True).outcome


def test_a_small_body_cut_at_every_byte() -> None:
    body, keys = delimited(BODY), Keys(1000)
    whole = read(ProtobufReader(), body, keys)
    reader = ProtobufReader()
    for end in range(len(body)):
        assert_same(reader, body, keys)
        assert_same(reader, body[:end], keys)
        found = read(ProtobufReader(), body[:end], keys)
        assert str(whole.rows).startswith(str(found.rows)[:-1].rstrip(","))


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "drop"]),
        st.integers(0, 100_000),
        st.binary(min_size=1, max_size=3),
    ),
    max_size=3,
)


@settings(deadline=None, max_examples=800)
@given(st.lists(EDITS, min_size=1, max_size=5))
def test_whatever_comes_is_read_as_if_it_were_the_first(
    bodies: list[list[tuple[str, int, bytes]]],
) -> None:
    reader, keys = ProtobufReader(), Keys(10_000)
    first = delimited(HISTOGRAMS + BODY.replace(b"h_", b"hh_").replace(b" h ", b" hh "))
    assert_same(reader, first, keys)
    for edits in bodies:
        body = first
        for kind, place, piece in edits:
            at = place % (len(body) + 1)
            kept = at + (0 if kind == "insert" else len(piece))
            body = body[:at] + (b"" if kind == "drop" else piece) + body[kept:]
        assert_same(reader, body, keys)


@pytest.mark.parametrize("server", ["apiserver1", "apiserver2"])
def test_captures_of_one_moment_have_one_layout(server: str) -> None:
    """The two were asked for within a second: what moves in that time differs, nothing else."""
    folder = fixtures.folder() / "cluster" / "metrics" / "load-formats"
    bodies = {
        ending: gzip.decompress((folder / f"{server}-0000.{ending}.gz").read_bytes())
        for ending in ("txt", "pb")
    }
    keys = Keys(1_000_000)
    text = TextReader().read(bodies["txt"], keys, samples_max=SAMPLES_MAX)
    found = read(ProtobufReader(), bodies["pb"], keys)

    assert (text.samples, 0, 0) == (found.samples, found.unreadable, found.duplicates)
    assert text.columns.layout.id == found.columns.layout.id
    assert text.columns.layout.bounds == found.columns.layout.bounds
    rows = [*zip(text.rows, found.rows, strict=True)]
    assert all(a.series is b.series for a, b in rows)
    assert 0.9 < sum(str(a) == str(b) for a, b in rows) / len(rows)
    kinds = {a.series.kind for a, b in rows if str(a) == str(b)}
    assert kinds >= {Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Kind.SUMMARY}
