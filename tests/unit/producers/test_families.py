"""What is bulk may be left out, and nothing else; the same rows are left out at no cost."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.core.columns import Columns, columns_of
from producers.core.families import ALL, Families, Profiles, is_bulk
from producers.core.kept import Kept
from producers.core.rows import Row, make_series
from schemas.config import load
from schemas.identity import Target
from schemas.records import Kind

NEED, FAMILY, OURS = "apiserver_request_total", "grpc_client_handled_total", "my_own_total"


def row(metric: str, number: int, buckets: int = 0) -> Row:
    kind = Kind.HISTOGRAM if buckets else Kind.COUNTER
    series = make_series(metric, kind, {"n": str(number)})
    bounds = ",".join(str(one) for one in range(buckets))
    counts = tuple(range(number, number + buckets + 1)) if buckets else None
    return Row(series, float(number), number if buckets else None, counts, bounds)


def test_what_nobody_knows_is_kept() -> None:
    assert [False, True, False] == [is_bulk(one) for one in (NEED, FAMILY, OURS)]
    core = Families()
    assert [True, False, True] == [core.keeps(one) for one in (NEED, FAMILY, OURS)]
    assert Families(everything=True).keeps(FAMILY)


def test_bulk_that_is_asked_for_is_kept_by_family_or_by_sample() -> None:
    for glob in ("grpc_client_*", FAMILY, "grpc_client_handled_total_bucket"):
        assert Families(keep=(glob,)).keeps(FAMILY)
    assert not Families(keep=("grpc_server_*",)).keeps(FAMILY)


def test_a_name_says_what_is_kept() -> None:
    assert ALL == Families(everything=True, keep=("a",)).name
    assert "core" == Families().name
    assert "core+a+b" == Families(keep=("b", "a", "b")).name


def test_a_target_may_differ_from_its_cluster(tmp_path: Path) -> None:
    file = tmp_path / "planewatch.yaml"
    file.write_text("""\
clusters:
  - id: c
    families: core
    families_keep: [a_*]
    targets:
      - {job: etcd, instance: i, url: "http://h/", families: all}
      - {job: etcd, instance: j, url: "http://h/", families_keep: [b_*]}
  - id: d
    targets: [{job: etcd, instance: i, url: "http://h/", families: core}]
""")
    profiles = Profiles(load(file, environ={}).settings.clusters)
    names = {
        str(target): profiles.of(target).name
        for target in (
            Target("c", "etcd", "i", "/"),
            Target("c", "etcd", "j", "/"),
            Target("c", "coredns", "found"),
            Target("d", "etcd", "i", "/"),
            Target("d", "coredns", "found"),
        )
    }
    assert {
        "c/etcd/i/": "all",
        "c/etcd/j/": "core+a_*+b_*",
        "c/coredns/found": "core+a_*",
        "d/etcd/i/": "core",
        "d/coredns/found": "all",
    } == names


ROWS = st.lists(
    st.builds(row, st.sampled_from([NEED, FAMILY, OURS]), st.integers(0, 9), st.integers(0, 3)),
    max_size=12,
)


@given(ROWS)
def test_what_is_kept_is_what_would_be_there_alone(rows: Sequence[Row]) -> None:
    kept = Kept(Families()).of(columns_of(rows))
    alone = [one for one in rows if one.series.metric != FAMILY]
    assert tuple(alone) == kept.rows()
    assert columns_of(alone).layout.id == kept.layout.id
    assert columns_of(alone).batch().equals(kept.batch())


def test_the_same_rows_have_the_same_layout_with_other_numbers() -> None:
    rows = [row(NEED, 1), row(FAMILY, 2, 2), row(OURS, 3, 1), row(FAMILY, 4)]
    first = columns_of(rows)
    again = Columns(first.layout, first.values + 1, first.counts, first.buckets + 1)
    kept = Kept(Families())
    one, two = kept.of(first), kept.of(again)
    assert one.layout is two.layout
    assert np.array_equal(one.values + 1, two.values)
    (ours,) = (found for found in two.rows() if found.series.metric == OURS)
    assert (4.0, 3, (4, 5)) == (ours.value, ours.count, ours.buckets)


@pytest.mark.parametrize("families", [Families(everything=True), Families(keep=("grpc_*",))])
def test_where_all_is_kept_columns_stay_the_same_object(families: Families) -> None:
    columns = columns_of([row(NEED, 1), row(FAMILY, 2)])
    assert columns is Kept(families).of(columns)
