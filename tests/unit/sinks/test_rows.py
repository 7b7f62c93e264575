"""Each record becomes rows of the right tables, or is refused as its sender's error."""

import gzip
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from schemas.arrow import SCRAPE_SCHEMA, decode_scrape, empty_rows, encode_scrape
from schemas.codec import decode, encode
from schemas.errors import DecodeError
from schemas.records import Alert, Change, LogBatch, Outcome, ScrapeEnvelope
from schemas.series import CORE_LABELS, series_id
from schemas.topics import TopicName
from sinks.core.messages import Fate, Message
from sinks.core.rows import TIME_MS_MAX, decode_message
from sinks.core.tables import SCHEMAS, TABLES_OF, Table
from tests import fixtures, traffic
from tests.scrapes import read
from tests.traffic import Made, batch, mixed

EXAMPLES = fixtures.REPOSITORY / "schemas" / "examples"
T_MS = traffic.T0_MS


def message(made: Made) -> Message:
    headers = {name: value.encode() for name, value in made.headers.items()}
    return Message(made.topic, 65_536, 7, T_MS, made.key.encode(), made.value, headers)


def of(topic: TopicName, value: bytes | None, key: bytes | None = b"prod-eu-1/x") -> Message:
    return Message(topic, 65_536, 7, T_MS, key, value, {})


def row(made: Made, table: Table) -> dict[str, object]:
    rows = decode_message(message(made)).rows[table].to_pylist()
    assert len(rows) == 1
    return rows[0]  # type: ignore[no-any-return] # pyarrow has no types


@pytest.mark.parametrize("made", [*mixed(1, 200)], ids=lambda made: str(made.topic))
def test_a_record_has_the_rows_it_was_made_with(made: Made) -> None:
    if made.outcome == "undecodable":
        with pytest.raises(DecodeError):
            decode_message(message(made))
        return
    decoded = decode_message(message(made))
    assert (made.cluster, made.outcome) == (decoded.cluster, decoded.fate)
    assert {t: n for t, n in made.rows.items() if n} == {
        str(table): rows.num_rows for table, rows in decoded.rows.items()
    }
    assert set(decoded.rows) <= set(TABLES_OF[made.topic])
    assert all(rows.schema.equals(SCHEMAS[table]) for table, rows in decoded.rows.items())


@pytest.mark.parametrize(
    "file",
    [
        one
        for one in sorted(EXAMPLES.glob("*/v1/*"))
        if not (one.suffix == ".json" and one.with_suffix(".arrow").exists())
    ],
    ids=lambda file: f"{file.parts[-3]}-{file.stem}",
)
def test_every_example_of_the_contract_is_stored(file: Path) -> None:
    topic = TopicName(file.parts[-3])
    decoded = decode_message(of(topic, file.read_bytes()))
    assert Fate.STORED == decoded.fate
    assert {*TABLES_OF[topic]} >= {*decoded.rows} != set()


@pytest.mark.parametrize("name", ["1_31-api-server", "1_35-etcd"])
def test_a_capture_has_one_row_per_metric(shared_fixtures: Path, name: str) -> None:
    """No row of a real exposition is lost or doubled between the two tables of samples."""
    body = read(gzip.decompress((shared_fixtures / "metrics" / f"{name}.txt.gz").read_bytes()))
    envelope = ScrapeEnvelope(
        cluster="c1",
        job="apiserver",
        instance="cp-1",
        path="/metrics",
        scrape_id="1",
        tick_ms=T_MS,
        start_ms=T_MS,
        end_ms=T_MS,
        interval_ms=15_000,
        sequence=1,
        outcome=Outcome.OK,
        rows=body.rows.num_rows,
        kubernetes_version="v1.36.0",
    )
    rows = decode_message(of(TopicName.SCRAPES, encode_scrape(envelope, body.rows))).rows
    samples, histograms = rows[Table.SAMPLES], rows[Table.HISTOGRAMS]
    assert body.rows.num_rows == samples.num_rows + histograms.num_rows
    stored = {*samples["series"].to_pylist(), *histograms["series"].to_pylist()}
    assert {*body.rows["series"].to_pylist()} == stored
    assert 0 == histograms["count"].null_count


def test_a_sample_carries_its_target_and_the_time_the_request_was_sent() -> None:
    stored = row(traffic.scrape("prod-eu-1", T_MS, sequence=1, plain=1), Table.SAMPLES)
    assert ("prod-eu-1", "apiserver", "cp-1", "/metrics") == tuple(
        stored[name] for name in ("cluster", "job", "instance", "path")
    )
    assert ("requests_total", "GET", '{"n":"0"}', 1, 0.0) == tuple(
        stored[name] for name in ("metric", "verb", "labels", "series", "value")
    )
    assert T_MS + 3 == _ms(stored["ts"])


def test_a_histogram_is_one_row_with_a_count_per_bucket() -> None:
    stored = row(traffic.scrape("prod-eu-1", T_MS, sequence=1, histograms=1), Table.HISTOGRAMS)
    assert ("request_seconds", [1, 2, 3], "0.1,1", 6, 0.0) == tuple(
        stored[name] for name in ("metric", "buckets", "bounds", "count", "value")
    )


def test_a_summary_has_a_count_and_no_buckets_and_its_quantiles_are_samples() -> None:
    columns: dict[str, list[object]] = {
        **{label: ["", ""] for label in CORE_LABELS},
        "metric": ["gc_seconds", "gc_seconds"],
        "kind": ["summary", "gauge"],
        "labels": ["", '{"quantile":"0.5"}'],
        "series": [1, 2],
        "value": [9.0, 0.25],
        "count": [3, None],
        "buckets": [None, None],
        "bounds": ["", ""],
    }
    made = traffic.scrape("prod-eu-1", T_MS, sequence=1, plain=1)
    envelope = decode_scrape(made.value).envelope
    value = encode_scrape(envelope, batch(columns, SCRAPE_SCHEMA))
    rows = decode_message(of(TopicName.SCRAPES, value)).rows
    assert [(3, 9.0, None)] == [
        (one["count"], one["value"], one["buckets"]) for one in rows[Table.HISTOGRAMS].to_pylist()
    ]
    assert ['{"quantile":"0.5"}'] == rows[Table.SAMPLES]["labels"].to_pylist()


def test_a_failed_scrape_is_a_row_of_scrapes_alone() -> None:
    made = traffic.scrape("prod-eu-1", T_MS, sequence=4, outcome=Outcome.TIMEOUT)
    assert {Table.SCRAPES} == {*decode_message(message(made)).rows}
    stored = row(made, Table.SCRAPES)
    assert ("timeout", 47, 4, 15_000) == tuple(
        stored[name] for name in ("outcome", "duration_ms", "sequence", "interval_ms")
    )
    assert (T_MS, T_MS + 3) == (_ms(stored["tick"]), _ms(stored["ts"]))


def test_a_scrape_of_many_chunks_is_one_attempt() -> None:
    later = traffic.scrape("prod-eu-1", T_MS, sequence=4, plain=3, chunk=1)
    assert {Table.SAMPLES} == {*decode_message(message(later)).rows}


def test_series_of_an_older_server_are_stored_under_current_names() -> None:
    columns: dict[str, list[object]] = {
        **{label: ["", ""] for label in CORE_LABELS},
        "metric": ["etcd_requests_total", "up"],
        "kind": ["counter", "gauge"],
        "type": ["deployments.apps", "deployments.apps"],
        "operation": ["get", "get"],
        "labels": ["", ""],
        "series": [1, 2],
        "value": [9.0, 1.0],
        "count": [None, None],
        "buckets": [None, None],
        "bounds": ["", ""],
    }
    made = traffic.scrape("prod-eu-1", T_MS, sequence=1, plain=1)
    envelope = decode_scrape(made.value).envelope
    found = {}
    for version in ("v1.31.4", "v1.36.2"):
        of_version = msgspec.structs.replace(envelope, kubernetes_version=version)
        value = encode_scrape(of_version, batch(columns, SCRAPE_SCHEMA))
        found[version] = decode_message(of(TopicName.SCRAPES, value)).rows[Table.SAMPLES]
    old, new = found["v1.31.4"].to_pylist(), found["v1.36.2"].to_pylist()
    assert ("deployments", "apps", "", "get") == tuple(
        old[0][name] for name in ("resource", "group", "type", "operation")
    )
    current = {"resource": "deployments", "group": "apps", "operation": "get"}
    assert series_id("etcd_requests_total", current) == old[0]["series"]
    assert "deployments.apps" == old[1]["type"]  # another metric's label is left alone
    assert ("deployments.apps", 1) == (new[0]["type"], new[0]["series"])


def test_an_indicator_has_the_series_id_that_its_labels_give() -> None:
    made = traffic.indicators("prod-eu-1", T_MS, results=2)
    rows = decode_message(message(made)).rows[Table.INDICATORS].to_pylist()
    assert [series_id("apiserver:request:rate_5m", {"n": n}) for n in "01"] == [
        one["series"] for one in rows
    ]
    assert ("apiserver", T_MS, 1) == (rows[0]["rule_group"], _ms(rows[0]["ts"]), rows[0]["epoch"])


def test_a_change_keeps_its_object_as_json() -> None:
    stored = row(traffic.change("prod-eu-1", T_MS), Table.CHANGES)
    assert ("Lease", "modified", '{"spec":{"holderIdentity":"cp-1"}}', "", "[]") == tuple(
        stored[name] for name in ("kind", "op", "object", "rollout", "diff")
    )


def test_an_alert_keeps_the_whole_record_and_when_it_was_emitted() -> None:
    made = traffic.alert("prod-eu-1", T_MS, seq=3)
    stored = row(made, Table.ALERTS)
    assert ("TooSlow", "firing", "p99 is 3 s", 3, None) == tuple(
        stored[name] for name in ("rule_id", "status", "summary", "seq", "ends_at")
    )
    assert T_MS + 5 == _ms(stored["emitted_at"])
    assert decode(made.value, Alert) == decode(str(stored["record"]).encode(), Alert)


def test_a_dead_letter_keeps_its_bytes_and_origin() -> None:
    headers = {
        "origin-topic": b"planewatch.scrapes.v1",
        "origin-partition": b"3",
        "origin-offset": b"99",
        "stage": b"streams",
        "error-class": b"DecodeError",
        "error": b"no Arrow",
    }
    letter = Message(TopicName.DEAD_LETTERS, 1, 0, T_MS, b"c1/t/3/99", b"\xff\x00", headers)
    stored = decode_message(letter).rows[Table.DEAD_LETTERS].to_pylist()[0]
    assert ("c1", "planewatch.scrapes.v1", 3, 99, "streams", b"\xff\x00") == tuple(
        stored[name]
        for name in (
            "cluster",
            "origin_topic",
            "origin_partition",
            "origin_offset",
            "stage",
            "value",
        )
    )


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin-offset": b"9" * 30, "origin-partition": b"x", "error": b"\xff"}],
    ids=["none", "nonsense"],
)
def test_a_dead_letter_is_stored_whatever_its_headers_are(headers: dict[str, bytes]) -> None:
    letter = Message(TopicName.DEAD_LETTERS, 1, 0, -1, None, b"", headers)
    stored = decode_message(letter).rows[Table.DEAD_LETTERS].to_pylist()[0]
    assert ("_planewatch", -1, -1) == tuple(
        stored[name] for name in ("cluster", "origin_partition", "origin_offset")
    )


@pytest.mark.parametrize("topic", [TopicName.ALERTS, TopicName.SCRAPES, TopicName.CHANGES], ids=str)
def test_a_tombstone_has_no_rows(topic: TopicName) -> None:
    decoded = decode_message(of(topic, None))
    assert ("prod-eu-1", Fate.TOMBSTONE, {}) == (decoded.cluster, decoded.fate, decoded.rows)


def _change(**fields: object) -> bytes:
    made = decode(traffic.change("prod-eu-1", T_MS).value, Change)
    return encode(msgspec.structs.replace(made, **fields))


def _alert(**fields: object) -> bytes:
    made = decode(traffic.alert("prod-eu-1", T_MS, seq=1).value, Alert)
    return encode(msgspec.structs.replace(made, **fields))


def _scrape(**fields: object) -> bytes:
    envelope = decode_scrape(traffic.scrape("prod-eu-1", T_MS, sequence=1).value).envelope
    changed = msgspec.structs.replace(envelope, **fields)
    return encode_scrape(changed, empty_rows(SCRAPE_SCHEMA))


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        (TopicName.CHANGES, _change(received_ms=-1)),
        (TopicName.CHANGES, _change(received_ms=TIME_MS_MAX + 1)),
        (TopicName.ALERTS, _alert(severity_number=256)),
        (TopicName.ALERTS, _alert(epoch=-1)),
        (TopicName.SCRAPES, _scrape(http_status=70_000)),
        (TopicName.SCRAPES, _scrape(bytes=-1)),
        (TopicName.SCRAPES, _scrape(tick_ms=2**62)),
        (TopicName.LOGS, traffic.logs("c1", T_MS, lines=1).value[:-1]),  # type: ignore[index]
        (TopicName.SCRAPES, b""),
        (TopicName.INDICATORS, b"{}"),
    ],
)
def test_what_no_table_takes_is_the_senders_error(topic: TopicName, value: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_message(of(topic, value))


def test_the_ends_of_time_are_stored() -> None:
    for ms in (0, TIME_MS_MAX):
        decoded = decode_message(of(TopicName.CHANGES, _change(received_ms=ms)))
        assert ms == _ms(decoded.rows[Table.CHANGES].to_pylist()[0]["ts"])


@pytest.mark.parametrize(
    ("told", "stored"),
    [(T_MS, T_MS), (TIME_MS_MAX, TIME_MS_MAX), (TIME_MS_MAX + 1, 0), (2**62, 0), (-1, 0)],
)
def test_a_start_time_that_a_process_cannot_have_is_unknown(told: int, stored: int) -> None:
    decoded = decode_message(of(TopicName.SCRAPES, _scrape(process_start_ms=told)))
    assert stored == _ms(decoded.rows[Table.SCRAPES].to_pylist()[0]["process_start"])


def test_an_emission_time_that_is_no_number_is_the_senders_error() -> None:
    made = traffic.alert("prod-eu-1", T_MS, seq=1)
    bad = Message(TopicName.ALERTS, 1, 0, T_MS, b"", made.value, {"emitted-at-ms": b"soon"})
    with pytest.raises(DecodeError):
        decode_message(bad)


def test_a_batch_of_log_lines_is_a_row_per_line() -> None:
    made = traffic.logs("prod-eu-1", T_MS, lines=3)
    rows = decode_message(message(made)).rows[Table.LOGS]
    assert ["m <*>"] * 3 == rows["template"].to_pylist()
    assert 3 == len(decode(made.value, LogBatch).lines)


def _ms(value: object) -> int:
    return int(pa.scalar(value, pa.timestamp("ms", "UTC")).value)
