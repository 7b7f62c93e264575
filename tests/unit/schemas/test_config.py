"""Configuration: where values come from, and every problem at once."""

from pathlib import Path

import pytest

from schemas.config import effective, load
from schemas.errors import ConfigError, Problem
from schemas.identity import on_node
from schemas.settings import TargetSettings

SMALLEST = """\
clusters:
  - id: prod-eu-1
    labels: {environment: prod, region: eu}
    targets:
      - {job: apiserver, instance: cp-1, url: "https://10.0.0.11/metrics", tls: {ca_file: ca.crt}}
    logs: [{job: etcd, instance: cp-1, path: /var/log/etcd/*.log}]
kafka: {bootstrap: "kafka-1:9093,kafka-2:9093", tls: {ca_file: kafka-ca.crt}}
"""


def problems(tmp_path: Path, text: str, **environ: str) -> dict[str, Problem]:
    """Load a file that is wrong and return what is wrong by path."""
    file = tmp_path / "planewatch.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ=environ)
    return {problem.path: problem for problem in caught.value.problems}


def test_files_are_relative_to_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "planewatch.yaml"
    file.write_text(SMALLEST)
    settings = load(file, environ={}).settings
    tls = settings.clusters[0].targets[0].tls
    assert tls is not None
    assert tmp_path / "ca.crt" == tls.ca_file
    assert "/metrics" == settings.clusters[0].targets[0].path


def test_environment_wins_over_the_file_and_flags_over_both(tmp_path: Path) -> None:
    file = tmp_path / "planewatch.yaml"
    file.write_text("kafka: {prefix: file}\nconsole: {port: 1}\n")
    environ = {"PLANEWATCH_KAFKA__PREFIX": "environment", "PLANEWATCH_CONSOLE__PORT": "2"}
    loaded = load(file, flags={"console": {"port": 3}}, environ=environ)
    assert "environment" == loaded.settings.kafka.prefix
    assert 3 == loaded.settings.console.port
    origins = {path: origin for path, _, origin in effective(loaded)}
    assert "PLANEWATCH_KAFKA__PREFIX" == origins["kafka.prefix"]
    assert "command line" == origins["console.port"]
    assert "default" == origins["kafka.partitions"]


def test_every_problem_is_reported_with_path_and_line(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "clusters:\n  - id: Prod\n    lables: {}\nkafka: {partitions: 0}\nkafka: {prefix: a}\n",
        PLANEWATCH_KAFKA__BOOTSTRP="x",
        PLANEWATCH_CLICKHOUSE__DSN="mysql://x",
    )
    file = tmp_path / "planewatch.yaml"
    assert f"{file}:2" == found["clusters.0.id"].origin
    assert ("unknown key; did you mean labels?", f"{file}:3") == (
        found["clusters.0.lables"].message,
        found["clusters.0.lables"].origin,
    )
    assert ("given twice", f"{file}:5") == (found["kafka"].message, found["kafka"].origin)
    assert f"{file}:4" == found["kafka.partitions"].origin
    assert "did you mean PLANEWATCH_KAFKA__BOOTSTRAP?" in found["kafka.bootstrp"].message
    assert "PLANEWATCH_CLICKHOUSE__DSN" == found["clickhouse.dsn"].origin


def test_values_that_yaml_cannot_make_are_problems_like_others(tmp_path: Path) -> None:
    found = problems(
        tmp_path, "clusters: [{id: a, labels: {release: 2024-13-01}}]\nkafka: &a {x: *a}\n"
    )
    assert {"clusters.0.labels.release", "kafka.x"} == found.keys()


def test_a_path_from_the_environment_is_relative_to_where_we_started(tmp_path: Path) -> None:
    file = tmp_path / "planewatch.yaml"
    file.write_text("")
    environ = {"PLANEWATCH_CONSOLE__TOKEN_FILE": "token"}
    assert Path("token").absolute() == load(file, environ=environ).settings.console.token_file


def test_names_for_tests_are_no_settings(tmp_path: Path) -> None:
    load(None, flags={"data": str(tmp_path)}, environ={"PLANEWATCH_TEST_KAFKA": "x"})


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    assert ":2" in problems(tmp_path, "kafka: {\n  prefix: ]\n")[""].origin


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "none.yaml", environ={})


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("clusters: [{id: a}, {id: a}]", "clusters", "given twice: a"),
        ("console: {host: 0.0.0.0}", "console", "needs token_file"),
        ("clickhouse: {dsn: 'http://u:p@h:1/db'}", "clickhouse.dsn", "password_file"),
        ("kafka: {bootstrap: localhost}", "kafka.bootstrap", "host:port"),
        ("kafka: {tls: {server_name: a}}", "kafka", "the name that they connect to"),
        (
            "kafka: {sasl: {mechanism: PLAIN, username: a, password_file: b}}",
            "kafka",
            "it needs tls",
        ),
        (
            "clusters: [{id: a, targets: [{job: etcd, instance: a, url: 'https://h:65536/m'}]}]",
            "clusters.0.targets.0.url",
            "host:port",
        ),
        (
            "clusters: [{id: a, targets: [{job: e, instance: a, url: 'http://h/', tls: {}}]}]",
            "clusters.0.targets.0",
            "https://",
        ),
        (
            "clusters: [{id: a, targets: "
            "[{job: e, instance: a, url: 'http://h/', bearer_token_file: t}]}]",
            "clusters.0.targets.0",
            "https:// only",
        ),
        (
            "clusters: [{id: a, targets: [{job: etcd, instance: a, url: 'http://u:p@h/'}]}]",
            "clusters.0.targets.0.url",
            "not into the URL",
        ),
        (
            "clusters: [{id: a, discovery: {}}]",
            "clusters.0.discovery",
            "write kubeconfig, or in_cluster: true",
        ),
        (
            "clusters: [{id: a, kubeconfig: k, in_cluster: true}]",
            "clusters.0.in_cluster",
            "write one of them",
        ),
        (
            "clusters: [{id: a, in_cluster: true, discovery: {profile: eks, jobs: [etcd]}}]",
            "clusters.0.discovery.jobs",
            "eks shows apiserver, coredns, but not etcd",
        ),
        (
            "clusters: [{id: a, in_cluster: true, discovery: {jobs: [etcd]}}]",
            "clusters.0.discovery.jobs",
            "name it in services.etcd",
        ),
        (
            "clusters: [{id: a, in_cluster: true, "
            "discovery: {services: {apiserver: {service: kubernetes}}}}]",
            "clusters.0.discovery.services",
            "leave apiserver out",
        ),
        (
            "clusters: [{id: a, in_cluster: true, "
            "discovery: {services: {etcd: {service: etcd, scheme: http, bearer_token_file: t}}}}]",
            "clusters.0.discovery.services.etcd",
            "need scheme: https",
        ),
        (
            "clusters: [{id: a, in_cluster: true, discovery: {services: {etcd: {servic: e}}}}]",
            "clusters.0.discovery.services.etcd.servic",
            "unknown key",
        ),
    ],
)
def test_values_that_cannot_work_say_why(
    tmp_path: Path, text: str, path: str, message: str
) -> None:
    assert message in problems(tmp_path, text)[path].message


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("{rule: A}", "", "changes nothing: it needs one of enabled, threshold, for, "),
        ("{rule: A, fro: 5m}", ".fro", "unknown key; did you mean for?"),
        ("{rule: A, for: 5x}", ".for", "expected a duration as in rule files, as 90s or 1h30m"),
        ("{rule: A, keep_firing_for: 5}", ".keep_firing_for", "should be a valid string"),
        ("{rule: A, threshold: .nan}", ".threshold", "should be a finite number"),
        ("{rule: A, severity: Bad one}", ".severity", "should match pattern"),
        ("{for: 5m}", ".rule", "missing"),
        (
            "{rule: A, for: 5m, clusters: [ok, Prod]}",
            ".clusters",
            "no cluster has such an id: Prod",
        ),
    ],
)
def test_a_wrong_override_is_told_with_path_and_line(
    tmp_path: Path, override: str, path: str, message: str
) -> None:
    found = problems(tmp_path, f"rules:\n  overrides:\n    - {override}\n")
    (problem,) = found.values()
    assert f"rules.overrides.0{path}" == problem.path
    assert message in problem.message
    assert f"{tmp_path / 'planewatch.yaml'}:3" == problem.origin


def test_overrides_are_read_and_shown_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "planewatch.yaml"
    file.write_text("rules: {overrides: [{rule: A, for: 0, clusters: [a-*], threshold: 5}]}\n")
    loaded = load(file, environ={})
    (override,) = loaded.settings.rules.overrides
    assert ("0", 5.0, ("threshold", "for")) == (
        override.for_,
        override.threshold,
        override.changes,
    )
    assert ("rules.overrides.0.for", "0", f"{file}:1") in effective(loaded)


def test_discovery_is_shown_with_its_services(tmp_path: Path) -> None:
    file = tmp_path / "planewatch.yaml"
    file.write_text(
        "clusters:\n  - id: a\n    kubeconfig: k\n    discovery:\n"
        "      services: {etcd: {service: etcd, tls: {ca_file: ca.crt}}}\n"
    )
    loaded = load(file, environ={})
    discovery = loaded.settings.clusters[0].discovery
    assert discovery and ["apiserver", "etcd", "coredns"] == list(discovery.wanted)
    shown = {path: (value, origin) for path, value, origin in effective(loaded)}
    assert ("self-managed", "default") == shown["clusters.0.discovery.profile"]
    assert (str(tmp_path / "ca.crt"), f"{file}:5") == shown[
        "clusters.0.discovery.services.etcd.tls.ca_file"
    ]


@pytest.mark.parametrize(
    ("url", "instance"),
    [
        ("http://127.0.0.1:2381/metrics", "127.0.0.1:2381"),
        ("https://10.0.0.11/metrics", "10.0.0.11:443"),
        ("http://etcd-1", "etcd-1:80"),
        ("https://[fd00::1]:6443", "[fd00::1]:6443"),
    ],
)
def test_an_instance_without_a_name_is_called_as_prometheus_calls_it(
    url: str, instance: str
) -> None:
    assert instance == TargetSettings.model_validate({"job": "etcd", "url": url}).instance


def test_a_url_that_is_none_is_told_though_the_instance_has_no_name(tmp_path: Path) -> None:
    found = problems(tmp_path, "clusters: [{id: a, targets: [{job: etcd, url: 'ftp://h:x/'}]}]")
    (problem,) = found.values()
    assert "expected http://" in str(problem)


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        ("127.0.0.1:2381", "cp-1:2381"),
        ("localhost", "cp-1"),
        ("::1", "cp-1"),
        ("[::1]:10259", "cp-1:10259"),
        ("10.0.0.11:2381", "10.0.0.11:2381"),
        ("cp-2", "cp-2"),
        ("127.0.0.1x:1", "127.0.0.1x:1"),
    ],
)
def test_what_listens_on_loopback_is_called_by_its_node(instance: str, expected: str) -> None:
    assert expected == on_node(instance, "cp-1")
    assert instance == on_node(instance, "")
