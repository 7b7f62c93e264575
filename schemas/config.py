"""Read the configuration. In: a YAML file, the environment, flags. Out: frozen settings with
origins, or ConfigError.

The rule this file owns: YAML < environment (PLANEWATCH_KAFKA__BOOTSTRAP) < flags, read once at
start and passed down. Everything wrong is reported at once, with its path and the file line or the
name it came from.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from schemas.errors import ConfigError, Problem
from schemas.settings import KafkaSettings, Settings

DEFAULT_FILE: Final = Path("planewatch.yaml")
PREFIX: Final = "PLANEWATCH_"
FOR_TESTS: Final = "PLANEWATCH_TEST_"

Tree = dict[str, Any]
Origins = dict[str, str]  # clusters.0.id -> planewatch.yaml:3


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each given value came from; what nobody gave is a default."""

    settings: Settings
    origins: Mapping[str, str]


def load(
    file: Path | None = None, *, flags: Tree | None = None, environ: Mapping[str, str] | None = None
) -> Loaded:
    """Return the effective settings.

    `file`: a path that must exist, or None for `planewatch.yaml` where it exists. `flags`: a nested
    dictionary of values given on the command line. `environ`: os.environ by default.

    Raises:
        ConfigError: with every problem.
    """
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    origins: Origins = {}
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    tree = _from_file(chosen, origins, problems) if chosen else {}
    _merge(tree, _from_environment(environ, origins, problems))
    _merge(tree, flags or {})
    origins |= {path: "command line" for path, _ in _leaves(flags or {})}
    try:
        base = chosen.absolute().parent if chosen else None
        settings = Settings.model_validate(tree, context={"base": base})
    except ValidationError as error:
        problems += _problems(error, origins)
        raise ConfigError(problems) from error
    if problems:
        raise ConfigError(problems)
    return Loaded(settings, origins)


def effective(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Return (path, value, origin) of every setting, in the order of the tree."""
    tree = loaded.settings.model_dump(mode="json")
    return [
        (path, "" if value is None else str(value), _given(path, loaded.origins) or "default")
        for path, value in _leaves(tree)
    ]


def without_settings() -> dict[str, str]:
    """Return the environment of this process without our settings, for a child with a file."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(PREFIX) or name.startswith(FOR_TESTS)
    }


def secret(file: Path, path: str) -> str:
    """Return the secret in `file`, which the setting `path` names, without its line end."""
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(path, f"cannot read {file}: {error}")]) from error


def kafka_password(kafka: KafkaSettings) -> str | None:
    """Return the password of the Kafka clients, or None where SASL is not configured.

    Raises:
        ConfigError: the file that holds it cannot be read.
    """
    if kafka.sasl is None:
        return None
    return secret(kafka.sasl.password_file, "kafka.sasl.password_file")


def _from_file(file: Path, origins: Origins, problems: list[Problem]) -> Tree:
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        problems.append(Problem("", f"cannot read {file}: {error.strerror}"))
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        problems.append(Problem("", getattr(error, "problem", None) or str(error), where))
        return {}
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        problems.append(Problem("", "expected keys and values", f"{file}:1"))
        return {}
    read = _Reader(file, origins, problems)
    tree: Tree = read.value(node, "")
    return tree


class _Reader:
    """Turns YAML nodes into values, noting the line of each path and every duplicate key."""

    def __init__(self, file: Path, origins: Origins, problems: list[Problem]) -> None:
        self._file, self._origins, self._problems = file, origins, problems
        self._scalars = yaml.SafeLoader("")
        self._open: list[yaml.Node] = []  # what we are within

    def value(self, node: yaml.Node, path: str) -> Any:
        where = f"{self._file}:{node.start_mark.line + 1}"
        self._origins[path] = where
        if not isinstance(node, yaml.ScalarNode):
            return self._collection(node, path, where)
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: 2024-13-01, !!int abc
            self._problems.append(Problem(path, getattr(error, "problem", str(error)), where))
            return None

    def _collection(self, node: yaml.Node, path: str, where: str) -> Any:
        if node in self._open:
            self._problems.append(Problem(path, "refers to itself", where))
            return None
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self.value(one, _join(path, str(i))) for i, one in enumerate(node.value)]
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: str) -> Tree:
        tree: Tree = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here = _join(path, key)
            if key in tree:
                where = f"{self._file}:{key_node.start_mark.line + 1}"
                self._problems.append(Problem(here, "given twice", where))
            _merge(tree, {key: self.value(value_node, here)})  # both are checked
            self._origins[here] = f"{self._file}:{key_node.start_mark.line + 1}"
        return tree


def _from_environment(
    environ: Mapping[str, str], origins: Origins, problems: list[Problem]
) -> Tree:
    tree: Tree = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(FOR_TESTS):
            continue
        path = name.removeprefix(PREFIX).lower().split("__")
        if not _known(Settings, path):
            hint = difflib.get_close_matches(name, list(_names(Settings, PREFIX)), 1)
            advice = f"; did you mean {hint[0]}?" if hint else ""
            problems.append(Problem(".".join(path), f"unknown setting{advice}", name))
            continue
        value = environ[name]
        if value and _is_path(_model_at(Settings, path[:-1], lists=False), path[-1]):
            value = str(Path(value).expanduser().absolute())  # relative to where we were started
        try:
            _merge(tree, _environment_source({name: value})())
        except SettingsError as error:
            problems.append(Problem(".".join(path), f"expected JSON: {error.__cause__}", name))
            continue
        origins[".".join(path)] = name
    return tree


def _environment_source(environ: Mapping[str, str]) -> EnvSettingsSource:
    """pydantic-settings reads one variable: nesting by `__`, lists and maps as JSON."""

    class Environment(Settings, BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
        )

    source = EnvSettingsSource(Environment)
    source.env_vars = {name.lower(): value for name, value in environ.items()}
    return source


def _problems(error: ValidationError, origins: Origins) -> Iterator[Problem]:
    for one in error.errors(include_url=False):
        path = ".".join(str(part) for part in one["loc"])
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            message = "unknown key" + _hint(one["loc"])
        elif one["type"] == "missing":
            message = "missing"
        yield Problem(path, message, _origin(path, origins) or "")


def _hint(loc: tuple[int | str, ...]) -> str:
    model = _model_at(Settings, [str(part) for part in loc[:-1]])
    fields = model.model_fields.items() if model else ()
    names = [field.alias or name for name, field in fields]
    near = difflib.get_close_matches(str(loc[-1]), names, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _given(path: str, origins: Mapping[str, str]) -> str | None:
    """The origin of the value at the path; a file gives leaves, a variable whole lists too."""
    if path in origins:
        return origins[path]
    around = _origin(path, origins)
    return around if around and ":" not in around else None


def _origin(path: str, origins: Mapping[str, str]) -> str | None:
    """The origin of the path, or of the nearest thing around it that was given."""
    while path:
        if path in origins:
            return origins[path]
        path = path.rpartition(".")[0]
    return None


def _known(model: type[BaseModel], path: list[str]) -> bool:
    return (
        _model_at(model, path[:-1], lists=False) is not None
        and path[-1] in (_model_at(model, path[:-1], lists=False) or model).model_fields
    )


def _model_at(
    model: type[BaseModel], path: list[str], *, lists: bool = True
) -> type[BaseModel] | None:
    """The settings class at `path`, or None; numbers step into lists."""
    found: type[BaseModel] | None = model
    for part in path:
        if part.isdigit() and lists:
            continue
        field = found.model_fields.get(part) if found else None
        found = _class_of(field.annotation) if field else None
    return found


def _class_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_class_of(one) for one in getattr(annotation, "__args__", ()))
    return next((one for one in found if one), None)


def _is_path(model: type[BaseModel] | None, name: str) -> bool:
    """Tell whether a setting is one file or folder."""
    annotation = model.model_fields[name].annotation if model else None
    choices = (annotation, *getattr(annotation, "__args__", ()))
    return any(Path in (one, getattr(one, "__origin__", None)) for one in choices)


def _names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _names(inner, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


def _merge(into: Tree, other: Tree) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        here = _join(path, str(key))
        if isinstance(value, dict | list) and value:
            yield from _leaves(value, here)
        else:
            yield here, value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
