"""The tools that other tests rely on do what those tests take for granted."""

import subprocess
from pathlib import Path

import pytest

from tests.services.chromium import rendered, screenshot

RULE = "groups: [{{name: g, rules: [{{record: 'a:b', expr: '{expr}'}}]}}]"
PAGE = "<p id=a></p><script>setTimeout(() => { a.textContent = 6 * 7 + ' done' }, 2000)</script>"


@pytest.mark.parametrize(("expr", "code"), [("sum(up)", 0), ("sum(up", 1)], ids=["good", "bad"])
def test_promtool_tells_good_rules_from_bad(
    promtool: Path, tmp_path: Path, expr: str, code: int
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULE.format(expr=expr))
    done = subprocess.run([promtool, "check", "rules", rules], capture_output=True, check=False)
    assert done.returncode == code, done.stderr


def test_the_browser_runs_the_scripts_of_a_page(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    assert "42 done" in rendered(chromium, page.as_uri())
    screenshot(chromium, page.as_uri(), tmp_path / "page.png", size=(640, 480))
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
