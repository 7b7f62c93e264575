"""The text format is read exactly, line by line; each trap of the format is one test."""

import math

import pytest

from producers.core.exposition import LINE_BYTES_MAX, Exposition, parse
from producers.core.keys import Keys
from producers.core.rows import Row
from producers.core.text import TextReader
from schemas.records import Kind
from schemas.series import CORE_LABELS, parse_labels, series_id

HISTOGRAM = """# TYPE h histogram
h_bucket{verb="GET",le="0.005"} 1
h_bucket{verb="GET",le="1e+06"} 4
h_bucket{verb="GET",le="+Inf"} 6
h_sum{verb="GET"} 2.5
h_count{verb="GET"} 6
"""
SUMMARY = """# TYPE s summary
s{quantile="0.5"} 0.1
s{quantile="0.99"} NaN
s_sum 12
s_count 3
"""


def read(text: str | bytes, keys: Keys | None = None, *, samples_max: int = 1000) -> Exposition:
    body = text.encode() if isinstance(text, str) else text
    return parse(body, keys or Keys(1000), samples_max=samples_max)


def labels(row: Row) -> dict[str, str]:
    core = dict(zip(CORE_LABELS, row.series.core, strict=True))
    return {k: v for k, v in core.items() if v} | parse_labels(row.series.labels)


def one(text: str | bytes) -> Row:
    found = read(text)
    assert (1, 0) == (len(found.rows), found.unreadable), found
    return found.rows[0]


@pytest.mark.parametrize(
    ("line", "name", "expected", "value"),
    [
        ("x 1", "x", {}, 1.0),
        ("x{} 1", "x", {}, 1.0),
        ('x{a="b"} 1', "x", {"a": "b"}, 1.0),
        ('x{a="b",} 1', "x", {"a": "b"}, 1.0),
        ('  x \t { a = "b" , c = "d" } \t 1  ', "x", {"a": "b", "c": "d"}, 1.0),
        ('x{a="b"}1', "x", {"a": "b"}, 1.0),
        ("x\t1", "x", {}, 1.0),
        ("x 1 1700000000000", "x", {}, 1.0),
        ('x{a="b"} 1 -5', "x", {"a": "b"}, 1.0),
        ('x{a="} 5,"} 1', "x", {"a": "} 5,"}, 1.0),
        ('x{a="X:nocoverageredesign b"} 1', "x", {"a": "X:nocoverageredesign b"}, 1.0),
        (r'x{a="q\"\\\n"} 1', "x", {"a": 'q"\\\n'}, 1.0),
        (r'x{a="\d"} 1', "x", {"a": r"\d"}, 1.0),
        ('x{a="",b="c"} 1', "x", {"b": "c"}, 1.0),
        ('x{a="é"} 1', "x", {"a": "é"}, 1.0),
        ("x:y_9 +Inf", "x:y_9", {}, math.inf),
        ('{"my.metric",a="b"} 1', "my.metric", {"a": "b"}, 1.0),
        ('{"my.metric"} 1', "my.metric", {}, 1.0),
        ('x{"my.label"="b"} 1', "x", {"my.label": "b"}, 1.0),
    ],
)
def test_a_sample_is_read(line: str, name: str, expected: dict[str, str], value: float) -> None:
    row = one(line + "\n")
    assert (name, expected, value) == (row.series.metric, labels(row), row.value)
    assert series_id(name, expected) == row.series.id
    assert row.series.kind is Kind.UNTYPED


@pytest.mark.parametrize(
    "line",
    [
        "x",
        'x{a="b"}',
        'x{a="b"} ',
        "1x 1",
        "x{a=b} 1",
        'x{a="b} 1',
        'x{a="b"c="d"} 1',
        "x{,} 1",
        'x{a="b",,} 1',
        "x{a} 1",
        'x{"y"} 1',
        'x{a="1",a="2"} 1',
        'x{__name__="y"} 1',
        "x 1_000",
        "x 0x10",
        "x 1e999",
        "x one",
        "x 1 2 3",
        "x 1 2.5",
        'x 1 # {trace="1"} 1',
        "<html>",
        f'x{{a="{"y" * LINE_BYTES_MAX}"}} 1',
    ],
)
def test_a_line_that_prometheus_refuses_is_counted_and_the_others_stay(line: str) -> None:
    found = read(f"a 1\n{line}\nb 2\n")
    assert (1, 2) == (found.unreadable, found.samples)
    assert ["a", "b"] == [row.series.metric for row in found.rows]
    assert line[:20] in found.example


def test_a_line_is_refused_warm_as_it_is_cold() -> None:
    keys = Keys(1000)
    assert 0 == read("x 1\n", keys).unreadable
    for value in (b"1_0", b"\xd9\xa1", b"1\x0b", b"", b"1e999", b"0x1"):
        assert 1 == read(b"x " + value + b"\n", keys).unreadable


def test_comments_help_and_blank_lines_say_nothing() -> None:
    body = '# HELP x has \\n and { " in it\n#\n# anything\n\n\t\n#TYPE\nx 1\n# EOF\n'
    assert 1.0 == one(body).value


@pytest.mark.parametrize("kind", ["counter", "gauge", "untyped"])
def test_the_type_is_the_servers(kind: str) -> None:
    row = one(f"# HELP x y\n# TYPE x {kind}\nx 1\n")
    assert (kind, "x") == (row.series.kind, row.series.metric)


def test_names_are_never_changed() -> None:
    found = read("# TYPE a counter\na 1\n# TYPE b_total counter\nb_total 2\n")
    assert ["a", "b_total"] == [row.series.metric for row in found.rows]


@pytest.mark.parametrize(
    "body",
    ["# TYPE x gauge\n# TYPE x counter\nx 1\n", "# TYPE x gauge\nx 1\n# TYPE x counter\n"],
    ids=["twice", "after its samples"],
)
def test_a_type_counts_once_and_before_its_samples(body: str) -> None:
    found = read(body)
    assert (1, Kind.GAUGE) == (found.unreadable, found.rows[0].series.kind)


def test_an_unknown_type_leaves_the_metric_untyped() -> None:
    found = read("# TYPE x stateset\nx 1\n")
    assert (1, Kind.UNTYPED) == (found.unreadable, found.rows[0].series.kind)


def test_a_histogram_is_one_row_with_counts_per_bucket() -> None:
    row = one(HISTOGRAM)
    assert ("h", Kind.HISTOGRAM, {"verb": "GET"}) == (
        row.series.metric,
        row.series.kind,
        labels(row),
    )
    assert (2.5, 6, (1, 3, 2), "0.005,1e+06") == (row.value, row.count, row.buckets, row.bounds)
    assert series_id("h", {"verb": "GET"}) == row.series.id


def test_buckets_in_any_order_are_the_same_row() -> None:
    head, *samples = HISTOGRAM.splitlines(keepends=True)
    turned = one(head + "".join(reversed(samples)))
    assert one(HISTOGRAM).buckets == turned.buckets
    assert one(HISTOGRAM).bounds == turned.bounds


@pytest.mark.parametrize("spelled", ["1e+06", "1000000", "1000000.0", "1E6"])
def test_bounds_are_printed_alike_however_they_were_spelled(spelled: str) -> None:
    assert one(HISTOGRAM).bounds == one(HISTOGRAM.replace("1e+06", spelled)).bounds


def test_a_bound_is_found_wherever_it_stands_among_the_labels() -> None:
    body = '# TYPE h histogram\nh_bucket{le="1",a="x,le="} 1\nh_bucket{a="x,le=",le="+Inf"} 2\n'
    row = one(body)
    assert ((1, 1), {"a": "x,le="}) == (row.buckets, labels(row))


def test_a_falling_bucket_is_kept_negative_and_counted() -> None:
    found = read(HISTOGRAM.replace('le="1e+06"} 4', 'le="1e+06"} 0'))
    assert ((1, -1, 6), 1) == (found.rows[0].buckets, found.negative)


def test_a_missing_last_bucket_is_read_off_the_count() -> None:
    lines = [line for line in HISTOGRAM.splitlines(keepends=True) if "+Inf" not in line]
    assert (1, 3, 2) == one("".join(lines)).buckets


def test_a_histogram_without_buckets_has_one_that_holds_all() -> None:
    row = one("# TYPE h histogram\nh_sum 3\nh_count 2\n")
    assert ((2,), "", 2, 3.0) == (row.buckets, row.bounds, row.count, row.value)


@pytest.mark.parametrize(
    ("was", "now", "buckets", "count"),
    [
        ('le="1e+06"} 4', 'le="1e+06"} 4.75', (1, 3, 2), 6),
        ('h_count{verb="GET"} 6', 'h_count{verb="GET"} 6.5', (1, 3, 2), 6),
        ('h_bucket{verb="GET",le="+Inf"} 6\n', "", (1, 3, 2), 6),
    ],
)
def test_counts_are_whole_and_what_they_lose_is_counted(
    was: str, now: str, buckets: tuple[int, ...], count: int
) -> None:
    body, reader, keys = HISTOGRAM.replace(was, now).encode(), TextReader(), Keys(1000)
    reader.read(HISTOGRAM.encode(), keys, samples_max=1000)
    for _ in range(2):  # after a whole one, and after itself
        found = reader.read(body, keys, samples_max=1000)
        row = found.rows[0]
        assert (buckets, count, int("." in now)) == (row.buckets, row.count, found.inexact)


def test_a_histogram_whose_count_nobody_told_is_counted() -> None:
    lines = HISTOGRAM.splitlines(keepends=True)
    found = read("".join(line for line in lines if "+Inf" not in line and "count" not in line))
    assert ((1, 3, 0), 4, 1) == (found.rows[0].buckets, found.rows[0].count, found.inexact)


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ('# TYPE s summary\ns{quantile="0.5"} 1\n', 's_sum{quantile="0.5"} 1'),
        ('# TYPE s summary\ns{quantile="0.5"} 1\n', 's_count{a="b",quantile="0.5"} 1'),
        ('# TYPE h histogram\nh_bucket{le="+Inf"} 1\n', 'h_sum{le="1"} 1'),
    ],
)
def test_a_whole_one_has_not_the_label_of_its_parts(head: str, line: str) -> None:
    found = read(f"{head}{line}\n")
    assert (1, 1, 1) == (found.samples, found.unreadable, len(found.rows))
    assert f"{line}: label " in found.example


@pytest.mark.parametrize(
    "line",
    [
        'h_bucket{le="x"} 1',
        "h_bucket 1",
        "h 1",
        "h_count -1",
        'h_bucket{le="2"} NaN',
        "h_count Inf",
    ],
)
def test_what_is_no_part_of_a_histogram_is_refused(line: str) -> None:
    found = read(HISTOGRAM.replace('h_count{verb="GET"} 6\n', "") + line + "\n")
    assert (1, (1, 3, 2)) == (found.unreadable, found.rows[0].buckets)


def test_a_summary_is_one_row_and_a_gauge_per_quantile() -> None:
    low, high, total = read(SUMMARY).rows
    assert (Kind.SUMMARY, 12.0, 3, None) == (
        total.series.kind,
        total.value,
        total.count,
        total.buckets,
    )
    assert [{"quantile": "0.5"}, {"quantile": "0.99"}] == [labels(low), labels(high)]
    assert ["s", "s", "s"] == [row.series.metric for row in (low, high, total)]
    assert Kind.GAUGE is low.series.kind
    assert math.isnan(high.value)


def test_without_a_type_nothing_is_folded() -> None:
    found = read("".join(HISTOGRAM.splitlines(keepends=True)[1:]))
    assert {Kind.UNTYPED} == {row.series.kind for row in found.rows}
    assert 5 == len(found.rows)


def test_a_name_with_a_suffix_of_its_own_is_its_own_family() -> None:
    found = read("# TYPE x histogram\n# TYPE x_count gauge\nx_count 3\nx_sum 1\n")
    assert ["x_count", "x"] == [row.series.metric for row in found.rows]


def test_rows_stand_in_the_order_of_the_exposition_though_families_are_mixed() -> None:
    found = read(f'z 1\n{HISTOGRAM}a 2\nh_sum{{verb="PUT"}} 1\nz{{a="b"}} 3\n')
    assert ["z", "h", "a", "h", "z"] == [row.series.metric for row in found.rows]


@pytest.mark.parametrize(
    "again",
    ['x{a="b",c="d"} 2', 'x{c="d",a="b"} 2', 'x{a="b",c="d",e=""} 2'],
    ids=["same bytes", "other order", "an empty label"],
)
def test_of_a_sample_given_twice_the_first_counts(again: str) -> None:
    found = read(f'x{{a="b",c="d"}} 1\n{again}\n')
    assert (1, 1, 1.0) == (found.duplicates, found.samples, found.rows[0].value)


def test_a_bucket_given_twice_counts_once() -> None:
    found = read(HISTOGRAM + 'h_bucket{verb="GET",le="0.0050"} 5\nh_count{verb="GET"} 9\n')
    assert (2, (1, 3, 2), 6) == (found.duplicates, found.rows[0].buckets, found.rows[0].count)


def test_lines_may_end_in_crlf() -> None:
    assert read(HISTOGRAM).rows[0].buckets == read(HISTOGRAM.replace("\n", "\r\n")).rows[0].buckets


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert {"a": "\ufffd"} == labels(one(b'x{a="\xff"} 1\n'))


def test_a_last_line_without_its_end_is_not_believed() -> None:
    found = read("x 12345\ny 123")
    assert (["x"], True) == ([row.series.metric for row in found.rows], found.cut)


def test_warm_and_cold_scrapes_say_the_same() -> None:
    keys = Keys(1000)
    first, again = (read(HISTOGRAM + SUMMARY + "x 1\n", keys) for _ in range(2))
    assert [row.series for row in first.rows] == [row.series for row in again.rows]
    assert str(first) == str(again)


def test_a_changed_type_is_read_anew() -> None:
    keys = Keys(1000)
    read("# TYPE x gauge\nx 1\n", keys)
    assert Kind.COUNTER is read("# TYPE x counter\nx 1\n", keys).rows[0].series.kind


def test_past_its_maximum_the_memory_of_keys_begins_anew() -> None:
    keys = Keys(1)
    read("a 1\nb 1\n", keys)
    assert keys.trim()
    assert not keys.trim()
    assert ["a"] == [row.series.metric for row in read("a 1\n", keys).rows]


def test_past_the_maximum_of_samples_the_half_read_histogram_is_left_out() -> None:
    found = read("a 1\n" + HISTOGRAM, samples_max=3)
    assert (True, ["a"]) == (found.more, [row.series.metric for row in found.rows])


def test_of_a_body_that_the_caller_cut_the_last_histogram_is_left_out() -> None:
    body = ("a 1\n" + HISTOGRAM).encode()[:-30]
    found = parse(body, Keys(1000), samples_max=1000, whole=False)
    assert ["a"] == [row.series.metric for row in found.rows]


@pytest.mark.parametrize(
    "body",
    [
        "<!DOCTYPE html>\n<html>x 1\n</html>\n",
        "<html>no line end",
        '{"kind":"Status","code":403}',
        '{"kind":"Status"}\n',
        "upstream connect error or disconnect",
        "404 page not found\n",
        "a 1\n<b>\n<c>\n",
    ],
)
def test_another_page_is_malformed(body: str) -> None:
    assert read(body).malformed


@pytest.mark.parametrize("end", range(len("# TYPE x gauge\n" + 'x{a="b"} 1\n')))
def test_an_exposition_cut_anywhere_is_not_taken_for_another_page(end: int) -> None:
    whole = "# TYPE x gauge\n" + 'x{a="b"} 1\n'
    assert not read(whole[:end]).malformed
    assert not read(whole[len("# TYPE x gauge\n") :][:end]).malformed
