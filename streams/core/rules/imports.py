"""Turn PrometheusRule objects and rendered mixins into rule files. In: a name and YAML or JSON
text. Out: one rule file an object, and why what was refused cannot run here.

The rule this file owns: nothing is dropped without a word. Each rule is imported or refused by
itself, with its line and the reason; so is a field that rule files here do not have.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from streams.core.rules.files import RuleErrors, load_rules

TEXT_CHARS_MAX: Final = 20_000_000
API_GROUP: Final = "monitoring.coreos.com/"

_GROUP_FIELDS: Final = ("name", "interval", "limit", "labels")
_OFFSET: Final = "query_offset"
_RAW: Final = re.compile(r"\{\{-?\s*`(.*?)`\s*-?\}\}", re.DOTALL)
_BRACES: Final = re.compile(r'\{\{-?\s*"(\{\{-?|-?\}\})"\s*-?\}\}')
_HELM: Final = re.compile(
    r"\{\{-?\s*(?:if|range|include|template|define|end)\b|\{\{[^}]*\.Values\b"
)

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was not imported."""

    line: int
    what: str  # group g, rule r
    why: str


@dataclass(slots=True)
class Imported:
    """What became of one object."""

    name: str  # of its rule file, without suffix
    text: str = ""  # of the rule file; "" where nothing is left
    rules: int = 0
    refused: list[Refusal] = field(default_factory=list)  # rules, or all there is
    notes: list[Refusal] = field(default_factory=list)  # fields without which the rules run


def imported(name: str, text: str) -> list[Imported]:
    """Return what becomes of each object of a file; `name` is for rules without an object."""
    if len(text) > TEXT_CHARS_MAX:
        return [_nothing(name, 0, f"longer than {TEXT_CHARS_MAX} characters")]
    plain = _BRACES.sub(r"\1", _RAW.sub(r"\1", text))
    try:
        documents = list(yaml.compose_all(plain, Loader=yaml.SafeLoader))
    except RecursionError:
        return [_nothing(name, 0, "nested too deep")]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = f"not YAML: {getattr(error, 'problem', None) or error}"
        if _HELM.search(plain):
            why = f"a template of a Helm chart: render it first (helm template). {why}"
        return [_nothing(name, 0 if mark is None else mark.line + 1, why)]
    found = [one for document in documents if document for one in _objects(name, document)]
    return _distinct(found) or [_nothing(name, 0, "there are no rules in it")]


def _nothing(name: str, line: int, why: str) -> Imported:
    return Imported(name, refused=[Refusal(line, "all of it", why)])


def _distinct(found: list[Imported]) -> list[Imported]:
    """Number the rule files that would have one name."""
    seen: dict[str, int] = {}
    for one in found:
        if one.text:
            nth = seen[one.name] = seen.get(one.name, 0) + 1
            one.name += f"-{nth}" if nth > 1 else ""
    return found


def _objects(name: str, node: yaml.Node) -> Iterator[Imported]:
    """Yield what becomes of each object of a document."""
    line, fields = node.start_mark.line + 1, _fields(node)
    kind, version = _text(fields.get("kind")), _text(fields.get("apiVersion"))
    if isinstance(fields.get("items"), yaml.SequenceNode):
        for item in fields["items"].value:
            yield from _objects(name, item)
    elif kind == "PrometheusRule" and version.startswith(API_GROUP):
        about = {key: _text(one) for key, one in _fields(fields.get("metadata")).items()}
        parts = [about[key] for key in ("namespace", "name") if about.get(key)]
        spec = _fields(fields.get("spec"))
        yield _groups(_UNSAFE.sub("-", "-".join(parts)) or name, spec.get("groups"), line)
    elif "groups" in fields and not kind:
        yield _groups(name, fields["groups"], line)
    else:
        found = " ".join(one for one in (version, kind) if one) or "no object"
        wanted = "PrometheusRule, List, or a mapping with `groups`"
        yield _nothing(name, line, f"{found} is not imported; what is: {wanted}")


def _groups(name: str, node: yaml.Node | None, line: int) -> Imported:
    """Return what becomes of the groups of an object."""
    made = Imported(name)
    kept: list[tuple[Data, list[tuple[Data, int]]]] = []
    if not isinstance(node, yaml.SequenceNode):
        return _nothing(name, line, "there are no groups")
    names: set[str] = set()
    for each in node.value:
        group, rules = _group(each, made)
        if group["name"] in names:
            why = f"the group {group['name']} is there twice"
            made.refused += [Refusal(at, _label(group, rule), why) for rule, at in rules]
            continue
        names.add(group["name"])
        kept.append((group, [one for one in rules if _runs(group, *one, made)]))
    _compile_together(kept, made)
    made.rules = sum(len(rules) for _, rules in kept)
    if made.rules:
        groups = [{**group, "rules": [rule for rule, _ in rules]} for group, rules in kept if rules]
        made.text = _dumped({"groups": groups})
    made.refused.sort(key=lambda one: one.line)
    return made


def _group(node: yaml.Node, made: Imported) -> tuple[Data, list[tuple[Data, int]]]:
    """Return the fields of a group that are kept, and its rules with their lines."""
    fields = _fields(node)
    group: Data = {"name": _text(fields.get("name"))}
    for key, value in fields.items():
        if key in _GROUP_FIELDS:
            group[key] = _data(value)
        elif key != "rules":
            why = "a stream waits for its data by itself" if key == _OFFSET else "not known here"
            line = value.start_mark.line + 1
            made.notes.append(Refusal(line, f"group {group['name']}, {key}", why))
    if str(group.get("limit", "")).isdecimal():
        group["limit"] = int(group["limit"])
    rules = fields.get("rules")
    listed = rules.value if isinstance(rules, yaml.SequenceNode) else []
    return group, [(_mapping(each), _line_of_expr(each)) for each in listed]


def _runs(group: Data, rule: Data, line: int, made: Imported) -> bool:
    """Tell whether a rule loads by itself; note why where it does not."""
    try:
        load_rules({made.name: _dumped({"groups": [{**group, "rules": [rule]}]})})
    except RuleErrors as error:
        why = "; ".join(dict.fromkeys(one.message for one in error.errors))
        made.refused.append(Refusal(line, _label(group, rule), why))
        return False
    return True


def _compile_together(kept: list[tuple[Data, list[tuple[Data, int]]]], made: Imported) -> None:
    """Take out the rules that cannot run beside the others, such as those of a cycle."""
    while True:
        flat = [(group, rules, one) for group, rules in kept for one in rules]
        groups = [{**group, "rules": [rule for rule, _ in rules]} for group, rules in kept]
        try:
            load_rules({made.name: _dumped({"groups": groups})} if flat else {})
            return
        except RuleErrors as error:
            wrong = {one.expr.strip(): one.message for one in error.errors}
        for group, rules, (rule, line) in flat:
            why = wrong.get(str(rule.get("expr", "")).strip())
            if why is not None:
                rules.remove((rule, line))
                made.refused.append(Refusal(line, _label(group, rule), why))
        if sum(len(rules) for _, rules in kept) == len(flat):  # nobody's expression: all go
            for group, rules, (rule, line) in flat:
                rules.remove((rule, line))
                why = "; ".join(wrong.values())
                made.refused.append(Refusal(line, _label(group, rule), why))


def _label(group: Data, rule: Data) -> str:
    return f"group {group['name']}, {rule.get('alert') or rule.get('record') or 'a rule'}"


def _line_of_expr(node: yaml.Node) -> int:
    at = _fields(node).get("expr", node)
    return at.start_mark.line + 1


def _fields(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in node.value}


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _mapping(node: yaml.Node) -> Data:
    return {key: _data(value) for key, value in _fields(node).items()}


def _data(node: yaml.Node) -> Any:
    """Return a node as data; scalars as they are written: `yes` is a label, not a truth."""
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    if isinstance(node, yaml.SequenceNode):
        return [_data(one) for one in node.value]
    return str(node.value)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block)


def _dumped(data: Mapping[str, object]) -> str:
    return str(
        yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)
    )
