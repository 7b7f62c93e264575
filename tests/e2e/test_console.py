"""A reader opens the console in a browser: every panel draws, from this host alone.

The tables are the real ones, in the embedded engine; only their rows are made up.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pytest

from schemas.clock import Clock
from schemas.errors import SinkRetry
from schemas.settings import ConsoleSettings, Settings
from schemas.telemetry import Telemetry
from sinks.console.app import create_app
from sinks.core.panels import Form, load_pages
from sinks.core.tables import Table
from sinks.migrate import migrate
from sinks.run import served
from sinks.store import Store
from tests.console_rows import MARKUP, alert, fill, insert
from tests.services.browser import Browser, Page

DRAWN = "document.body?.dataset.drawn === '{}'"
MARKS = {  # what a drawn panel has, by form
    Form.LINES: "body.querySelectorAll('.scatterlayer .trace path.js-line').length",
    Form.STACKED: "body.querySelectorAll('.scatterlayer .trace path.js-fill').length",
    Form.TIMELINE: "body.querySelectorAll('.barlayer .point').length",
    Form.VALUE: "body.querySelector('.number').textContent.match(/\\d|yes/) ? 1 : 0",
    Form.TABLE: "body.querySelectorAll('tbody tr').length",
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Store]]:
    """The embedded engine with a quarter of an hour of two clusters."""
    settings = Settings(data=tmp_path_factory.mktemp("data"))
    keeper = Store.open(settings, database="default")
    migrate(settings)
    store = Store.open(settings)
    fill(store, Clock().now_ms())
    yield settings, store
    store.close()
    keeper.close()


@pytest.fixture(scope="module")
def url(tables: tuple[Settings, Store]) -> Iterator[str]:
    """The console."""
    app = create_app(tables[0], Clock(), Telemetry("sinks"))
    with served(app, "127.0.0.1", 0, "console") as url:
        yield url


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser for all tests here."""
    with Browser(chromium) as browser:
        yield browser


def open_page(browser: Browser, url: str, page: str, query: str = "cluster=prod") -> Page:
    opened = browser.open(f"{url}{page}?{query}&range=15m")
    opened.wait_for(DRAWN.format(page))
    return opened


@pytest.mark.parametrize("name", [*load_pages()])
def test_every_panel_draws_without_a_complaint(browser: Browser, url: str, name: str) -> None:
    page = open_page(browser, url, name)
    for panel in load_pages()[name].panels:
        root = f"document.querySelector('[data-panel={panel.id}]')"
        assert (panel.id, "drawn") == (panel.id, page.value(f"{root}.dataset.state"))
        marks = page.value(f"(body => {MARKS[panel.form]})({root}.querySelector('.body'))")
        assert 0 < marks, panel.id
    assert [] == page.complaints()
    assert [] == [one for one in page.requested() if not one.startswith((url, "about:", "data:"))]
    page.close()


def test_open_alerts_stand_on_top_and_unknown_is_told_apart(browser: Browser, url: str) -> None:
    page = open_page(browser, url, "etcd")
    page.wait_for("document.querySelectorAll('.alert').length === 2")
    first, second = page.value(
        "[...document.querySelectorAll('.alert')].map(one => [one.dataset.alert, "
        "one.dataset.status, one.dataset.severity, one.textContent])"
    )
    assert ["EtcdMemberDown", "firing", "critical"] == first[:3]
    assert ["EtcdDiskSlow", "unknown", "warning"] == second[:3]
    for part in (f"down {MARKUP}", "First: first step of EtcdMemberDown", "2 min ago"):
        assert part in first[3]
    assert "nobody can tell" in second[3]
    assert "Watchdog fires since" in page.value("document.querySelector('.life').textContent")
    page.close()


def test_names_and_log_lines_stay_text(browser: Browser, url: str) -> None:
    for name in load_pages():
        page = open_page(browser, url, name)
        page.wait_for("document.querySelectorAll('.alert').length === 2")
        assert 0 == page.value("document.querySelectorAll('img').length")
        assert MARKUP in page.value("document.body.textContent")
        assert "pwned" not in page.value("document.title")
        page.close()


def test_the_leader_history_shows_who_led_and_which_member_is_gone(
    browser: Browser, url: str
) -> None:
    page = open_page(browser, url, "etcd")
    bars = page.value(
        "document.querySelector('[data-panel=leaders] .chart').data"
        ".filter(trace => trace.name === 'leads').flatMap(trace => trace.y)"
    )
    assert ["etcd-1", "etcd-2"] == bars
    gone = "document.querySelector('[data-panel=scrapes]')"
    assert "critical" == page.value(f"{gone}.dataset.level")
    assert "Look at the process" in page.value(f"{gone}.querySelector('.advice').textContent")
    assert ["error", "warn", "info"] == page.value(
        "[...document.querySelectorAll('[data-panel=log] tbody tr')].map(r => r.dataset.level)"
    )
    page.close()


def test_cluster_and_range_are_in_the_address_and_gaps_explain_themselves(
    browser: Browser, url: str
) -> None:
    page = open_page(browser, url, "etcd", "cluster=")
    page.wait_for("new URLSearchParams(location.search).get('cluster') === 'calm'")  # the first
    page.wait_for("document.querySelector('[data-panel=fsync]').dataset.state === 'empty'")
    note = page.value("document.querySelector('[data-panel=fsync] .note').textContent")
    assert "Does etcd get scraped?" in note
    page.value(
        "(picker => { picker.value = 'prod'; picker.dispatchEvent(new Event('change')) })"
        "(document.getElementById('cluster'))"
    )
    page.wait_for("document.querySelector('[data-panel=fsync]').dataset.state === 'drawn'")
    page.value("[...document.querySelectorAll('#ranges a')].at(-1).click()")
    page.wait_for("location.search === '?cluster=prod&range=24h'")
    page.value("history.back()")
    page.wait_for("location.search === '?cluster=prod&range=15m'")
    page.close()


def test_a_new_alert_and_the_freshness_arrive_by_themselves(
    browser: Browser, url: str, tables: tuple[Settings, Store]
) -> None:
    page = open_page(browser, url, "apiserver", "cluster=calm")
    page.wait_for("document.getElementById('freshness').textContent.startsWith('newest scrape')")
    page.wait_for("document.querySelector('.calm').textContent.includes('2 in other clusters')")
    told = alert(Clock().now_ms(), "KubeAPIServerDown", cluster="calm", fingerprint="new")
    insert(tables[1], Table.ALERTS, [told])
    page.wait_for("document.querySelector('.alert')?.dataset.alert === 'KubeAPIServerDown'")
    assert [] == page.complaints()
    page.close()


def test_what_was_drawn_stays_when_the_tables_stop_answering(
    browser: Browser, tables: tuple[Settings, Store]
) -> None:
    gone = threading.Event()

    class Leaving:
        """The real store, until it is gone."""

        def __init__(self) -> None:
            self._store = Store.open(tables[0], readonly=True)

        def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
            if gone.is_set():
                raise SinkRetry("connection refused", retry_after_s=1)
            return self._store.query(sql, parameters)

        def close(self) -> None:
            self._store.close()

    app = create_app(tables[0], Clock(), Telemetry("sinks"), Leaving)
    with served(app, "127.0.0.1", 0, "console") as url:
        page = open_page(browser, url, "etcd")
        page.wait_for("document.querySelectorAll('.alert').length === 2")
        gone.set()
        panel = "document.querySelector('[data-panel=fsync]')"
        page.wait_for(f"{panel}.dataset.state === 'failed'")
        assert 3 == page.value(f"{panel}.querySelectorAll('.scatterlayer .trace').length")
        advice = page.value(f"{panel}.querySelector('.advice').textContent")
        assert "connection refused. The page asks again by itself." in advice
        page.wait_for("document.querySelector('.calm.failed') !== null")
        assert 2 == page.value("document.querySelectorAll('.alert').length")
        gone.clear()
        page.wait_for(f"{panel}.dataset.state === 'drawn'")
        page.wait_for("document.querySelector('.calm.failed') === null")
        page.close()


def test_a_reader_logs_in_with_the_token(
    browser: Browser, tables: tuple[Settings, Store], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("correct horse")
    guarded = ConsoleSettings(token_file=tmp_path / "token")
    settings = tables[0].model_copy(update={"console": guarded})
    with ExitStack() as held:
        app = create_app(settings, Clock(), Telemetry("sinks"))
        url = held.enter_context(served(app, "127.0.0.1", 0, "console"))
        page = browser.open(f"{url}etcd")
        for token, then in (("guess", "location.search === '?wrong'"), ("correct horse", "true")):
            page.wait_for("document.readyState === 'complete' && !!document.forms[0]")
            page.value(f"document.forms[0].token.value = '{token}'")
            page.value("document.forms[0].submit()")
            page.wait_for(then)
        page.wait_for("document.querySelectorAll('.panel').length > 0")
        page.close()
