"""The write probe of an API server that was discovered: a dry run each time, and never a write."""

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
import urllib3

from producers.core import probing
from producers.core.attempts import Attempt
from producers.core.discovery import WRITE_PROBE, Instance, targets
from producers.fetch import Endpoint
from producers.probe import Probe
from producers.scrape import PROBE, Scraper
from schemas.arrow import Frame, decode_scrape
from schemas.clock import Clock
from schemas.discovery import DiscoverySettings
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import Settings, TargetSettings
from schemas.telemetry import Telemetry
from tests.fakes.apiserver import FakeApi, Handler, config_map, serving, status

NAME = "kubernetes.default.svc"
OBJECT = "planewatch-probe"
TIMEOUT_S = 5.0
FORBIDDEN = f'configmaps "{OBJECT}" is forbidden: User "u" cannot patch resource "configmaps"'
WEBHOOK = 'Internal error occurred: failed calling webhook "deny.example.com": connection refused'
SIDE_EFFECTS = 'admission webhook "deny.example.com" does not support dry run'


class Prober:
    """Probes one server again and again, and counts its requests as producers do."""

    def __init__(self, settings: TargetSettings, *, timeout_s: float = TIMEOUT_S) -> None:
        self.target = Target("c1", settings.job, settings.instance, settings.path)
        self.telemetry = Telemetry("producers")
        self._probe = Probe(settings.probe, Endpoint(settings))
        self._scraper = Scraper(Settings(), Clock(), self.telemetry)
        self._sequence, self._timeout_ms = 0, timeout_s * 1000

    def probe(self) -> Frame[ScrapeEnvelope]:
        self._sequence += 1
        attempt = Attempt(self.target, {}, 15_000 * self._sequence, 15_000, self._sequence, "g")
        (chunk,) = self._scraper.scrape(self._probe, attempt, self._timeout_ms).chunks
        return decode_scrape(chunk.value)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    api = FakeApi()
    api.config_maps[OBJECT] = config_map(OBJECT)
    with serving(api, context):
        yield api


@pytest.fixture
def settings(api: FakeApi, tmp_path: Path) -> TargetSettings:
    (found,) = discovered(api, write_probe=True)
    assert found.tls
    tls = found.tls.model_copy(update={"ca_file": tmp_path / "ca.crt"})
    return found.model_copy(update={"tls": tls})


@pytest.fixture
def prober(settings: TargetSettings) -> Prober:
    return Prober(settings)


def discovered(api: FakeApi, **asked: bool) -> list[TargetSettings]:
    """The probes of the server as its discovery makes them, but for those that only read."""
    host, port = api.url.removeprefix("https://").split(":")
    settings = DiscoverySettings.model_validate({"probes": False, **asked})
    found = targets(settings, [Instance("apiserver", host, int(port))], server_name=NAME)
    return [one for one in found if one.probe]


def told(frame: Frame[ScrapeEnvelope]) -> dict[str, float]:
    rows = frame.rows.to_pylist()
    assert {"write"} >= {json.loads(row["labels"])["probe"] for row in rows}
    return {row["metric"]: row["value"] for row in rows}


def answers(code: int, reason: str, message: str) -> Callable[[Handler], None]:
    return lambda handler: handler.json(code, status(code, reason, message))


def test_a_write_that_would_be_done_is_a_success_and_changes_nothing(
    api: FakeApi, prober: Prober
) -> None:
    frames = [prober.probe(), prober.probe()]

    for frame in frames:
        values = told(frame)
        assert (Outcome.OK, 200, "") == (
            frame.envelope.outcome,
            frame.envelope.http_status,
            frame.envelope.reason,
        )
        assert (1.0, 200.0) == (values[probing.SUCCESS], values[probing.STATUS])
        assert 0 < values[probing.CONNECT] < values[probing.DURATION] < TIMEOUT_S
        assert values[probing.CERTIFICATE] > 0
    assert [(OBJECT, {"dryRun": "All"})] * 2 == [(one.name, one.query) for one in api.patched]
    assert all(one.result != config_map(OBJECT) for one in api.patched), "else nothing is validated"
    assert (config_map(OBJECT), 0) == (api.config_maps[OBJECT], api.writes)
    count = prober.telemetry.value(Metric.REQUESTS, cluster="c1", owner=PROBE, code="200")
    assert 2 == count == len(api.patched)


def test_where_nobody_granted_it_the_record_says_what_to_do(api: FakeApi, prober: Prober) -> None:
    api.patches = answers(403, "Forbidden", FORBIDDEN)
    frame = prober.probe()
    assert (Outcome.FORBIDDEN, 403) == (frame.envelope.outcome, frame.envelope.http_status)
    assert f"403 Forbidden: {probing.REMEDY}: " in frame.envelope.reason
    assert not told(frame)


def test_where_the_object_is_missing_the_probe_fails_and_says_what_to_do(
    api: FakeApi, prober: Prober
) -> None:
    api.config_maps.clear()
    frame = prober.probe()
    assert Outcome.OK is frame.envelope.outcome
    assert f"404 Not Found: {probing.REMEDY}: " in frame.envelope.reason
    assert (0.0, 404.0) == (told(frame)[probing.SUCCESS], told(frame)[probing.STATUS])


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [(500, "InternalError", WEBHOOK), (400, "BadRequest", SIDE_EFFECTS)],
)
def test_a_write_that_would_fail_is_a_failure_with_the_words_of_the_server(
    api: FakeApi, prober: Prober, code: int, reason: str, message: str
) -> None:
    api.patches = answers(code, reason, message)
    frame = prober.probe()
    assert Outcome.OK is frame.envelope.outcome
    assert message in frame.envelope.reason.replace('\\"', '"')
    assert probing.REMEDY not in frame.envelope.reason
    assert 0.0 == told(frame)[probing.SUCCESS]


def test_a_write_that_hangs_is_a_failure_at_its_time_out(
    api: FakeApi, settings: TargetSettings
) -> None:
    api.patches = Handler.hang
    frame = Prober(settings, timeout_s=0.3).probe()
    assert "no complete answer in 0.3 s" == frame.envelope.reason
    assert 0.0 == told(frame)[probing.SUCCESS]


def test_nothing_is_patched_unless_it_is_asked_for(api: FakeApi) -> None:
    assert not discovered(api)
    (found,) = discovered(api, write_probe=True)
    assert ("write", 15.0, 5.0) == (found.probe, found.interval_s, found.timeout_s)
    assert found.url.endswith(WRITE_PROBE)


@pytest.mark.parametrize("query", ["", "?dryRun=", "?dryRun=Some", "?dryRun=All&dryRun=None"])
def test_a_probe_that_is_no_dry_run_only_reads(
    api: FakeApi, settings: TargetSettings, query: str
) -> None:
    path = WRITE_PROBE.partition("?")[0]
    api.others[path] = lambda handler, _: handler.json(200, config_map(OBJECT))
    url = settings.url.replace(WRITE_PROBE, path + query)
    frame = Prober(settings.model_copy(update={"url": url})).probe()
    assert (200, 1.0) == (frame.envelope.http_status, told(frame)[probing.SUCCESS])
    assert ([], 0) == (api.patched, api.writes)


def test_the_fake_refuses_what_is_no_dry_run(api: FakeApi, settings: TargetSettings) -> None:
    """Else the tests above would not see a write."""
    url = settings.url.partition("?")[0]
    assert settings.tls
    context = ssl.create_default_context(cafile=settings.tls.ca_file)
    with urllib3.PoolManager(ssl_context=context, assert_hostname=NAME) as pool:
        answer = pool.request("PATCH", url, body=probing.PATCH_BODY, retries=False)
    assert (405, 1) == (answer.status, api.writes)
