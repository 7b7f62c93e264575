"""Kafka's own vectors, and what follows from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.partition import murmur2, partition_of

# org.apache.kafka.common.utils.UtilsTest, as signed 32-bit numbers
VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("data", "expected"), VECTORS.items())
def test_murmur2_equals_kafkas_published_vectors(data: bytes, expected: int) -> None:
    assert expected % 2**32 == murmur2(data)


@given(st.text(max_size=63), st.integers(1, 1000))
def test_a_partition_is_always_one_of_those_that_exist(cluster: str, partitions: int) -> None:
    assert 0 <= partition_of(cluster, partitions) < partitions


def test_a_partition_is_the_non_negative_hash_modulo_their_number() -> None:
    assert (-973932308 & 0x7FFFFFFF) % 24 == partition_of("21", 24)
