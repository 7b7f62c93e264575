"""A body is read as what its content type says it is."""

from functools import cache

import pytest

from producers.core import formats
from producers.core.bounded import counted
from producers.core.exposition import Exposition, parse
from producers.core.families import Families
from producers.core.formats import BodyReader, is_protobuf
from producers.core.keys import Keys
from producers.core.outcomes import of_body
from producers.core.pieces import text_pieces
from producers.core.rows import Row
from producers.core.worth import ALERTS
from schemas.records import Outcome
from tests import fixtures
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


# --- too many series -----------------------------------------------------------------------------

KEYS_MAX = 1_000_000
TEXT = "text/plain; version=0.0.4"


def capture() -> dict[str, bytes]:
    text = fixtures.metrics("1_35-api-server")
    return {TEXT: text, PROTOBUF: delimited(text)}


@cache
def everything() -> Exposition:
    return parse(capture()[TEXT], Keys(KEYS_MAX), samples_max=KEYS_MAX)


def by_family(found: Exposition) -> dict[str, str]:
    rows: dict[str, list[Row]] = {}
    for row in found.rows:
        rows.setdefault(row.series.metric, []).append(row)
    return {name: str(each) for name, each in rows.items()}


@pytest.mark.parametrize("limit", [1, 100, 5_000, 15_000, 22_000])
def test_of_too_many_series_both_formats_give_the_same_whole_families(limit: int) -> None:
    keys = Keys(KEYS_MAX)
    found = {
        content_type: BodyReader().read(body, content_type, keys, samples_max=limit)
        for content_type, body in capture().items()
    }
    text, protobuf = found[TEXT], found[PROTOBUF]
    assert by_family(text) == by_family(protobuf)
    assert text.left_out == protobuf.left_out
    whole = by_family(everything())
    assert by_family(text).items() <= whole.items()
    assert set(whole) - set(by_family(text)) == {name for name, _ in text.left_out}
    assert text.samples <= limit
    assert everything().samples == text.samples + sum(samples for _, samples in text.left_out)
    said = of_body(text, body_bytes=1, whole=True)
    assert Outcome.TOO_BIG is said.outcome
    biggest = max(samples for _, samples in text.left_out)
    assert f"kept {text.samples} series (series_max), left out " in said.reason
    assert f" {biggest}" in said.reason


def test_what_alerts_stand_on_survives_the_rest() -> None:
    here = {row.series.metric for row in everything().rows}
    alerts = here & ALERTS
    needed = sum(counted(text_pieces(capture()[TEXT]))[one] for one in alerts)
    assert len(alerts) > 30 and needed < everything().samples * 0.7
    found = BodyReader().read(
        capture()[TEXT], TEXT, Keys(KEYS_MAX), samples_max=needed * 10 // 9 + 2
    )
    assert alerts <= set(by_family(found))
    assert not {name for name, _ in found.left_out} & ALERTS


@pytest.mark.parametrize("content_type", [TEXT, PROTOBUF])
def test_what_is_kept_of_a_body_that_repeats_itself_is_compared_and_not_read_anew(
    content_type: str,
) -> None:
    reader, keys = BodyReader(), Keys(KEYS_MAX)
    body = capture()[content_type]
    first, second = (reader.read(body, content_type, keys, samples_max=15_000) for _ in range(2))
    assert first.columns.layout is second.columns.layout
    assert first.left_out == second.left_out
    assert second.more


@pytest.mark.parametrize("content_type", [TEXT, PROTOBUF])
def test_a_body_that_shrank_is_read_as_a_whole_again(content_type: str) -> None:
    reader, keys = BodyReader(), Keys(1000)

    def read(series: int) -> Exposition:
        text = b"# TYPE a gauge\n" + b"".join(b'a{n="%d"} 1\n' % n for n in range(series))
        text += b"# TYPE b gauge\nb 1\n"
        body = text if content_type == TEXT else delimited(text)
        return reader.read(body, content_type, keys, samples_max=100)

    assert (100, False, ()) == (read(99).samples, read(99).more, read(99).left_out)
    assert (1, True, (("a", 100),)) == (read(100).samples, read(100).more, read(100).left_out)
    assert (1, True) == (read(95).samples, read(95).more), "it might grow again at once"
    assert (90, False, ()) == (read(89).samples, read(89).more, read(89).left_out)


def test_a_body_of_many_pieces_is_cut_again_and_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = b"".join(b"a%d 1\nb 1\n" % n for n in range(50))
    few = BodyReader().read(body, TEXT, Keys(1000), samples_max=60)
    monkeypatch.setattr(formats, "PIECES_MAX", 10)
    many = BodyReader().read(body, TEXT, Keys(1000), samples_max=60)
    assert str(few) == str(many)
    assert few.more
    assert [f"a{n}" for n in range(4, 50)] == [name for name, _ in few.left_out], "54 have room"


def test_what_the_settings_ask_for_is_kept_before_what_nobody_reads() -> None:
    body = b"# TYPE a gauge\n" + b"a 1\n" * 10 + b"# TYPE z gauge\n" + b"z 1\n" * 10
    asked = Families(everything=True, keep=("z*",))
    for families, left_out in ((Families(), "z"), (asked, "a")):
        found = BodyReader(families).read(body, TEXT, Keys(1000), samples_max=15)
        assert ((left_out, 10),) == found.left_out
