"""The README tells the truth: its tables are generated, its commands and settings exist."""

import os
import re
from pathlib import Path

import pytest
import yaml

import planewatch
from schemas.settings import Settings
from schemas.topics import full_name, registry

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"


def topics_table() -> str:
    """Every topic, as the registry has it."""
    rows = ["| topic | key | value | written by | read by |", "|---|---|---|---|---|"]
    rows += [
        f"| `{full_name(name, 'planewatch')}`<br>{topic.description} | {topic.key} "
        f"| {topic.record} | {', '.join(topic.written_by)} | {', '.join(topic.read_by)} |"
        for name, topic in registry().items()
    ]
    return "\n".join(rows)


def verbs_table() -> str:
    """Every verb, as the command has it."""
    rows = ["| verb | what it does |", "|---|---|"]
    for name, command in sorted(planewatch.main.commands.items()):
        first = (command.help or "").strip().split("\n")[0]
        rows.append(f"| `planewatch {name}` | {first} |")
    return "\n".join(rows)


@pytest.mark.parametrize(("name", "table"), [("topics", topics_table), ("verbs", verbs_table)])
def test_a_generated_table_is_up_to_date(name: str, table: object) -> None:
    assert callable(table)
    pattern = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text = README.read_text()
    expected = pattern.sub(lambda found: f"{found[1]}{table()}\n{found[2]}", text)
    if os.environ.get("UPDATE_GOLDEN"):
        README.write_text(expected)
        text = expected
    assert expected == text


def test_the_configuration_that_the_readme_shows_is_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    assert 2 <= len(blocks)
    for block in blocks:
        Settings.model_validate(yaml.safe_load(block))


def test_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert [] == [link for link in links if not (ROOT / link).exists()]


def test_the_first_screen_shows_the_command() -> None:
    head = README.read_text().splitlines()[:12]
    assert any("make up" in line for line in head)
