"""Numbers are read and printed as Go's strconv does."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.core.numbers import format_float, parse_float

# What Go 1.22 prints for strconv.FormatFloat(x, 'g', -1, 64).
PRINTED = [
    (0.0, "0"),
    (-0.0, "-0"),
    (1.0, "1"),
    (60.0, "60"),
    (0.005, "0.005"),
    (0.0001, "0.0001"),
    (0.00001, "1e-05"),
    (1.5e-7, "1.5e-07"),
    (123456.0, "123456"),
    (999999.5, "999999.5"),
    (1e6, "1e+06"),
    (1048576.0, "1.048576e+06"),
    (1.7e9, "1.7e+09"),
    (1e100, "1e+100"),
    (5e-324, "5e-324"),
    (-2.5, "-2.5"),
    (math.inf, "+Inf"),
    (-math.inf, "-Inf"),
]
REFUSED = ("", "1_000", "0x10", "0x1p-2", "1e999", "-1e999", ".", "e5", "+nan", "1,5", " 1", "1\r")


@pytest.mark.parametrize(("value", "text"), PRINTED)
def test_numbers_are_printed_as_go_prints_them(value: float, text: str) -> None:
    assert text == format_float(value)


@given(st.floats(allow_nan=False))
def test_a_printed_number_reads_as_itself(value: float) -> None:
    read = parse_float(format_float(value).encode())
    assert read is not None
    assert struct.pack("<d", value) == struct.pack("<d", read)


@pytest.mark.parametrize("text", REFUSED)
def test_what_go_refuses_is_no_number(text: str) -> None:
    assert parse_float(text.encode()) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("+1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1.234567e+06", 1234567.0),
        ("1E3", 1000.0),
        ("1e-999", 0.0),
        ("Inf", math.inf),
        ("+Inf", math.inf),
        ("-inf", -math.inf),
        ("infinity", math.inf),
    ],
)
def test_what_go_reads_is_a_number(text: str, value: float) -> None:
    assert value == parse_float(text.encode())


@pytest.mark.parametrize("text", ["NaN", "nan", "NAN"])
def test_not_a_number_is_a_value(text: str) -> None:
    read = parse_float(text.encode())
    assert read is not None
    assert math.isnan(read)
