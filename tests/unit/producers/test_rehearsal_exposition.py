"""The exposition of a rehearsal is what Go would print, and parsers read back what was meant."""

import gzip
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from producers.rehearsal.exposition import Family, Histogram, Sample, body, go_float


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-2.5, "-2.5"),
        (0.005, "0.005"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (9.999999999999999e-06, "9.999999999999999e-06"),
        (100_000, "100000"),
        (123_456.75, "123456.75"),
        (1e6, "1e+06"),
        (6_270_976, "6.270976e+06"),
        (-1e7, "-1e+07"),
        (1e21, "1e+21"),
        (1.8446744073709552e19, "1.8446744073709552e+19"),
        (0.1 + 0.2, "0.30000000000000004"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_look_as_go_prints_them(value: float, text: str) -> None:
    assert text == go_float(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_as_it_was(value: float) -> None:
    assert value == float(go_float(value))


def test_numbers_of_real_servers_are_printed_as_they_printed_them(shared_fixtures: Path) -> None:
    folder = shared_fixtures / "cluster" / "metrics" / "load"
    for instance in ("apiserver1", "etcd1", "scheduler"):
        text = gzip.decompress((folder / f"{instance}-0000.txt.gz").read_bytes()).decode()
        printed = [line.rpartition(" ")[2] for line in text.splitlines() if line[0] != "#"]

        assert printed == [go_float(float(one)) for one in printed]


def test_a_histogram_is_cumulative_on_the_wire() -> None:
    histogram = Histogram({"verb": "GET"}, (0.1, 1), (2, 0, 3), 4.5)

    lines = body([Family("x_seconds", "histogram", "Help.", [histogram])]).decode().splitlines()

    assert [
        "# HELP x_seconds Help.",
        "# TYPE x_seconds histogram",
        'x_seconds_bucket{verb="GET",le="0.1"} 2',
        'x_seconds_bucket{verb="GET",le="1"} 2',
        'x_seconds_bucket{verb="GET",le="+Inf"} 5',
        'x_seconds_sum{verb="GET"} 4.5',
        'x_seconds_count{verb="GET"} 5',
    ] == lines


@given(st.text())
def test_label_values_are_read_back_as_they_were(value: str) -> None:
    written = body([Family("x", "gauge", "Help.", [Sample({"a": value}, 1)])]).decode()

    (family,) = text_string_to_metric_families(written)
    assert [{"a": value}] == [sample.labels for sample in family.samples]


def test_families_without_members_are_absent_and_the_others_sorted() -> None:
    families = [
        Family("b", "gauge", "B.", [Sample({}, 1)]),
        Family("c", "gauge", "C.", []),
        Family("a", "gauge", "A.", [Sample({}, 1)]),
    ]

    assert ["a", "b"] == [
        one.name for one in text_string_to_metric_families(body(families).decode())
    ]
