"""Values print so that people, spreadsheets and JSON readers take them for what they are."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from sinks.core.cells import in_json, in_table, in_text
from sinks.core.columns import typed

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text", "as_json"),
    [
        (None, "", None),
        ("", "", ""),
        (float("nan"), "NaN", "NaN"),
        (float("inf"), "+Inf", "+Inf"),
        (float("-inf"), "-Inf", "-Inf"),
        (0.1, "0.1", 0.1),
        (2**64 - 1, "18446744073709551615", 2**64 - 1),
        (True, "true", True),
        (MOMENT, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        (MOMENT.replace(microsecond=678_000), "2026-01-02T03:04:05.678Z", None),
        (MOMENT.replace(microsecond=1), "2026-01-02T03:04:05.000001Z", None),
        (date(2026, 1, 2), "2026-01-02", "2026-01-02"),
        (Decimal("1.50"), "1.50", "1.50"),
        (b"caf\xc3\xa9", "café", "café"),
        (b"\xff\x00", "\\xff\x00", "\\xff\x00"),
        (["a", "b,c", None], '["a","b,c",null]', ["a", "b,c", None]),
        ([float("nan")], '["NaN"]', ["NaN"]),
        ({"k": [MOMENT]}, '{"k":["2026-01-02T03:04:05Z"]}', {"k": ["2026-01-02T03:04:05Z"]}),
    ],
    ids=str,
)
def test_a_value_prints_as_what_it_is(value: Any, text: str, as_json: Any) -> None:
    assert text == in_text(value)
    assert (text if as_json is None and value is not None else as_json) == in_json(value)
    json.dumps(in_json(value), allow_nan=False)


def test_a_table_tells_nothing_from_an_empty_text() -> None:
    assert ("NULL", "", "0.333333", "NaN") == tuple(map(in_table, (None, "", 1 / 3, float("nan"))))


def test_columns_that_arrow_knows_as_numbers_get_their_types_back() -> None:
    table = pa.table(
        {
            "at": pa.array([0, None], pa.uint32()),
            "there": pa.array([0, 3600], pa.uint32()),
            "ip": pa.array([0x01020304, None], pa.uint32()),
            "level": pa.array([1, -2], pa.int8()),
            "great": pa.array([(2**100).to_bytes(16, "little"), None], pa.binary(16)),
            "count": pa.array([1, 2], pa.uint32()),
        }
    )
    types = {
        "at": "Nullable(DateTime)",
        "there": "DateTime('Asia/Tokyo')",
        "ip": "IPv4",
        "level": "Enum8('a\\'b' = 1, 'low' = -2)",
        "great": "Nullable(UInt128)",
        "count": "UInt32",
    }
    found = typed(table.to_reader(), types).read_all()
    assert ["timestamp[s, tz=UTC]", "timestamp[s, tz=Asia/Tokyo]"] == [
        str(found.schema.field(name).type) for name in ("at", "there")
    ]
    assert [0, None] == found["at"].cast(pa.int64()).to_pylist()
    assert ["1.2.3.4", None] == found["ip"].to_pylist()
    assert ["a'b", "low"] == found["level"].to_pylist()
    assert [str(2**100), None] == found["great"].to_pylist()
    assert [1, 2] == found["count"].to_pylist()


def test_an_answer_without_rows_keeps_its_columns() -> None:
    empty = pa.table({"at": pa.array([], pa.uint32())})
    found = typed(empty.to_reader(), {"at": "DateTime"}).read_all()
    assert ("timestamp[s, tz=UTC]", 0) == (str(found.schema.field("at").type), found.num_rows)
