"""A target with too many series: its record says what is missing, and our own series count it."""

from producers.core.attempts import Attempt
from producers.fetch import Answer
from producers.own import OwnSeries
from producers.scrape import Scraper
from schemas.arrow import decode_scrape
from schemas.clock import Clock
from schemas.identity import Target
from schemas.metrics import Metric
from schemas.records import Outcome, ScrapeEnvelope
from schemas.settings import ProducersSettings, Settings
from schemas.telemetry import Telemetry

TARGET = Target("c1", "apiserver", "cp-1")
NEEDED, BULKY = "apiserver_request_total", "aaa_bulky_total"


class Served:
    """A source whose series are counted out."""

    def __init__(self) -> None:
        self.bulky = 0

    def get(self, *, timeout_s: float, body_bytes_max: int) -> Answer:
        del timeout_s, body_bytes_max
        bulky = "".join(f'{BULKY}{{n="{number}"}} 1\n' for number in range(self.bulky))
        body = f"# TYPE {BULKY} counter\n{bulky}# TYPE {NEEDED} counter\n{NEEDED} 7\n"
        return Answer(200, "", body.encode(), True, None, "text/plain; version=0.0.4")

    def abort(self) -> None:
        """Nothing is in flight."""

    def close(self) -> None:
        """Nothing is open."""


class Scraped:
    """One target, scraped by hand."""

    def __init__(self) -> None:
        self.telemetry, self.served = Telemetry("producers"), Served()
        settings = Settings(producers=ProducersSettings(series_max=100))
        self.scraper = Scraper(settings, Clock(), self.telemetry)
        self.sequence = 0

    def attempt(self) -> Attempt:
        self.sequence += 1
        return Attempt(TARGET, {}, 15_000 * self.sequence, 15_000, self.sequence, "g")

    def scrape(self, bulky: int) -> tuple[ScrapeEnvelope, set[str]]:
        self.served.bulky = bulky
        (chunk,) = self.scraper.scrape(self.served, self.attempt(), 1_000).chunks
        frame = decode_scrape(chunk.value)
        return frame.envelope, set(frame.rows.column("metric").to_pylist())

    def told(self) -> str:
        lines = OwnSeries(self.telemetry.registry).exposition("c1").decode().splitlines()
        return "\n".join(line for line in lines if "series_left_out{" in line)


def test_what_rules_read_is_in_the_record_and_the_reason_names_what_is_not() -> None:
    envelope, metrics = Scraped().scrape(bulky=500)
    assert (Outcome.TOO_BIG, 1, {NEEDED}) == (envelope.outcome, envelope.series, metrics)
    assert f"kept 1 series (series_max), left out 500 of 1 families: {BULKY} 500" == envelope.reason


def test_what_is_left_out_is_counted_while_it_is() -> None:
    scraped = Scraped()
    scraped.scrape(bulky=99)
    assert not scraped.told()
    scraped.scrape(bulky=500)
    assert 'instance="cp-1",job="apiserver",path="/metrics"' in scraped.told()
    assert scraped.told().endswith(" 500.0")
    labels = {"cluster": "c1", "job": "apiserver", "outcome": "too_big"}
    assert 1 == scraped.telemetry.value(Metric.SCRAPES, **labels)
    assert 1 == scraped.telemetry.value(Metric.LIMIT_HITS, limit="series_max")
    scraped.scrape(bulky=10)
    assert not scraped.told()
    scraped.scrape(bulky=500)
    scraped.scraper.unasked(scraped.attempt(), Outcome.REMOVED, "gone")
    assert not scraped.told()
