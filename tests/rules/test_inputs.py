"""Shipped rules name nothing that no control plane says.

In: all rule files, and the captures of Kubernetes 1.31, 1.35 and 1.36. Every metric, every label
and every value that a rule compares with `=` is in a capture, or stands in NOT_CAPTURED with the
reason. The rule this file owns: a rule that can never match is found here, not on a quiet
dashboard.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import promql_parser as ast
import pytest
import yaml

from schemas.identity import JOB_ALIASES
from tests import fixtures
from tests.scrapes import job_of, rule_folder

Labels = Mapping[str, str]
Names = frozenset[str]

OF_TARGETS: Final = frozenset({"cluster", "job", "instance", "zone"})
"""Labels that come from the configuration of a target; the zone of kubelets is one."""
OURS: Final = re.compile(r"up|scrape_\w+|planewatch_\w+|ALERTS(_FOR_STATE)?")
"""What streams make themselves; other tests hold their names and labels."""
LINE: Final = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ")
PAIR: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
BASE: Final = re.compile(r"(\w+?)(?:_bucket|_count|_sum)?")


@dataclass(frozen=True)
class Missing:
    """A metric that no captured server had: why, and its labels by its source code."""

    why: str
    labels: tuple[str, ...] = ()


NO_COREDNS: Final = "no CoreDNS was captured; names and labels by its source code, 1.8 to 1.12"
NO_WEBHOOK: Final = "no admission webhook was configured"
NOT_CAPTURED: Final[dict[str, Missing]] = {
    "aggregator_unavailable_apiservice_total": Missing(
        "no aggregated API was ever unavailable", ("name", "reason")
    ),
    "apiserver_admission_webhook_admission_duration_seconds": Missing(
        NO_WEBHOOK, ("name", "type", "operation", "rejected")
    ),
    "apiserver_admission_webhook_fail_open_count": Missing(NO_WEBHOOK, ("name", "type")),
    "apiserver_admission_webhook_rejection_count": Missing(
        NO_WEBHOOK, ("name", "type", "operation", "error_type", "rejection_code")
    ),
    "apiserver_admission_webhook_request_total": Missing(
        NO_WEBHOOK, ("name", "type", "operation", "code", "rejected")
    ),
    "apiserver_audit_error_total": Missing("no audit event was lost", ("plugin",)),
    "apiserver_egress_dialer_dial_failure_count": Missing(
        "no egress selector was configured", ("protocol", "stage")
    ),
    "apiserver_request_aborts_total": Missing(
        "no handler panicked", ("verb", "group", "version", "resource", "subresource", "scope")
    ),
    "apiserver_storage_consistency_checks_total": Missing(
        "the check is off by default", ("group", "resource", "status")
    ),
    "apiserver_terminated_watchers_total": Missing(
        "no watcher was ever too slow", ("group", "resource")
    ),
    "coredns_cache_hits_total": Missing(NO_COREDNS, ("server", "type", "zones", "view")),
    "coredns_cache_requests_total": Missing(NO_COREDNS, ("server", "zones", "view")),
    "coredns_cache_served_stale_total": Missing(NO_COREDNS, ("server", "zones", "view")),
    "coredns_dns_request_duration_seconds": Missing(NO_COREDNS, ("server", "zone", "view")),
    "coredns_dns_requests_total": Missing(
        NO_COREDNS, ("server", "zone", "view", "proto", "family", "type")
    ),
    "coredns_dns_responses_total": Missing(
        NO_COREDNS, ("server", "zone", "view", "rcode", "plugin")
    ),
    "coredns_forward_healthcheck_broken_total": Missing(NO_COREDNS),
    "coredns_health_request_duration_seconds": Missing(NO_COREDNS),
    "coredns_kubernetes_dns_programming_duration_seconds": Missing(NO_COREDNS, ("service_kind",)),
    "coredns_kubernetes_rest_client_request_duration_seconds": Missing(
        NO_COREDNS, ("verb", "host")
    ),
    "coredns_kubernetes_rest_client_requests_total": Missing(
        NO_COREDNS, ("method", "code", "host")
    ),
    "coredns_panics_total": Missing(NO_COREDNS),
    "coredns_proxy_request_duration_seconds": Missing(NO_COREDNS, ("proxy_name", "to", "rcode")),
    "etcd_debugging_server_alarms": Missing("no alarm was raised", ("server_id", "alarm_type")),
    "grpc_server_handling_seconds": Missing(
        "etcd ran without --metrics=extensive", ("grpc_method", "grpc_service", "grpc_type")
    ),
    "kubernetes_healthcheck": Missing("it is served at /metrics/slis", ("name", "type")),
    "watch_cache_capacity_decrease_total": Missing(
        "no cache grew and shrank again", ("group", "resource")
    ),
}
"""By name of the family, without _bucket, _count and _sum."""

NEVER_SO: Final[dict[str, str]] = {
    'apiserver_watch_cache_consistent_read_total{fallback="true"}': "no cache ever lagged",
    'authentication_attempts{result!="success"}': "nobody came with a wrong credential",
    'leader_election_master_status{name!~"kube-scheduler|kube-controller-manager"}': (
        "no cloud controller manager ran"
    ),
    'scheduler_schedule_attempts_total{result="error"}': "the scheduler never failed",
}
"""Metrics that were captured, but never with such a label."""

NEVER_RAN: Final = frozenset({"kubelet"})
"""Jobs without a capture that serve the client metrics of all components."""


@dataclass
class Captured:
    """All series of one metric, by job."""

    series: dict[str, list[Labels]] = field(default_factory=lambda: defaultdict(list))

    def names(self) -> Names:
        """Return all names of labels."""
        return frozenset(name for each in self.series.values() for one in each for name in one)


@cache
def captured() -> Mapping[str, Captured]:
    """Return the metrics of all captures by name."""
    lines: dict[str, set[str]] = defaultdict(set)
    for name in fixtures.metrics_names():
        component = name.partition("-")[2]
        job = {"api-server": "apiserver", "etcd": "etcd"}.get(component, f"kube-{component}")
        lines[job] |= set(_series(fixtures.metrics(name)))
    for one in fixtures.cluster_index():
        if one.format == "text" and one.file is not None:
            lines[job_of(one.instance)] |= set(_series(one.body()))
    found: dict[str, Captured] = defaultdict(Captured)
    for job, texts in lines.items():
        for text in texts:
            match = LINE.match(text)
            assert match, text
            found[match[1]].series[job].append(dict(PAIR.findall(match[2] or "")))
    return found


def _series(body: bytes) -> Iterator[str]:
    for line in body.decode().splitlines():
        if line and not line.startswith("#"):
            yield line[: line.rindex(" ") + 1]


@cache
def rules() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return all shipped rules with the names of their files."""
    return tuple(
        (file.name, rule)
        for file in sorted(rule_folder().glob("*.yaml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    )


@cache
def recorded() -> Mapping[str, tuple[dict[str, Any], ...]]:
    found: dict[str, tuple[dict[str, Any], ...]] = {}
    for _, rule in rules():
        if "record" in rule:
            found[rule["record"]] = (*found.get(rule["record"], ()), rule)
    return found


def selectors(expr: Any) -> Iterator[ast.VectorSelector]:
    """Return all selectors of an expression."""
    if isinstance(expr, ast.VectorSelector):
        yield expr
    elif isinstance(expr, ast.MatrixSelector):
        yield expr.vector_selector
    for child in _children(expr):
        yield from selectors(child)


def _children(expr: Any) -> list[Any]:
    match expr:
        case ast.BinaryExpr():
            return [expr.lhs, expr.rhs]
        case ast.Call():
            return list(expr.args)
        case ast.AggregateExpr():
            return [one for one in (expr.param, expr.expr) if one is not None]
        case ast.ParenExpr() | ast.UnaryExpr() | ast.SubqueryExpr():
            return [expr.expr]
    return []


def family(name: str) -> str:
    base = BASE.fullmatch(name)
    assert base, name
    return base[1] if base[1] in NOT_CAPTURED else name


def complaints(expr: Any) -> list[str]:
    """Return what the selectors of an expression name that is not there."""
    found: list[str] = []
    for one in selectors(expr):
        name = str(one.name)
        if OURS.fullmatch(name):
            continue
        wanted = {matcher.name for matcher in one.matchers.matchers} - OF_TARGETS
        missing = wanted - _labels_of(name, found)
        found += [f"{name} has no label {label}" for label in sorted(missing)]
        if not missing and name in captured():
            found += _never_matched(one)
    return found


def _labels_of(name: str, found: list[str]) -> Names:
    if name in recorded():
        return labels_of_record(name)
    if family(name) in NOT_CAPTURED:
        return frozenset({*NOT_CAPTURED[family(name)].labels, "le"})
    if name not in captured():
        found.append(f"{name} is in no capture")
    return captured()[name].names() if name in captured() else frozenset()


def _never_matched(selector: ast.VectorSelector) -> list[str]:
    """Complain of a selector that matches no series, and of values that no series has."""
    name, matchers = str(selector.name), selector.matchers.matchers
    allowed = {text for text in NEVER_SO if text.startswith(name + "{")}
    jobs = captured()[name].series
    for matcher in matchers:
        if matcher.name == "job" and matcher.value not in NEVER_RAN:
            jobs = {job: one for job, one in jobs.items() if _test_job(matcher, job)}
    series = [one for each in jobs.values() for one in each]
    if not series:
        return [f"{name} is of another job"]
    inside = [one for one in matchers if one.name not in OF_TARGETS]
    if any(all(_test(one, labels) for one in inside) for labels in series):
        return []
    spelled = {f'{name}{{{one.name}{_sign(one.op)}"{one.value}"}}' for one in inside}
    return [] if spelled & allowed else [f"no captured series matches {selector.prettify()}"]


def _test(matcher: Any, labels: Labels) -> bool:
    return _compare(matcher, labels.get(matcher.name, ""))


def _compare(matcher: Any, text: str) -> bool:
    if matcher.op == ast.MatchOp.Equal:
        return bool(matcher.value == text)
    if matcher.op == ast.MatchOp.NotEqual:
        return bool(matcher.value != text)
    hit = re.fullmatch(matcher.value, text) is not None
    return hit if matcher.op == ast.MatchOp.Re else not hit


def _sign(op: Any) -> str:
    if op == ast.MatchOp.Equal:
        return "="
    if op == ast.MatchOp.NotEqual:
        return "!="
    return "=~" if op == ast.MatchOp.Re else "!~"


def _test_job(matcher: Any, job: str) -> bool:
    aliases = {job, *(alias for alias, ours in JOB_ALIASES.items() if ours == job)}
    return any(_compare(matcher, one) for one in aliases)


@cache
def labels_of_record(name: str) -> Names:
    """Return all labels that the results of a recorded name can have."""
    found: Names = frozenset()
    for rule in recorded()[name]:
        found |= labels_of(ast.parse(rule["expr"]), []) | frozenset(rule.get("labels", ()))
    return found


def labels_of(expr: Any, found: list[str]) -> Names:
    """Return all labels that results can have; note each that is grouped or matched in vain."""
    match expr:
        case ast.VectorSelector() | ast.MatrixSelector():
            (selector,) = selectors(expr)
            if OURS.fullmatch(str(selector.name)):
                return frozenset(ANY) | OF_TARGETS
            return _labels_of(str(selector.name), []) | OF_TARGETS
        case ast.AggregateExpr():
            inner, modifier = labels_of(expr.expr, found), expr.modifier
            named = frozenset(modifier.labels) if modifier is not None else frozenset()
            found += _in_vain(named, inner, expr)
            by = modifier is None or modifier.type == ast.AggModifierType.By
            return named if by else inner - named
        case ast.BinaryExpr():
            return _labels_of_binary(expr, found)
        case ast.Call():
            inner = frozenset[str]().union(*(labels_of(one, found) for one in expr.args))
            if expr.func.name in ("label_replace", "label_join"):
                inner |= {expr.args[1].val}
            return inner - {"le"} if expr.func.name == "histogram_quantile" else inner
    return frozenset[str]().union(*(labels_of(one, found) for one in _children(expr)))


ANY: Final = ("*",)
"""Stands for all labels where a metric is our own."""


def _labels_of_binary(expr: ast.BinaryExpr, found: list[str]) -> Names:
    left, right = labels_of(expr.lhs, found), labels_of(expr.rhs, found)
    modifier = expr.modifier
    if modifier is not None and modifier.matching is not None:
        named = frozenset(modifier.matching.labels)
        found += _in_vain(named, left, expr) + _in_vain(named, right, expr)
    if (
        str(expr.op) == "or" or not left
    ):  # a number has no labels, and takes those of the other side
        return left | right
    return left | _included(modifier)


def _included(modifier: Any) -> Names:
    return frozenset(modifier.group_labels or ()) if modifier is not None else frozenset()


def _in_vain(named: Names, there: Names, expr: Any) -> list[str]:
    if set(ANY) <= there:
        return []
    return [f"{label} is no label of {expr.prettify()[:120]}" for label in sorted(named - there)]


def _name(rule: dict[str, Any]) -> str:
    return str(rule.get("record") or rule["alert"])


@pytest.mark.parametrize(
    "file", [pytest.param(one, id=one.name) for one in sorted(rule_folder().glob("*.yaml"))]
)
def test_all_inputs_of_rules_are_real(shared_fixtures: Path, file: Path) -> None:
    wrong: dict[str, list[str]] = {}
    for name, rule in rules():
        if name != file.name:
            continue
        expr = ast.parse(rule["expr"])
        found = complaints(expr)
        labels_of(expr, found)
        if found:
            wrong[_name(rule)] = found
    assert wrong == {}


def test_what_is_excused_is_used_and_really_not_there(shared_fixtures: Path) -> None:
    used = {str(one.name) for _, rule in rules() for one in selectors(ast.parse(rule["expr"]))}
    for name in NOT_CAPTURED:
        views = {name, *(f"{name}_{view}" for view in ("bucket", "count", "sum"))}
        assert not views & captured().keys(), f"{name} is captured"
        assert views & used, f"{name} is in no rule"
    for text in NEVER_SO:
        selector = ast.parse(text)
        assert isinstance(selector, ast.VectorSelector)
        assert str(selector.name) in used, text
        series = [one for each in captured()[str(selector.name)].series.values() for one in each]
        assert not any(
            all(_test(one, labels) for one in selector.matchers.matchers) for labels in series
        ), text


def test_a_name_that_no_server_says_is_found(shared_fixtures: Path) -> None:
    def wrong(text: str) -> list[str]:
        expr = ast.parse(text)
        found = complaints(expr)
        labels_of(expr, found)
        return found

    assert wrong("etcd_disk_fsync_seconds > 1") == ["etcd_disk_fsync_seconds is in no capture"]
    assert wrong('up == 0 or apiserver_request_total{client="x"}') == [
        "apiserver_request_total has no label client"
    ]
    assert wrong("sum by (user) (apiserver_request_total)") == [
        "user is no label of sum by (user) (apiserver_request_total)"
    ]
    assert wrong('etcd_server_has_leader{job="apiserver"}') == [
        "etcd_server_has_leader is of another job"
    ]
    assert wrong('rate(apiserver_request_total{verb="Get"}[5m])') == [
        'no captured series matches apiserver_request_total{verb="Get"}'
    ]
    assert wrong("sum by (flow) (apiserver:apf:queue_depth)") == [
        "flow is no label of sum by (flow) (apiserver:apf:queue_depth)"
    ]
