"""Ask with clickhouse-go, the client within Grafana's ClickHouse data source.

In: where ClickHouse listens, and statements. Out: what the client read. Rule: it is built once for
this user from the modules that go.sum names, at the version that the data source has, and with its
options (HTTP, gzip): pkg/plugin/driver.go of grafana/clickhouse-datasource.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.services.cache import built
from tests.services.needs import need

SOURCES = Path(__file__).with_name("clickhouse_go")
ANSWER_S_MAX = 60


def asked(
    statements: Sequence[str],
    *,
    address: str,
    password: str,
    username: str = "planewatch",
    database: str = "planewatch",
    settings: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return {"rows": [names, values...]} or {"error": text} for each statement, over one client.

    `address`: host:port. All values are texts, as Go prints them.
    """
    arguments = [address, username, password, database, json.dumps(settings or {})]
    done = subprocess.run(
        [_program(), *arguments],
        input="".join(f"{json.dumps(one)}\n" for one in statements),
        capture_output=True,
        text=True,
        timeout=ANSWER_S_MAX,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _program() -> Path:
    go = need("go", "answers to the client of Grafana's data source")
    digest = hashlib.sha256()
    for file in sorted(SOURCES.iterdir()):
        digest.update(file.read_bytes())

    def build(folder: Path) -> None:
        source = folder / "source"
        shutil.copytree(SOURCES, source)
        subprocess.run([go, "build", "-o", folder / "asks", "."], cwd=source, check=True)

    return built(f"clickhouse-go-{digest.hexdigest()[:16]}", build) / "asks"
