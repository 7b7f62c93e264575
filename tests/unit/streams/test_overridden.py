"""Each cluster of a worker is judged by its own rules."""

from pathlib import Path

import msgspec
from click.testing import CliRunner

from schemas.partition import partition_of
from schemas.settings import RuleOverride
from schemas.topics import TopicName
from streams.__main__ import cli
from streams.core.context import Context
from streams.core.rules.overrides import RuleSets
from streams.core.samples import Scrape
from tests.scrapes import CLUSTER, failed
from tests.shards import PARTITION, PARTITIONS, RULES, Life, Log, chunked, rules

T = 1_700_000_010_000
OTHER = next(f"c{i}" for i in range(2, 99) if partition_of(f"c{i}", PARTITIONS) == PARTITION)


def test_an_override_is_about_its_clusters_alone() -> None:
    louder = {"rule": "Down", "clusters": [OTHER], "severity": "page"}
    quieter = {"rule": "Down", "cluster_labels": {"environment": "dev"}, "for": "1h"}
    overrides = [RuleOverride.model_validate(one) for one in (louder, quieter)]
    labels = {CLUSTER: {"environment": "dev"}}
    log, life = Log(), Life(Context(RuleSets(rules(), overrides, labels), 660_000))
    for t_ms in (T, T + 5_000):
        for cluster in (CLUSTER, OTHER):
            one = failed(t_ms)
            envelope = msgspec.structs.replace(one.envelope, cluster=cluster)
            renamed = Scrape(envelope, one.rows, one.layout)
            log.add(TopicName.SCRAPES, chunked(renamed, 1)[0])

    for entry in log.entries:
        life.take(entry)

    fired = [(one.cluster, one.severity) for one in life.alerts().values()]
    assert [(OTHER, "page")] == fired
    engines = life.shard.engines
    assert engines[CLUSTER].rules.hash != engines[OTHER].rules.hash


def test_list_shows_what_is_overridden_for_which_clusters(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RULES)
    (tmp_path / "planewatch.yaml").write_text(
        """
clusters: [{id: dev, labels: {environment: dev}}]
rules:
  paths: [mine.yaml]
  shipped: false
  overrides:
    - {rule: a/Busy, for: 1m}
    - {rule: Busy, threshold: 50, clusters: [prod-*], cluster_labels: {environment: dev}}
    - {rule: Busy, enabled: false, clusters: [dev]}
"""
    )

    config = str(tmp_path / "planewatch.yaml")
    listed = CliRunner().invoke(cli, ["rules", "list", "--config", config])

    rows = [line.split("\t") for line in listed.output.splitlines()]
    busy = [(row[4], *row[7:]) for row in rows if row[1] == "Busy"]
    assert [
        ("60s", "5", "", ""),
        ("60s", "50", "prod-* and environment=dev", ""),
        ("60s", "5", "dev", "disabled"),
    ] == busy
    assert 11 == len(rows)


def test_an_override_that_cannot_be_done_is_wrong_configuration(tmp_path: Path) -> None:
    config = tmp_path / "planewatch.yaml"
    config.write_text("rules: {overrides: [{rule: Watchdgo, enabled: false}]}")

    listed = CliRunner().invoke(cli, ["rules", "list", "--config", str(config)])

    assert "did you mean Watchdog?" in f"{listed.output}{listed.exception}"
