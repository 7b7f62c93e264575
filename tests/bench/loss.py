"""Count what is lost while the storage is away and the collector is killed, beside others.

In: three targets for each collector, scraped every second: planewatch producers write to a real
Kafka broker, vmagent and Prometheus in agent mode (Debian, their defaults) to a remote-write
receiver. All storage goes away for 20 s; 10 s after it went all collectors are killed with
`kill -9` and started again at once. Out: for each collector how many scrapes its targets answered
and how many of them its storage lacks in the end. Rule: each answer has a number of its own, so
nothing is inferred; targets fall silent before the end, so that nothing is only late. The answer
before the kill may have been in hand: those are told apart, and are not in the value. Who does not
ask while its storage is away loses nothing, and sees nothing: those ticks are told, too.
"""

import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from schemas.arrow import decode_scrape
from schemas.topics import TopicName, full_name
from tests.bench import _report
from tests.kafkalog import create_topics
from tests.services import kafka, prometheus, vmagent
from tests.services.kafka import KafkaBroker
from tests.services.prometheus_agent import PrometheusAgent
from tests.services.records import read_all
from tests.services.remotewrite import Receiver
from tests.services.stages import Stages

NAME = "loss"
OURS, VMAGENT, PROMETHEUS = "planewatch", "vmagent", "prometheus"
TARGETS = 3  # of each collector
INTERVAL_S = 1.0
CALM_S = 8.0
UNTIL_KILL_S, AFTER_KILL_S = 10.0, 10.0
DRAINED_S_MAX = 30.0
METRIC, LABEL = "loss_answers_total", "target"
OTHERS = "".join(f'loss_level{{n="{n}"}} {n}\n' for n in range(100))  # a body has some size
PREFIX, PARTITIONS = "loss", 4


class Collector(Protocol):
    """What is killed."""

    def kill(self) -> None:
        """End it as a crash would."""

    def restart(self) -> None:
        """Start it on the data that it left behind; it may not be ready yet."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One scrape that a target answered to its last byte."""

    number: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of the scrapes of one collector."""

    answered: int
    lost: int
    in_hand: int  # of the lost ones: the last answers before the kill
    unasked: int  # ticks without a request: nobody ran, or who ran did not scrape yet

    @property
    def beyond(self) -> int:
        """What was lost that was not in hand."""
        return self.lost - self.in_hand


class Targets:
    """The targets of all collectors, /NAME for each: every answer is one more."""

    def __init__(self) -> None:
        self.silent = False
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.url = ""


def main() -> None:
    """Print what each lost."""
    brokers = f"Kafka {kafka.VERSION} (Java {kafka.java_version()})"
    _report.head(NAME, brokers, vmagent.version(), prometheus.version())
    with ExitStack() as stack:
        losses = _run(stack, Path(stack.enter_context(tempfile.TemporaryDirectory())))
    print(f"{TARGETS} targets each, every {INTERVAL_S:.0f} s; storage away for 20 s, kill after 10")
    print("collector    answered   lost   of them in hand   not asked")
    for name, one in losses.items():
        print(f"{name:10} {one.answered:10} {one.lost:6} {one.in_hand:17} {one.unasked:11}")
    _report.result(NAME, losses[OURS].beyond, 0.0, "lower")


def _run(stack: ExitStack, folder: Path) -> dict[str, Loss]:
    targets = stack.enter_context(_serving())
    broker = stack.enter_context(KafkaBroker())
    broker.start()
    receiver = Receiver(METRIC, LABEL)
    receiver.start()
    stack.callback(receiver.stop)
    collectors = _collectors(stack, targets, folder, broker, receiver)
    time.sleep(CALM_S)
    broker.kill()
    receiver.stop()
    time.sleep(UNTIL_KILL_S)
    killed_s = {}
    for name, collector in collectors.items():
        collector.kill()
        killed_s[name] = time.monotonic()
    for collector in collectors.values():
        collector.restart()
    time.sleep(AFTER_KILL_S)
    receiver.start()
    broker.start()
    time.sleep(CALM_S)
    targets.silent = True
    stored = _drained(targets, broker, receiver)
    return {name: _loss(name, targets.answers, stored, killed_s[name]) for name in collectors}


def _collectors(
    stack: ExitStack, targets: Targets, folder: Path, broker: KafkaBroker, receiver: Receiver
) -> dict[str, Collector]:
    ours = _Producers(folder, targets.url, broker.bootstrap)
    stack.callback(ours.stages.close)
    theirs: dict[str, vmagent.Vmagent | PrometheusAgent] = {
        VMAGENT: vmagent.Vmagent(_scrape_config(targets.url, VMAGENT), receiver.url),
        PROMETHEUS: PrometheusAgent(_scrape_config(targets.url, PROMETHEUS), receiver.url),
    }
    found: dict[str, Collector] = {OURS: ours}
    for name, agent in theirs.items():
        stack.callback(agent.close)
        agent.start()
        found[name] = _Agent(agent.kill, agent.start)
    return found


class _Producers:
    """Ours."""

    def __init__(self, folder: Path, url: str, bootstrap: str) -> None:
        listed = [
            {"job": "bench", "instance": one, "url": f"{url}/{one}"}
            | {"interval_s": INTERVAL_S, "timeout_s": INTERVAL_S * 0.9}
            for one in _names(OURS)
        ]
        where = {"bootstrap": bootstrap, "prefix": PREFIX, "partitions": PARTITIONS}
        tree = {
            "kafka": where | {"replication": 1},
            "clusters": [{"id": "bench", "targets": listed}],
        }
        self.stages = Stages(folder, tree)
        create_topics(bootstrap, self.stages.settings)
        self.stages.start("producers")

    def kill(self) -> None:
        self.stages.kill("producers")

    def restart(self) -> None:
        self.stages.start("producers", wait=False)


@dataclass(frozen=True, slots=True)
class _Agent:
    """One of the others."""

    kill: Callable[[], None]
    restart: Callable[[], None]


def _names(collector: str) -> list[str]:
    return [f"{collector}-{number}" for number in range(TARGETS)]


def _scrape_config(url: str, collector: str) -> str:
    jobs = "".join(
        f"  - {{job_name: '{one}', metrics_path: '/{one}', static_configs: [{{targets: "
        f"['{url.removeprefix('http://')}']}}]}}\n"
        for one in _names(collector)
    )
    times = f"scrape_interval: {INTERVAL_S:.0f}s, scrape_timeout: {INTERVAL_S * 900:.0f}ms"
    return f"global: {{{times}}}\nscrape_configs:\n{jobs}"


@contextmanager
def _serving() -> Iterator[Targets]:
    targets, lock = Targets(), threading.Lock()
    asked: dict[str, int] = defaultdict(int)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.strip("/")
            if targets.silent:
                self.send_error(503)
                return
            with lock:
                asked[name] += 1
                number = asked[name]
            line = f'# TYPE {METRIC} counter\n{METRIC}{{{LABEL}="{name}"}} {number}\n'
            body = (line + "# TYPE loss_level gauge\n" + OTHERS).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            targets.answers[name].append(Answer(number, time.monotonic()))

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        targets.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield targets
        finally:
            server.shutdown()


def _drained(targets: Targets, broker: KafkaBroker, receiver: Receiver) -> dict[str, set[float]]:
    """Wait until nothing comes any more that was not there; return what is stored by target."""
    end_s = time.monotonic() + DRAINED_S_MAX
    while True:
        stored = {one: receiver.values(one) for one in [*_names(VMAGENT), *_names(PROMETHEUS)]}
        stored |= _in_kafka(broker.bootstrap)
        whole = all(
            {one.number for one in answers} <= stored.get(name, set())
            for name, answers in targets.answers.items()
        )
        if whole or time.monotonic() > end_s:
            return stored
        time.sleep(1.0)


def _in_kafka(bootstrap: str) -> dict[str, set[float]]:
    found: dict[str, set[float]] = defaultdict(set)
    for message in read_all(bootstrap, full_name(TopicName.SCRAPES, PREFIX)):
        frame = decode_scrape(message.value())
        rows = frame.rows.select(["metric", "value"]).to_pylist()
        numbers = (row["value"] for row in rows if row["metric"] == METRIC)
        found[frame.envelope.instance].update(numbers)
    return found


def _loss(
    collector: str,
    answers: Mapping[str, list[Answer]],
    stored: Mapping[str, set[float]],
    killed_s: float,
) -> Loss:
    """Compare what the targets of a collector answered with what is stored of them."""
    answered = lost = in_hand = unasked = 0
    for name in _names(collector):
        told = answers[name]
        missing = {one.number for one in told} - stored.get(name, set())
        newest = max(one.number for one in told if one.at_s < killed_s)
        answered += len(told)
        lost += len(missing)
        in_hand += newest in missing
        unasked += round((told[-1].at_s - told[0].at_s) / INTERVAL_S) + 1 - len(told)
    return Loss(answered, lost, in_hand, unasked)


if __name__ == "__main__":
    main()
