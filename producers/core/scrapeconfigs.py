"""Turn scrape configurations of Prometheus into targets. In: the YAML of a file, and the folder of
its relative paths. Out: targets as our configuration has them, and what was left out and why.

The rule this file owns: nothing is dropped without a word. A job whose targets or credentials we
cannot have is refused with its line; of a job that we take, whatever is left out is told.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import urlencode

import yaml
from pydantic import ValidationError

from schemas.identity import METRICS_PATH
from schemas.settings import TargetSettings

TEXT_CHARS_MAX: Final = 10_000_000
TARGETS_MAX: Final = 10_000
INTERVAL: Final = "1m"  # Prometheus' own defaults
TIMEOUT: Final = "10s"

Tree = dict[str, Any]

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdw])")
_TAKEN: Final = frozenset(
    {
        *("job_name", "scrape_interval", "scrape_timeout", "metrics_path", "scheme", "params"),
        *("static_configs", "tls_config", "authorization", "bearer_token_file"),
    }
)
_AS_WE_DO: Final = frozenset(
    {
        *("honor_timestamps", "follow_redirects", "enable_http2", "enable_compression"),
        *("scrape_protocols", "scrape_classic_histograms", "always_scrape_classic_histograms"),
    }
)
_UNABLE: Final = frozenset(
    {"basic_auth", "oauth2", "sigv4", "azuread", "google_iam", "proxy_url", "bearer_token"}
)
_TLS: Final = ("ca_file", "cert_file", "key_file", "server_name", "insecure_skip_verify")
_FILES: Final = frozenset({"ca_file", "cert_file", "key_file"})


class Refused(ValueError):
    """A job cannot be taken."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not in the targets."""

    line: int
    job: str
    what: str


@dataclass(slots=True)
class Imported:
    """What became of a file."""

    targets: list[Tree] = field(default_factory=list)  # as `targets` of a cluster has them
    refused: list[LeftOut] = field(default_factory=list)
    notes: list[LeftOut] = field(default_factory=list)


def imported(text: str, folder: PurePath) -> Imported:
    """Return the targets of a configuration of Prometheus, or of a bare list of its jobs."""
    found = Imported()
    try:
        if len(text) > TEXT_CHARS_MAX:
            raise Refused(f"longer than {TEXT_CHARS_MAX} characters")
        defaults, jobs = _jobs(text)
        for line, job in jobs:
            _take(found, line, defaults | job, folder)
    except Refused as error:
        found.refused.append(LeftOut(0, "", str(error)))
    except RecursionError:
        found.refused.append(LeftOut(0, "", "nested too deep"))
    return found


def _jobs(text: str) -> tuple[Tree, list[tuple[int, Tree]]]:
    """Return what `global` sets for all jobs, and each job with its line.

    Raises:
        Refused: it is no such file.
    """
    try:
        node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Refused(f"not YAML: {error}") from error
    defaults: Tree = {"scrape_interval": INTERVAL, "scrape_timeout": TIMEOUT}
    if isinstance(tree, dict):
        given = _mapping(tree, "global")
        defaults |= {name: given[name] for name in defaults if name in given}
        node = next((value for key, value in node.value if key.value == "scrape_configs"), None)
        tree = tree.get("scrape_configs")
    if not isinstance(tree, list) or not all(isinstance(one, dict) for one in tree):
        raise Refused("there are no scrape_configs in it")
    lines = [one.start_mark.line + 1 for one in node.value]
    return defaults, list(zip(lines, tree, strict=True))


def _mapping(tree: Tree, name: str) -> Tree:
    found = tree.get(name) or {}
    if not isinstance(found, dict):
        raise Refused(f"{name} is no mapping")
    return found


def _list(tree: Tree, name: str) -> list[Any]:
    found = tree.get(name) or []
    if not isinstance(found, list):
        raise Refused(f"{name} is no list")
    return found


def _take(found: Imported, line: int, job: Tree, folder: PurePath) -> None:
    name = str(job.get("job_name", ""))
    try:
        targets = list(_targets(job, folder))
        if not targets:
            raise Refused("there are no targets in it")
        if len(found.targets) + len(targets) > TARGETS_MAX:
            raise Refused(f"more than {TARGETS_MAX} targets")
        for one in targets:
            TargetSettings.model_validate(one)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        found.refused.append(LeftOut(line, name, f"{where}: {first['msg']}"))
    except Refused as error:
        found.refused.append(LeftOut(line, name, str(error)))
    else:
        found.targets += targets
        others = job.keys() - _TAKEN - _AS_WE_DO
        found.notes += [LeftOut(line, name, f"{other}: {_note(other)}") for other in sorted(others)]


def _note(name: str) -> str:
    if name.endswith("relabel_configs"):
        return "labels and series stay as their server has them"
    return "there is no such setting here"


def _targets(job: Tree, folder: PurePath) -> Iterator[Tree]:
    """Yield the targets of a job.

    Raises:
        Refused: they are not in it, or we cannot have its credentials.
    """
    if unable := sorted(job.keys() & _UNABLE):
        raise Refused(f"{unable[0]} is not supported")
    if found := sorted(name for name in job if name.endswith("_sd_configs")):
        raise Refused(
            f"its targets come from {found[0]}: let `discovery` find those of the control plane, "
            "or name them in static_configs"
        )
    shared = _shared(job, folder)
    for group in _list(job, "static_configs"):
        if not isinstance(group, dict):
            raise Refused("static_configs holds something else than mappings")
        labels = {str(name): str(value) for name, value in _mapping(group, "labels").items()}
        for address in _list(group, "targets"):
            yield _target(job, str(address), dict(labels)) | shared


def _target(job: Tree, address: str, labels: dict[str, str]) -> Tree:
    scheme = labels.pop("__scheme__", None) or job.get("scheme", "http")
    path = labels.pop("__metrics_path__", None) or job.get("metrics_path", METRICS_PATH)
    if hidden := sorted(one for one in labels if one.startswith("__")):
        raise Refused(f"the label {hidden[0]} is for relabelling, which is not done here")
    query = urlencode(_mapping(job, "params"), doseq=True)
    target: Tree = {"job": labels.pop("job", None) or str(job.get("job_name", ""))}
    if instance := labels.pop("instance", None):
        target["instance"] = instance
    target["url"] = f"{scheme}://{address}{path}" + (f"?{query}" if query else "")
    return target | ({"labels": labels} if labels else {})


def _shared(job: Tree, folder: PurePath) -> Tree:
    """Return what all targets of a job have in common."""
    shared: Tree = {}
    if tls := _mapping(job, "tls_config"):
        if unknown := sorted(tls.keys() - set(_TLS)):
            raise Refused(f"tls_config.{unknown[0]} is not supported; certificates are files here")
        shared["tls"] = {name: _at(tls, name, folder) for name in _TLS if name in tls}
    if token := _token_file(job):
        shared["bearer_token_file"] = str(folder / token)
    shared["interval_s"] = _seconds(job["scrape_interval"])
    shared["timeout_s"] = min(_seconds(job["scrape_timeout"]), shared["interval_s"])
    return shared


def _token_file(job: Tree) -> str | None:
    authorization = _mapping(job, "authorization")
    kind = str(authorization.get("type", "Bearer"))
    if authorization and kind.lower() != "bearer":
        raise Refused(f"authorization of type {kind} is not supported")
    if "credentials" in authorization:
        raise Refused(
            "a secret stands in it: write it into a file, and name that: credentials_file"
        )
    file = authorization.get("credentials_file") or job.get("bearer_token_file")
    return None if file is None else str(file)


def _at(tls: Mapping[str, Any], name: str, folder: PurePath) -> Any:
    return str(folder / str(tls[name])) if name in _FILES else tls[name]


def _seconds(duration: Any) -> float:
    found = _DURATION.findall(str(duration))
    if not found or "".join(number + unit for number, unit in found) != str(duration):
        raise Refused(f"{duration} is no duration")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in found)
    return int(seconds) if seconds == int(seconds) else seconds
