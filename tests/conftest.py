"""What all tests share: real services, captures, and honesty about what did not run.

Rule: a test that lacks a tool skips and says what is missing; with CI=true, where everything must
be there, a skip is a failure, at collection too.
"""

import os
import signal
import subprocess
import uuid
from collections.abc import Generator, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import settings

from tests import fixtures
from tests.services import debian, kafka, prometheus
from tests.services.chromium import chromium as find_chromium
from tests.services.kafka import KafkaBroker

PACKAGES = ("confluent-kafka", "faust-streaming", "chdb", "clickhouse-connect", "pyarrow")
IN_CI = os.environ.get("CI") == "true"
USERS_BROKER = "PLANEWATCH_TEST_KAFKA"

# The machines of CI are slow and shared: an example may take long without being wrong.
settings.register_profile("planewatch", deadline=None)
settings.load_profile("planewatch")

services_used = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def kafka_bootstrap(pytestconfig: pytest.Config) -> Iterator[str]:
    """The address of a real broker that the whole run shares: make topics under `topic_prefix`."""
    if users := os.environ.get(USERS_BROKER):
        pytestconfig.stash[services_used].append(f"the Kafka broker at {users}")
        yield users
        return
    with KafkaBroker() as broker:
        ready_s = broker.start()
        pytestconfig.stash[services_used].append(
            f"Kafka {kafka.VERSION} on Java {kafka.java_version()}, ready in {ready_s:.1f} s"
        )
        yield broker.bootstrap


@pytest.fixture
def kafka_broker() -> Iterator[KafkaBroker]:
    """A real broker of the test's own, started, to kill and start again."""
    with KafkaBroker() as broker:
        broker.start()
        yield broker


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def promtool(pytestconfig: pytest.Config) -> Path:
    """Prometheus' own tool that checks and tests rule files."""
    tool = debian.program("promtool", "usr/bin/promtool", why="tests that ask Prometheus itself")
    _note_version(pytestconfig, str(tool))
    return tool


@pytest.fixture(scope="session")
def prometheus_program(pytestconfig: pytest.Config) -> Path:
    """Prometheus itself; tests.services.prometheus starts servers of it."""
    server = prometheus.program()
    _note_version(pytestconfig, str(server))
    return server


@pytest.fixture(scope="session")
def etcd_sources(pytestconfig: pytest.Config) -> Path:
    """The sources of etcd, which ship its alerts and their tests."""
    return _sources(pytestconfig, "etcd")


@pytest.fixture(scope="session")
def prometheus_sources(pytestconfig: pytest.Config) -> Path:
    """The sources of Prometheus, which ship tests of promtool, and alerts about itself."""
    return _sources(pytestconfig, "prometheus")


def _sources(config: pytest.Config, package: str) -> Path:
    folder = debian.source(package, why="tests of other people's rules")
    config.stash[services_used].append(f"the sources of {(folder / 'version').read_text()}")
    return folder


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> str:
    """A browser."""
    browser = find_chromium()
    _note_version(pytestconfig, browser)
    return browser


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """The folder of captures of real control planes; tests.fixtures reads them."""
    return fixtures.folder()


def _note_version(config: pytest.Config, command: str) -> None:
    printed = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    config.stash[services_used].append(printed.stdout.splitlines()[0].strip())


def pytest_configure(config: pytest.Config) -> None:
    config.stash[services_used] = []
    signal.signal(signal.SIGTERM, _end_in_order)


def _end_in_order(number: int, frame: FrameType | None) -> None:
    """Let fixtures clean up when the run is terminated."""
    pytest.exit("terminated", returncode=128 + number)


def pytest_report_header() -> str:
    return "with: " + ", ".join(f"{name} {_installed(name)}" for name in PACKAGES)


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[services_used]:
        terminalreporter.write_line(f"ran: {line}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and with CI=true a skip is a failure: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, and with CI=true a skip is a failure: {report.longrepr}"
    return report
