"""A real Apache Kafka broker for tests: one node, KRaft, on loopback, no containers.

In: nothing but Java and Maven; the first use of a machine fetches 45 jars into the cache. Out: a
broker that can be stopped, killed and started again on the same data and the same port. Rule:
topics are made by whoever needs them (`auto.create.topics.enable` is off, as in production), and
a broker leaves neither a process nor data behind.
"""

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.services import process
from tests.services.cache import built
from tests.services.needs import need, skip_without

VERSION = "4.4.0"  # as in pom.xml; the newest that runs on Java 17
POM = Path(__file__).with_name("pom.xml")
WHY = "tests on a real Kafka broker"
FETCH_TIMEOUT_S = 600
READY_TIMEOUT_S = 90.0
JAVA_MIN = 17
ARCHIVE = "classes.jsa"

# A small heap and the quick compiler alone: the broker must be up soon, not fast for hours.
JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
LOG4J = """\
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %p %c: %m%n
"""
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A broker that was killed must wait until its old registration has run out: 9 s by default.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
}


class KafkaBroker:
    """One broker. `with KafkaBroker() as broker:` removes its process and data at the end."""

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, java: Sequence[str] | None = None
    ) -> None:
        self._java = java or _java()
        self._home = Path(tempfile.mkdtemp(prefix="planewatch-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        port, controller_port = _free_ports(2)
        self.bootstrap = f"127.0.0.1:{port}"
        self._config = self._home / "server.properties"
        lines = {
            **SETTINGS,
            "log.dirs": str(self.data),
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            **(settings or {}),
        }
        self._config.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        (self._home / "log4j2.properties").write_text(LOG4J)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def log(self) -> Path:
        """What the broker printed: warnings and worse."""
        return self._home / "broker.log"

    @property
    def data(self) -> Path:
        """The folder of its logs, one folder in it for each partition."""
        return self._home / "data"

    def start(self, *jvm: str) -> float:
        """Start on the data that is there; return the seconds until clients are served."""
        began_s = time.monotonic()
        if not self.data.exists():
            self._format()
        logging = f"-Dlog4j2.configurationFile={self._home}/log4j2.properties"
        self._process = process.start(
            [*self._java, logging, *jvm, "kafka.Kafka", str(self._config)], log=self.log
        )
        self._wait_until_ready(began_s + READY_TIMEOUT_S)
        return time.monotonic() - began_s

    def stop(self) -> None:
        """End it as an administrator would: data flushed, clients told."""
        if self._process:
            process.stop(self._process)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process:
            process.kill(self._process)

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _format(self) -> None:
        identity = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        tool = (*self._java, "kafka.tools.StorageTool", "format")
        # With "=": an id may begin with "-", which alone reads as an option.
        _run(*tool, f"--cluster-id={identity}", "--config", str(self._config))

    def _wait_until_ready(self, deadline_s: float) -> None:
        assert self._process is not None
        admin = AdminClient(
            {
                "bootstrap.servers": self.bootstrap,
                "reconnect.backoff.max.ms": 100,
                "log_level": 0,  # refused connections are what we wait through
            }
        )
        while time.monotonic() < deadline_s and self._process.poll() is None:
            try:
                if admin.list_topics(timeout=1.0).brokers:
                    return
            except KafkaException:
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"Kafka was not ready; its log ends: {self.log.read_text()[-3000:]}")


@cache
def _java() -> tuple[str, ...]:
    """Return the command that runs a class of Kafka, but for the name of the class."""
    java = need("java", WHY)
    version = java_version()
    if int(version.partition(".")[0]) < JAVA_MIN:
        skip_without(f"Java {JAVA_MIN} or newer, not {version}", WHY)
    jars = sorted(str(jar) for jar in built(f"kafka-{VERSION}", _fetch_jars).glob("*.jar"))
    command = (java, *JVM, "-cp", ":".join(jars))
    archive = built(f"kafka-{VERSION}-java-{version}", partial(_archive_classes, command))
    return (*command, f"-XX:SharedArchiveFile={archive / ARCHIVE}")


def java_version() -> str:
    """Return what `java -version` calls itself, for example 17.0.15."""
    printed = subprocess.run(
        ["java", "-version"], capture_output=True, text=True, check=True
    ).stderr
    return printed.split('"')[1]


def _fetch_jars(folder: Path) -> None:
    maven = need("mvn", WHY)
    _run(
        *(maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"),
        *(f"-DoutputDirectory={folder}", "-DincludeScope=runtime"),
    )


def _archive_classes(java: Sequence[str], folder: Path) -> None:
    """Run a broker once and keep its loaded classes: every later start takes half as long."""
    with KafkaBroker(java=java) as broker:
        broker.start(f"-XX:ArchiveClassesAtExit={folder / ARCHIVE}")
        broker.stop()


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stdout}{done.stderr}")


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; held together, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
