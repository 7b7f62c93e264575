"""The console answers what its schema says, to whom it may, and says what to do when it cannot."""

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from schemas.clock import Clock
from schemas.errors import SinkRefused, SinkRetry
from schemas.settings import ClusterSettings, ConsoleSettings, Settings
from schemas.telemetry import Telemetry
from sinks.console.answers import columns
from sinks.console.app import create_app

NOW_MS = 1_795_640_000_000
TOKEN = "correct-horse"
NEWEST = "/api/query/indicator_newest?cluster=c&metric=m"
HERE = "http://127.0.0.1:8700"

MOMENT = pa.timestamp("ms", tz="UTC")
ALERT: dict[str, Any] = {
    "cluster": "prod",
    "fingerprint": "00000000000000aa",
    "rule_id": "etcd/EtcdNoLeader",
    "status": "unknown",
    "reason": "",
    "severity": "critical",
    "starts_at": datetime.fromtimestamp(NOW_MS / 1000, UTC),
    "updated_at": datetime.fromtimestamp(NOW_MS / 1000, UTC),
    "summary": "no leader <script>alert(1)</script>",
    "first_action": "count",
    "description": "nothing can be written",
    "runbook": "https://example.org/#a",
    "labels": '{"instance":"etcd-1"}',
    "value": math.nan,
}
SEEN: dict[str, Any] = {
    "cluster": "prod",
    "newest_scrape": datetime.fromtimestamp(NOW_MS / 1000, UTC),
    "newest_evaluation": datetime.fromtimestamp(0, UTC),
    "targets": 3,
    "failing": 1,
}


class FakeStore:
    """A store that answers from memory; the end-to-end test holds the real one to the same."""

    def __init__(self, answers: Mapping[str, pa.Table | Exception]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.closed = False

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        self.asked.append((sql, dict(parameters or {})))
        found = next((one for part, one in self._answers.items() if part in sql), pa.table({}))
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self.closed = True


Open = Callable[..., TestClient]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Open]:
    """Make a client of a console whose tables answer as told."""
    opened: list[TestClient] = []

    def make(
        answers: Mapping[str, pa.Table | Exception] | None = None,
        *,
        token: str = "",
        store: FakeStore | None = None,
        base_url: str = HERE,
    ) -> TestClient:
        settings = Settings(
            data=tmp_path, clusters=[ClusterSettings(id="prod"), ClusterSettings(id="silent")]
        )
        if token:
            (tmp_path / "token").write_text(token + "\n")
            guarded = ConsoleSettings(token_file=tmp_path / "token")
            settings = settings.model_copy(update={"console": guarded})
        fake = store or FakeStore(answers or {})
        clock = Clock(wall=lambda: NOW_MS)
        app = create_app(settings, clock, Telemetry("sinks"), lambda: fake)
        client = TestClient(app, base_url=base_url, follow_redirects=False)
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def tables(rows: list[dict[str, Any]]) -> pa.Table:
    """A table whose times are times, as the engine's are."""
    made = pa.Table.from_pylist(rows)
    for i, field in enumerate(made.schema):
        if pa.types.is_timestamp(field.type):
            made = made.set_column(i, field.name, made.column(i).cast(MOMENT))
    return made


# --- answers --------------------------------------------------------------------------------------


def test_no_number_becomes_null_and_times_become_milliseconds() -> None:
    time = datetime(2026, 11, 25, 12, 0, 0, 250_000, UTC)
    table = pa.table(
        {
            "time": pa.array([time] * 4, pa.timestamp("us", tz="UTC")),
            "value": [1.5, math.nan, math.inf, None],
        }
    )
    at, value = columns(table)
    assert ("time", [1_795_608_000_250] * 4) == (at.kind, at.values)
    assert ("number", [1.5, None, None, None]) == (value.kind, value.values)


def test_integers_that_javascript_would_round_are_text() -> None:
    small, big, raw, flag = columns(
        pa.table({"s": [1], "b": pa.array([2**63], pa.uint64()), "r": [b"\xffa"], "f": [True]})
    )
    assert ("number", [1]) == (small.kind, small.values)
    assert ("text", [str(2**63)]) == (big.kind, big.values)
    assert ("text", ["\\xffa"]) == (raw.kind, raw.values)
    assert ("number", [1]) == (flag.kind, flag.values)


def test_a_query_is_answered_in_columns_for_the_range_that_ends_now(console: Open) -> None:
    store = FakeStore({"v_indicators": pa.table({"value": [math.nan, 2.0]})})
    answer = console(store=store).get(f"{NEWEST}&by=verb&by=scope&worst=-1&range=15m").json()
    assert (NOW_MS - 900_000, NOW_MS, 15) == (
        answer["from_ms"],
        answer["to_ms"],
        answer["step_s"],
    )
    assert [{"name": "value", "kind": "number", "values": [None, 2.0]}] == answer["columns"]
    sql, bound = store.asked[0]
    assert {"cluster": "c", "metric": "m", "by": ["verb", "scope"], "worst": -1} == bound
    assert f"fromUnixTimestamp64Milli({NOW_MS})" in sql


def test_steps_grow_with_the_range(console: Open) -> None:
    client = console({"": pa.table({"value": [1.0]})})
    steps = [
        client.get(f"{NEWEST}&range={one}").json()["step_s"] for one in ("15m", "1h", "6h", "24h")
    ]
    assert [15, 15, 120, 300] == steps


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ("/api/query/nowhere", 404, "no such query"),
        ("/api/query/..%2Fstore", 404, ""),
        ("/api/panels/nowhere", 404, "no such page"),
        ("/nowhere", 404, "no such page"),
        ("/api/query/indicator_newest?cluster=c", 400, "needs a value for metric"),
        (f"{NEWEST}&sql=DROP", 400, "has no parameter sql"),
        (f"{NEWEST}&worst=high", 400, "is no Int8"),
        (f"{NEWEST}&range=99d", 400, "1 ms to 31 days"),
        (f"{NEWEST}&range=forever", 400, "no range"),
        (f"{NEWEST}&from_ms=5", 400, "no range"),
        (f"{NEWEST}&from_ms=5&to_ms=4", 400, "1 ms to 31 days"),
    ],
)
def test_what_cannot_be_asked_is_refused(console: Open, asked: str, status: int, said: str) -> None:
    answer = console().get(asked)
    assert status == answer.status_code
    assert said in answer.text


@pytest.mark.parametrize(
    ("failure", "status", "remedy"),
    [
        (SinkRetry("away", retry_after_s=1), 503, "asks again by itself"),
        (SinkRefused("memory limit"), 502, "shorter range"),
    ],
)
def test_a_failure_says_what_to_do(
    console: Open, failure: Exception, status: int, remedy: str
) -> None:
    answer = console({"v_indicators": failure}).get(NEWEST)
    assert status == answer.status_code
    assert str(failure) in answer.json()["error"]
    assert remedy in answer.json()["remedy"]


def test_too_many_rows_are_refused(console: Open) -> None:
    answer = console({"v_indicators": pa.table({"value": [1.0] * 20_001})}).get(NEWEST)
    assert 502 == answer.status_code
    assert "20001 rows, at most 20000" in answer.json()["error"]


def test_a_page_lists_its_panels_and_all_pages(console: Open) -> None:
    answer = console().get("/api/panels/etcd").json()
    assert [["apiserver", "kube-apiserver"], ["etcd", "etcd"]] == [
        [one["page"], one["title"]] for one in answer["pages"]
    ]
    assert "Who led, and when?" in [panel["title"] for panel in answer["panels"]]


def test_open_alerts_carry_what_helps_to_act(console: Open) -> None:
    answer = console({"v_alerts_newest": tables([ALERT])}).get("/api/alerts").json()
    (alert,) = answer["alerts"]
    assert ("EtcdNoLeader", "unknown", "count", NOW_MS, None, {"instance": "etcd-1"}) == (
        alert["name"],
        alert["status"],
        alert["first_action"],
        alert["since_ms"],
        alert["value"],
        alert["labels"],
    )


def test_configured_clusters_are_listed_before_they_have_data(console: Open) -> None:
    answer = console({"scrapes": tables([SEEN])}).get("/api/clusters").json()
    prod, silent = answer["clusters"]
    assert ("prod", NOW_MS, None, 3, 1) == (
        prod["id"],
        prod["newest_scrape_ms"],
        prod["newest_evaluation_ms"],
        prod["targets"],
        prod["failing"],
    )
    assert ("silent", None) == (silent["id"], silent["newest_scrape_ms"])


def test_the_schema_documents_every_answer(console: Open) -> None:
    published = console().get("/api/schema").json()
    assert {"Rows", "PageAnswer", "Alerts", "Clusters", "Live", "Failure"} <= set(published)


def test_the_store_is_closed_with_the_application(tmp_path: Path) -> None:
    store = FakeStore({"": pa.table({"value": [1.0]})})
    app = create_app(Settings(data=tmp_path), Clock(), Telemetry("sinks"), lambda: store)
    with TestClient(app, base_url=HERE) as client:
        client.get(NEWEST)
    assert store.closed


# --- who may read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/etcd", "/static/app.js", "/api/panels/etcd", "/nowhere"])
def test_every_answer_binds_the_browser_to_this_host(console: Open, path: str) -> None:
    headers = console().get(path).headers
    policy = headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe-eval" not in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert "nosniff" == headers["x-content-type-options"]


def test_plotly_comes_from_its_wheel(console: Open) -> None:
    answer = console().get("/static/plotly.min.js")
    assert answer.text.startswith("/**\n* plotly.js v")


def test_a_page_names_no_other_host(console: Open) -> None:
    client = console()
    for path in ("/", "/static/app.js", "/static/charts.js", "/static/style.css"):
        assert "://" not in client.get(path).text.replace("http://www.w3.org", "")


def test_without_a_token_only_names_of_this_machine_are_answered(console: Open) -> None:
    """A page of another host whose name resolves to 127.0.0.1 may not read through the browser."""
    assert 421 == console(base_url="http://evil.example:8700").get("/api/alerts").status_code
    for name in ("http://localhost:8700", "http://[::1]:8700", "http://127.0.0.1"):
        assert 200 == console(base_url=name).get("/").status_code


def test_with_a_token_data_and_pages_need_it(console: Open) -> None:
    client = console(token=TOKEN)
    assert 401 == client.get("/api/panels/etcd").status_code
    assert (303, "/login") == (
        (answer := client.get("/etcd")).status_code,
        answer.headers["location"],
    )
    assert 200 == client.get("/login").status_code
    assert 200 == client.get("/static/style.css").status_code


@pytest.mark.parametrize(("given", "status"), [(TOKEN, 200), ("wrong", 401), ("", 401)])
def test_the_token_is_a_bearer(console: Open, given: str, status: int) -> None:
    headers = {"authorization": f"Bearer {given}"}
    answer = console(token=TOKEN).get("/api/panels/etcd", headers=headers)
    assert status == answer.status_code


def test_the_login_page_gives_a_cookie_that_is_not_the_token(console: Open) -> None:
    client = console(token=TOKEN)
    wrong = client.post("/login", content=b"token=guess")
    assert ("/login?wrong", None) == (wrong.headers["location"], wrong.headers.get("set-cookie"))
    right = client.post("/login", content=f"token={TOKEN}".encode())
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert 200 == client.get("/api/panels/etcd").status_code


def test_a_huge_login_form_is_refused(console: Open) -> None:
    answer = console(token=TOKEN).post("/login", content=b"token=" + b"x" * 10_000)
    assert "/login?wrong" == answer.headers["location"]


def test_files_outside_the_folder_are_not_served(console: Open) -> None:
    client = console()
    for path in ("/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py"):
        assert client.get(path).status_code == 404
