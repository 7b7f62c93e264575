"""Every example of every record decodes, and a release decodes the examples of the one before."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.arrow import decode_indicators, decode_scrape
from schemas.codec import decode, encode
from schemas.errors import DecodeError
from schemas.published import PUBLISHED, file_name, schema_text
from schemas.records import Alert, LogBatch
from schemas.topics import TopicName, registry

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
EXAMPLES = sorted((SCHEMAS / "examples").rglob("*.json"))
ARROW = sorted((SCHEMAS / "examples").rglob("*.arrow"))


def test_every_record_of_the_registry_has_examples() -> None:
    missing = [
        topic
        for topic, entry in registry().items()
        if not list((SCHEMAS / "examples" / topic / f"v{entry.version}").glob("*"))
        and topic not in {TopicName.DEAD_LETTERS, TopicName.AUDIT}  # not ours
        and topic not in {TopicName.STATE, TopicName.TARGETS}  # known to one stage only
    ]
    assert [] == missing


@pytest.mark.parametrize(
    "file", EXAMPLES, ids=lambda file: f"{file.parent.parent.name}-{file.stem}"
)
def test_a_json_example_survives_decoding_and_encoding(file: Path) -> None:
    topic = TopicName(file.parent.parent.name)
    if topic not in PUBLISHED:
        pytest.importorskip("pyarrow")  # the description beside an Arrow example, read below
        return
    record = decode(file.read_bytes(), PUBLISHED[topic])
    again = json.loads(encode(record))
    for field, value in json.loads(file.read_text()).items():
        assert value == again[field]


@pytest.mark.parametrize("file", ARROW, ids=lambda file: f"{file.parent.parent.name}-{file.stem}")
def test_an_arrow_example_holds_what_its_description_says(file: Path) -> None:
    decoders: dict[str, Any] = {"scrapes": decode_scrape, "indicators": decode_indicators}
    frame = decoders[file.parent.parent.name](file.read_bytes())
    description = json.loads(file.with_suffix(".json").read_text())
    assert description["rows"] == frame.rows.to_pylist()
    envelope = msgspec.to_builtins(frame.envelope)
    assert description["envelope"] == {k: envelope[k] for k in description["envelope"]}


@pytest.mark.parametrize("topic", PUBLISHED)
def test_published_schemas_equal_the_structs(topic: TopicName) -> None:
    file = SCHEMAS / "published" / file_name(topic)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(schema_text(topic))
    assert schema_text(topic) == file.read_text()


def test_what_cannot_be_read_says_where_it_is_wrong() -> None:
    value = b'{"cluster":"a","job":"etcd","instance":"i","lines":[{"ts_ms":"soon"}]}'
    with pytest.raises(DecodeError, match=r"\$\.lines\[0\]\.ts_ms"):
        decode(value, LogBatch)


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[" * 100_000, b"{}"])
def test_garbage_is_a_decode_error(value: bytes | None) -> None:
    with pytest.raises(DecodeError):
        decode(value, Alert)
