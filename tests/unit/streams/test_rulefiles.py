"""Rule files are read from where the configuration says."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from schemas.errors import ConfigError
from schemas.settings import RulesSettings
from streams.__main__ import cli
from streams.core.rules.files import RuleErrors
from streams.rulefiles import configured_rules, read_files, shipped_files
from tests.shards import RULES

WRONG = "groups:\n  - name: g\n    rules:\n      - record: a:b:c\n        expr: sum(\n"


def test_ours_are_in_the_package() -> None:
    names = shipped_files().keys()

    assert {"streams/rules/etcd.yaml"} <= names


def test_yours_come_beside_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RULES)
    (tmp_path / "notes.txt").write_text("no rules")
    ours = configured_rules(RulesSettings())

    both = configured_rules(RulesSettings(paths=[tmp_path]))
    alone = configured_rules(RulesSettings(paths=[tmp_path], shipped=False))

    assert len(both.groups) == len(ours.groups) + len(alone.groups)
    assert both.hash != ours.hash
    assert {str(tmp_path / "mine.yaml")} == {group.file for group in alone.groups}


def test_a_path_that_is_not_there_is_told_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rules\.paths: cannot read .*nowhere"):
        read_files([tmp_path / "nowhere.yaml"])


def test_a_wrong_rule_is_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)

    with pytest.raises(RuleErrors, match=r"wrong\.yaml:5"):
        configured_rules(RulesSettings(paths=[tmp_path]))


def test_check_says_where_and_exits_1(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    (tmp_path / "good.yaml").write_text(RULES)

    wrong = CliRunner().invoke(cli, ["rules", "check", str(tmp_path)])
    good = CliRunner().invoke(cli, ["rules", "check", str(tmp_path / "good.yaml")])

    assert 1 == wrong.exit_code
    assert "wrong.yaml:5: " in wrong.output
    assert 0 == good.exit_code
    assert good.output.endswith("1 files, 3 groups, 9 rules: good\n")


def test_list_names_every_rule(tmp_path: Path) -> None:
    config = tmp_path / "planewatch.yaml"
    (tmp_path / "mine.yaml").write_text(RULES)
    config.write_text("rules: {paths: [mine.yaml], shipped: false}")

    listed = CliRunner().invoke(cli, ["rules", "list", "--config", str(config)])

    assert 0 == listed.exit_code, listed.output
    assert 9 == len(listed.output.splitlines())
    assert f"alert\tBusy\ta\t15s\t20s\twarning\t{tmp_path / 'mine.yaml'}" in listed.output


def test_every_verb_shows_an_example() -> None:
    for verb in ([], ["run"], ["alerts"], ["rules"], ["rules", "check"], ["rules", "list"]):
        assert "Example: " in CliRunner().invoke(cli, [*verb, "--help"]).output


def test_rates_may_be_those_of_prometheus(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RULES)
    linear = configured_rules(RulesSettings(paths=[tmp_path], shipped=False))
    semantics = RulesSettings(paths=[tmp_path], shipped=False, rate_semantics="prometheus")

    extrapolated = configured_rules(semantics)

    assert linear.program.wanted.accumulators and not extrapolated.program.wanted.accumulators
    assert linear.hash != extrapolated.hash


def test_shipped_rules_load_with_rates_of_prometheus() -> None:
    rules = configured_rules(RulesSettings(rate_semantics="prometheus"))

    longest = max(reach.ms for reach in rules.program.wanted.accumulators.values())
    assert longest == 3 * 86_400_000  # over days growth is counted in any case
