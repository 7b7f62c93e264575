"""Targets of Prometheus become ours, and what does not is told."""

import subprocess
import sys
from pathlib import Path, PurePath

import pytest
import yaml

from producers.core.scrapeconfigs import TARGETS_MAX, imported
from schemas.config import load

FOLDER = PurePath("/etc/prometheus")
WHOLE = """\
global: {scrape_interval: 20s}
scrape_configs:
  - job_name: etcd
    scheme: https
    tls_config: {ca_file: ca.crt, cert_file: /pki/c.crt, key_file: /pki/c.key, server_name: etcd}
    static_configs:
      - {targets: ["10.0.0.1:2379", "10.0.0.2:2379"], labels: {zone: a}}
  - job_name: kube-apiserver
    scrape_interval: 1m30s
    scrape_timeout: 25s
    scheme: https
    metrics_path: /metrics/slis
    params: {name: [a, b]}
    authorization: {credentials_file: token}
    static_configs: [{targets: ["10.0.0.1"], labels: {instance: cp-1, job: apiserver}}]
    metric_relabel_configs: []
    sample_limit: 5
"""


def job(text: str) -> str:
    return f"scrape_configs: [{{job_name: j, {text}}}]"


def test_static_targets_become_ours() -> None:
    found = imported(WHOLE, FOLDER)
    tls = {
        "ca_file": "/etc/prometheus/ca.crt",
        "cert_file": "/pki/c.crt",
        "key_file": "/pki/c.key",
        "server_name": "etcd",
    }
    every = {"labels": {"zone": "a"}, "tls": tls, "interval_s": 20, "timeout_s": 10}
    assert [
        {"job": "etcd", "url": "https://10.0.0.1:2379/metrics"} | every,
        {"job": "etcd", "url": "https://10.0.0.2:2379/metrics"} | every,
        {
            "job": "apiserver",
            "instance": "cp-1",
            "url": "https://10.0.0.1/metrics/slis?name=a&name=b",
            "bearer_token_file": "/etc/prometheus/token",
            "interval_s": 90,
            "timeout_s": 25,
        },
    ] == found.targets
    assert not found.refused
    assert [
        (8, "kube-apiserver", "metric_relabel_configs: labels and series stay as their server has"),
        (8, "kube-apiserver", "sample_limit: there is no such setting here"),
    ] == [(one.line, one.job, one.what.removesuffix(" them")) for one in found.notes]


def test_defaults_are_those_of_prometheus_and_labels_override_what_a_url_is_made_of() -> None:
    text = job(
        "static_configs: [{targets: ['h:1'], labels: {__scheme__: https, __metrics_path__: /m}}]"
    )
    (target,) = imported(text, FOLDER).targets
    assert ("https://h:1/m", 60, 10) == (target["url"], target["interval_s"], target["timeout_s"])
    (short,) = imported(
        job("scrape_interval: 500ms, static_configs: [{targets: [h]}]"), FOLDER
    ).targets
    assert (0.5, 0.5) == (short["interval_s"], short["timeout_s"])


def test_a_bare_list_of_jobs_will_do() -> None:
    found = imported("- {job_name: j, static_configs: [{targets: ['h:1']}]}", FOLDER)
    assert ["http://h:1/metrics"] == [one["url"] for one in found.targets]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (job("kubernetes_sd_configs: [{role: pod}]"), "come from kubernetes_sd_configs"),
        (job("basic_auth: {username: u}"), "basic_auth is not supported"),
        (job("authorization: {credentials: s3cret}"), "a secret stands in it"),
        (job("authorization: {type: Digest, credentials_file: f}"), "type Digest"),
        (job("tls_config: {ca: PEM}"), "tls_config.ca is not supported"),
        (job("tls_config: []"), "there are no targets"),
        (job("tls_config: [1]"), "tls_config is no mapping"),
        (job("static_configs: [h]"), "something else than mappings"),
        (job("static_configs: {targets: h}"), "static_configs is no list"),
        (job("static_configs: [{targets: h}]"), "targets is no list"),
        (job("scrape_interval: 5 s, static_configs: [{targets: [h]}]"), "5 s is no duration"),
        (job("scrape_interval: 0s, static_configs: [{targets: [h]}]"), "interval_s: Input should"),
        (job("static_configs: [{targets: [h], labels: {__param_x: y}}]"), "for relabelling"),
        (job("static_configs: [{targets: ['h:99999']}]"), "url: Value error, expected http"),
        (job("scheme: ftp, static_configs: [{targets: [h]}]"), "url: Value error, expected http"),
        ("a: [", "not YAML"),
        ("a: 1", "there are no scrape_configs"),
        ("scrape_configs: [x]", "there are no scrape_configs"),
        ("", "there are no scrape_configs"),
        ("[" * 3_000, "nested too deep"),
        ("global: [1]", "global is no mapping"),
    ],
)
def test_what_cannot_be_taken_says_why(text: str, why: str) -> None:
    found = imported(text, FOLDER)
    assert not found.targets
    (refused,) = found.refused
    assert why in refused.what
    assert "s3cret" not in refused.what


def test_a_job_that_is_refused_takes_no_other_with_it() -> None:
    text = WHOLE + "  - {job_name: k, proxy_url: x, static_configs: [{targets: [h]}]}\n"
    found = imported(text, FOLDER)
    assert 3 == len(found.targets)
    assert [(18, "k")] == [(one.line, one.job) for one in found.refused]


def test_the_number_of_targets_has_a_maximum() -> None:
    many = ", ".join(f"h{number}" for number in range(TARGETS_MAX + 1))
    found = imported(job(f"static_configs: [{{targets: [{many}]}}]"), FOLDER)
    assert not found.targets and "more than" in found.refused[0].what


def test_the_command_prints_what_our_configuration_reads(tmp_path: Path) -> None:
    source, ours = tmp_path / "prometheus.yml", tmp_path / "planewatch.yaml"
    source.write_text(WHOLE + "  - {job_name: k, kubernetes_sd_configs: [{role: node}]}\n")
    command = [sys.executable, "-P", "-m", "producers", "targets", "import", str(source)]
    done = subprocess.run(
        [*command, "--cluster", "prod-eu-1"], capture_output=True, text=True, check=False
    )
    assert 1 == done.returncode
    assert f"{source}:18: refused: k: its targets come from" in done.stderr
    assert "3 targets, 1 refused" in done.stderr
    ours.write_text(done.stdout)
    (cluster,) = load(ours, environ={}).settings.clusters
    assert ["10.0.0.1:2379", "10.0.0.2:2379", "cp-1"] == [one.instance for one in cluster.targets]
    assert "&" not in done.stdout.replace("name=a&name=b", "")
    assert yaml.safe_load(done.stdout)["clusters"][0]["id"] == "prod-eu-1"

    done = subprocess.run(
        [*command, "--cluster", "Prod"], capture_output=True, text=True, check=False
    )
    assert 2 == done.returncode and "is no id of a cluster" in done.stderr
