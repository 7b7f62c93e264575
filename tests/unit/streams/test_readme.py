"""streams/README.md tells the truth: each difference from Prometheus has the test that it names."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "streams" / "README.md"
ROWS_MIN = 20


def names_of_tests() -> set[str]:
    """Return the names of all tests."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_difference_names_a_test_that_exists() -> None:
    named = re.findall(r"`(test_\w+)`", README.read_text())
    assert ROWS_MIN <= len(named)
    assert set() == set(named) - names_of_tests()


def test_every_test_of_a_difference_is_listed() -> None:
    module = ast.parse((ROOT / "tests" / "differential" / "test_differences.py").read_text())
    tests = {
        node.name
        for node in module.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    about_the_list = {"test_what_is_refused_is_promql"}
    assert set() == tests - about_the_list - set(re.findall(r"`(test_\w+)`", README.read_text()))
