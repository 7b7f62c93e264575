"""A body is read as what its content type says it is."""

import pytest

from producers.core.formats import BodyReader, is_protobuf
from producers.core.keys import Keys
from tests.delimited import delimited
from tests.unit.producers.test_text import BODY

PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (PROTOBUF, True),
        (PROTOBUF.upper().replace("PROTO=IO.PROMETHEUS.CLIENT.METRICFAMILY", "")
         + 'proto="io.prometheus.client.MetricFamily"', False),
        (PROTOBUF + "; escaping=underscores", True),
        (PROTOBUF.replace("=delimited", "=compact-text"), False),
        (PROTOBUF.replace("MetricFamily", "Other"), False),
        ("application/vnd.google.protobuf", False),
        ("text/plain; version=0.0.4; charset=utf-8; escaping=values", False),
        ("text/html", False),
        ("", False),
        (";;;", False),
    ],
)  # fmt: skip
def test_only_the_delimited_format_is_protobuf(content_type: str, expected: bool) -> None:
    assert expected is is_protobuf(content_type)


def test_a_server_may_change_its_format() -> None:
    reader, keys = BodyReader(), Keys(1000)
    said = [
        reader.read(body, content_type, keys, samples_max=1000)
        for body, content_type in [
            (BODY, "text/plain; version=0.0.4"),
            (delimited(BODY), PROTOBUF),
            (BODY, "text/plain; version=0.0.4; of=another; kind"),
            (BODY, ""),
        ]
    ]
    assert 1 == len({found.columns.layout.id for found in said})
    assert 1 == len({str(found.rows) for found in said})
