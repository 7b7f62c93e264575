"""Every line of a log becomes one LogLine, and templates do not vary with their values."""

import gzip
import json
import time
from collections import Counter
from pathlib import Path

import pytest

from producers.core import loglines
from producers.core.loglines import FIELDS_DEPTH_MAX, log_line, shortened, template
from schemas.codec import encode

READ_MS = 1_795_351_800_000


def test_zap_json_is_taken_apart() -> None:
    raw = (
        '{"level":"warn","ts":"2026-11-22T12:52:29.028591Z","caller":"etcdserver/util.go:183",'
        '"msg":"apply request took too long","took":"151.679711ms"}'
    )

    line = log_line(raw, READ_MS)

    assert 1_795_351_949_028 == line.ts_ms
    assert "warning" == line.level
    assert "apply request took too long" == line.message == line.template
    assert {"caller": "etcdserver/util.go:183", "took": "151.679711ms"} == line.fields
    assert raw == line.raw


def test_old_text_of_etcd_is_taken_apart() -> None:
    line = log_line(
        "2026-11-22 08:13:57.659531 W | etcdserver/api/etcdhttp: /health error", READ_MS
    )

    assert (1_795_335_237_659, "warning") == (line.ts_ms, line.level)
    assert "etcdserver/api/etcdhttp: /health error" == line.message


@pytest.mark.parametrize(
    "raw",
    [
        "panic: runtime error",
        '{"level":"warn","ts":"2026-11-22T12:52:29Z","msg":"cut he',
        "{}",
        "[1, 2]",
        '{"msg": 5}',
        '{"level": {"a": 1}, "ts": [], "msg": null}',
        "{" * 5_000,
        "\ufffd\ufffd\u0000",
    ],
)
def test_a_line_that_is_unknown_is_kept_as_it_is(raw: str) -> None:
    line = log_line(raw, READ_MS)

    assert (raw, raw, "info", READ_MS) == (line.raw, line.message, line.level, line.ts_ms)


@pytest.mark.parametrize("depth", [FIELDS_DEPTH_MAX, 500, 990, 996])
@pytest.mark.parametrize("name", ["level", "ts", "msg", "request"])
@pytest.mark.parametrize("brackets", ["[]", '{"a": }'])
def test_fields_nested_too_deep_are_left_in_the_raw_text(
    brackets: str, name: str, depth: int
) -> None:
    """Some can be read, and not be written again."""
    opened, closed = brackets[:-1], brackets[-1]
    raw = f'{{"level": "warn", "{name}": {opened * depth}1{closed * depth}}}'

    line = log_line(raw, READ_MS)

    assert (raw, raw, {}) == (line.raw, line.message, line.fields)
    assert encode(line)


def test_fields_are_kept_as_deep_as_any_reader_goes() -> None:
    nested = "[" * (FIELDS_DEPTH_MAX - 1) + "]" * (FIELDS_DEPTH_MAX - 1)

    assert list(log_line(f'{{"msg": "x", "deep": {nested}}}', READ_MS).fields) == ["deep"]


@pytest.mark.parametrize(
    ("ts", "expected_ms"),
    [
        ('"2026-11-22T12:52:29.028591Z"', 1_795_351_949_028),
        ('"2026-11-22T13:52:29.028+0100"', 1_795_351_949_028),
        ("1795351949.028591", 1_795_351_949_029),
        ('"yesterday"', READ_MS),
        ("-5", READ_MS),
        ("1e300", READ_MS),
        ("true", READ_MS),
        ("null", READ_MS),
        ('"9999999-01-01"', READ_MS),
        ('"0001-01-01T00:00:00Z"', READ_MS),  # zero in Go
        ('"0001-01-01T00:00:00+14:00"', READ_MS),
        ('"1969-12-31T23:59:59Z"', READ_MS),
        ('"1970-01-01T00:00:00Z"', 0),
        ('"2262-04-11T23:47:16Z"', READ_MS),
        ('"2106-02-07T06:28:16Z"', READ_MS),
        ("4294967295", 4_294_967_295_000),
        ("4294967296", READ_MS),
        ("1795351949028", READ_MS),
    ],
)
def test_a_time_that_cannot_be_read_is_the_time_of_reading(ts: str, expected_ms: int) -> None:
    assert expected_ms == log_line(f'{{"ts":{ts},"msg":"x"}}', READ_MS).ts_ms


@pytest.mark.parametrize(
    ("level", "expected"),
    [("info", "info"), ("warn", "warning"), ("dpanic", "fatal"), ("debug", "debug"), ("?", "info")],
)
def test_levels_have_our_names(level: str, expected: str) -> None:
    assert expected == log_line(json.dumps({"level": level, "msg": "x"}), READ_MS).level


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("8211f1d0f64f3269 became leader at term 4", "<id> became leader at term <n>"),
        ("raft.node: 4b18679706cdfa81 elected leader 4b18679706cdfa81 at term 2",
         "raft.node: <id> elected leader <id> at term <n>"),
        ("trace[1747002672] range", "trace[<n>] range"),
        ("voters=(4334271641058949536 5411188850637535873)", "voters=(<id>)"),
        ("voters=(4334271641058949536)", "voters=(<id>)"),
        ("took 1m30.5s, not 100ms", "took <d>, not <d>"),
        ('failed to read "/var/lib/x 7"', "failed to read <s>"),
        (r'failed to read "a \" 7" 8', "failed to read <s> <n>"),
        (r'failed to read "cut off \" 7', "failed to read <s>"),
        ('failed to read "cut off\\', "failed to read <s>"),
        ('failed to read "two \\\nlines"', "failed to read <s>"),
        ("member v3 of http2 at 10.0.0.1:2379", "member v3 of http2 at <n>:<n>"),
        ("facade decade", "facade decade"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_template_is_what_stays_the_same(message: str, expected: str) -> None:
    assert expected == template(message)


REPEATED = ['\\"', "\\\\", "'", '"', "7", "7.", "7m", "a7"]


@pytest.mark.parametrize("chars_max", [loglines.TEMPLATED_CHARS_MAX, 10**9])
@pytest.mark.parametrize("repeated", REPEATED)
def test_a_template_takes_time_in_proportion_to_the_message(
    repeated: str, chars_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times as long takes ten times the time, not a hundred times; also without a limit."""
    monkeypatch.setattr(loglines, "TEMPLATED_CHARS_MAX", chars_max)
    cut = ['"' + repeated * (chars // len(repeated)) + "x" for chars in (50_000, 500_000)]
    short_s, long_s = (min(_seconds(message) for _ in range(3)) for message in cut)

    assert long_s < 40 * short_s + 0.01


def _seconds(message: str) -> float:
    began_s = time.process_time()
    template(message)
    return time.process_time() - began_s


def test_a_template_ends_where_a_message_becomes_too_long() -> None:
    assert "<s>" == template(f'"{"x" * 5_000}" and more')


def test_a_line_too_big_for_a_record_loses_its_fields_and_its_end() -> None:
    line = log_line(json.dumps({"msg": "m" * 100, "request": "r" * 100}), READ_MS)

    short = shortened(line, 10)

    assert ("m" * 10, {}, line.raw[:10]) == (short.message, short.fields, short.raw)
    assert line.template == short.template


def test_each_line_of_real_members_is_one_line_with_few_templates(shared_fixtures: Path) -> None:
    raw = [
        line
        for member in ("etcd1", "etcd2", "etcd3")
        for line in gzip.decompress(
            (shared_fixtures / "cluster" / "logs" / f"{member}.jsonl.gz").read_bytes()
        )
        .decode()
        .splitlines()
    ]

    lines = [log_line(one, 0) for one in raw]

    assert len(raw) == len(lines) == 5_177
    assert all(line.ts_ms > 0 for line in lines)
    assert {"info": 2_328, "warning": 2_849} == Counter(line.level for line in lines)
    templates = Counter(line.template for line in lines)
    assert len(templates) < 100
    assert 9 == templates["raft.node: <id> elected leader <id> at term <n>"]
    assert 1_176 == templates["apply request took too long"]
    assert 14 == templates["slow fdatasync"]
